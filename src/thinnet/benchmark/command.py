"""The command `thinnet bench`."""

import os
import sys
from typing import Annotated

import typer

from thinnet.arguments import Inputs, ModelArgument
from thinnet.report.terminal import show

BAD_INPUT = 2


def bench(
    model: ModelArgument,
    inputs: Inputs = None,
    seconds: Annotated[
        float, typer.Option(min=0.1, metavar="S", help="How long to measure, beside warming up and compiling.")
    ] = 10.0,
    compiled: Annotated[bool, typer.Option("--compile/--no-compile", help="Measure torch.compile too.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print only JSON on stdout.")] = False,
) -> None:
    """Measure a training step of a model: without dropout, as it is, with thinnet, fused, thinned, and compiled.

    It shows time, memory, and the time of each dropout site. Advice is given only if the difference is beyond the noise.
    The loss is the output of the model if that is a scalar, or its `loss`; else the mean square of the output.

    Example: `thinnet bench train.py:make_model --input 8x128`

    Exit codes: 0 done, 2 bad input, 130 stopped by Ctrl-C.
    """
    for setting, level in (("KINETO_LOG_LEVEL", "99"), ("TORCH_CPP_LOG_LEVEL", "ERROR")):
        os.environ.setdefault(setting, level)  # PyTorch reads them when it loads; its profiler writes lines to stderr
    try:
        raise typer.Exit(_measure(model, inputs or [], seconds, compiled, as_json))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _measure(place: str, inputs: list[str], seconds: float, compiled: bool, as_json: bool) -> int:
    """Measures a model, prints the result and returns the exit code."""
    from thinnet.benchmark.bench import bench as measured  # PyTorch would slow every other command down
    from thinnet.models.command import on_model, stdout_for_results
    from thinnet.models.loading import SHAPES, LoadError, example, load

    try:
        with stdout_for_results(as_json):
            if not inputs:
                raise LoadError(f"bench: --input is required, because bench runs the model; give {SHAPES}. Try --input 8x128.")
            model, given = load(place, "bench"), [example(text, "bench") for text in inputs]
            found = on_model("bench", model, given, inputs, lambda: measured(model, *given, seconds=seconds, compiled=compiled))
    except LoadError as error:
        sys.stderr.write(f"{error}\n")
        return BAD_INPUT
    if as_json:
        sys.stdout.write(found.json() + "\n")
    else:
        show(found)
    return 0
