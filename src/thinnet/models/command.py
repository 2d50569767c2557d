"""The commands `thinnet sites` and `thinnet audit`."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from rich.console import Console
from rich.text import Text
from torch import nn

from thinnet.models.audit.audit import audit
from thinnet.models.loading import SHAPES, LoadError, described, example, load
from thinnet.models.recommend.recommend import recommend
from thinnet.models.site_page import site_page
from thinnet.models.sites import sites
from thinnet.report.findings import Findings, Format
from thinnet.report.page import write
from thinnet.report.terminal import show

BAD_INPUT = 2
Result = TypeVar("Result")


def show_sites(place: str, inputs: list[str], passes: int, as_json: bool, html: Path | None) -> int:
    """Prints the sites of a model and returns the exit code."""
    try:
        with stdout_for_results(as_json):
            model, given = load(place, "sites"), [example(text, "sites") for text in inputs]
            found = on_model("sites", model, given, inputs, lambda: sites(model, *given, passes=passes))
            if html is not None:
                _written(html, site_page(model, found))
    except LoadError as error:
        return _refused(error)
    return _shown(found, as_json)


def _shown(found: Any, as_json: bool) -> int:
    if as_json:
        sys.stdout.write(found.json() + "\n")
    else:
        show(found)
    return 0


def show_recommendations(place: str, inputs: list[str], known: dict[str, Any], as_json: bool) -> int:
    """Prints the methods that sources measured on networks like this one, and returns the exit code."""
    file = place.rpartition(":")[0]
    try:
        with stdout_for_results(as_json):
            model, given = load(place, "recommend"), [example(text, "recommend") for text in inputs]
            study_file = file if file.endswith(".py") else "my.py"
            found = on_model("recommend", model, given, inputs, lambda: recommend(model, *given, **known, file=study_file))
    except LoadError as error:
        return _refused(error)
    return _shown(found, as_json)


def show_findings(place: str, inputs: list[str], passes: int, allow: list[str], output: Format, ranks: bool = False) -> int:
    """Audits a model, prints the findings and returns the exit code: 1 with findings, 0 without."""
    try:
        with stdout_for_results(output is not Format.text), process_group(ranks) as first:
            allowed = _allowed(allow, inputs) | ({"AUD402": "the command seeds all ranks alike"} if ranks else {})
            model, given = load(place, "audit"), [example(text, "audit") for text in inputs]
            findings: Findings = on_model(
                "audit", model, given, inputs, lambda: audit(model, *given, passes=passes, allow=allowed, ranks=ranks)
            )
    except LoadError as error:
        return _refused(error)
    if not first:  # all ranks have the same findings
        return int(findings.failed)
    if output is not Format.text:
        sys.stdout.write(findings.render(output) + "\n")
        return int(findings.failed)
    show(findings)
    Console(soft_wrap=True).print(Text(findings.summary(), style="bold red" if findings.failed else "bold green"))
    return int(findings.failed)


@contextmanager
def stdout_for_results(machine: bool) -> Iterator[None]:
    """Sends what the user's code prints to stderr where a program reads stdout."""
    if not machine:
        yield
        return
    with redirect_stdout(sys.stderr):
        yield


@contextmanager
def process_group(ranks: bool) -> Iterator[bool]:
    """Joins the ranks that torchrun started, if asked to; yields whether this process is the first of them."""
    if not ranks:
        yield True
        return
    if int(os.environ.get("WORLD_SIZE", 1)) < 2:
        command = "torchrun --nproc-per-node=4 -m thinnet audit ... --ranks"
        raise LoadError(f"audit: --ranks needs several ranks; got one process. Try {command}.")
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    torch.manual_seed(0)  # a factory then makes the same weights on all ranks
    try:
        yield dist.get_rank() == 0
    finally:
        dist.destroy_process_group()


def _allowed(allow: list[str], inputs: list[str]) -> dict[str, str]:
    """Returns the patterns and their reasons."""
    pairs = [text.partition("=") for text in allow]
    for pattern, _, reason in pairs:
        if not pattern.strip() or not reason.strip():
            raise LoadError(f"audit: --allow must be CODE MODULE=REASON; got {pattern!r} without a reason.")
    if not inputs:
        raise LoadError("audit: --input is required, because the audit runs the model. Try --input 4x3x32x32.")
    return {pattern.strip(): reason for pattern, _, reason in pairs}


def on_model(function: str, model: nn.Module, given: list[Any], inputs: list[str], call: Callable[[], Result]) -> Result:
    """Returns the result of `call`. Where it fails and the model fails alone too, the error is one sentence."""
    try:
        return call()
    except Exception:
        for training in (True, False):
            try:
                model.train(training)(*given)
            except Exception as error:
                shapes = " ".join(f"--input {text}" for text in inputs)
                advice = f"Give {SHAPES}, once for each input."
                raise LoadError(f"{function}: {described(error)}, with {shapes}. {advice}") from None
        raise


def _written(html: Path, page: str) -> None:
    try:
        write(html, page)
    except OSError as error:
        raise LoadError(f"sites: --html must be a file that can be written; got {str(html)!r}: {error.strerror}.") from None


def _refused(error: LoadError) -> int:
    sys.stderr.write(f"{error}\n")
    return BAD_INPUT
