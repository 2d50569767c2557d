"""The option `--dropout-audit` of pytest: audits each model that a test runs, after the test has passed.

A model is a module that runs while no other module runs. The audit calls it as the test called it first, and leaves it
unchanged. Modules of PyTorch without children, such as losses, are no models. A model that an audit cannot run is skipped.
"""

import threading
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

import pytest

ALLOW = "dropout_audit_allow"
OF_WHOLE_MODELS = ("AUD301",)  # dropout on the output: a test often runs a block alone, and a block may end in dropout
_audited: "WeakSet[Any]" = WeakSet()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option, and the setting with the findings that are intended."""
    about = "audit the dropout of each model that a test runs"
    parser.getgroup("thinnet").addoption("--dropout-audit", action="store_true", help=about)
    parser.addini(ALLOW, "findings that are intended: 'CODE MODULE=REASON', one a line", type="linelist")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Run the test, then audit its models. A test that fails is not audited."""
    if not item.config.getoption("--dropout-audit"):
        return (yield)
    with _recorded() as models:
        result = yield
    allow = dict(_allowed(line) for line in item.config.getini(ALLOW))
    reports = [report for model, call in models.values() if (report := _report(model, call, allow))]
    if reports:
        pytest.fail("\n".join(["dropout audit:", *reports]), pytrace=False)
    return result


def _allowed(line: str) -> tuple[str, str]:
    pattern, _, reason = line.partition("=")
    if not reason.strip():
        raise pytest.UsageError(f"{ALLOW}: a line must be CODE MODULE=REASON; got {line!r}.")
    return pattern.strip(), reason.strip()


@contextmanager
def _recorded() -> Generator[dict[int, Any], None, None]:
    """Yield the models that run in this context, and what each was called with first."""
    import torch
    from torch import nn
    from torch.utils._pytree import tree_map_only

    models: dict[int, Any] = {}
    original, running = nn.Module.__call__, threading.local()

    def recorded(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling() or getattr(running, "inside", False):
            return original(module, *args, **kwargs)
        if id(module) not in models and module not in _audited and _is_model(module):
            models[id(module)] = module, tree_map_only(torch.Tensor, lambda x: x.detach().clone(), (args, kwargs))
        running.inside = True
        try:
            return original(module, *args, **kwargs)
        finally:
            running.inside = False

    nn.Module.__call__ = recorded  # type: ignore[method-assign]
    try:
        yield models
    finally:
        nn.Module.__call__ = original  # type: ignore[method-assign]


def _is_model(module: Any) -> bool:
    """Return whether a module is a model: not a single layer or loss of a library, and not a graph that was exported."""
    import torch

    library = type(module).__module__.startswith(("torch.", "thinnet."))
    return not isinstance(module, torch.jit.ScriptModule) and (not library or any(True for _ in module.children()))


def _report(model: Any, call: tuple[Any, Any], allow: dict[str, str]) -> str:
    """Return the findings that fail, as text; empty where there are none."""
    from thinnet.models.audit.audit import audit
    from thinnet.report.findings import Findings

    args, kwargs = call
    _audited.add(model)
    try:
        found = audit(model, *args, allow=allow, run=lambda model: model(*args, **kwargs))
    except Exception as error:  # the test passed: that the audit cannot run the model again is no fault of its dropout
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        warnings.warn(pytest.PytestWarning(f"dropout audit: {type(model).__name__} is skipped ({reason})"), stacklevel=2)
        return ""
    failing = Findings(finding for finding in found if finding.fails and finding.rule.code not in OF_WHOLE_MODELS)
    return f"{type(model).__name__}:\n{failing}" if failing else ""
