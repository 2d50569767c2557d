"""Measures one training step of a model: without dropout, as it is, and with what thinnet offers."""

import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from thinnet.benchmark.memory import kept_and_peak
from thinnet.benchmark.result import Benchmark, Variant, advice_on, in_order
from thinnet.benchmark.step import AS_IT_IS, WITHOUT, Loss, MakeOptimizer, Step, loss_of, unbound, unchanging, variants
from thinnet.benchmark.timing import in_turn, ratio
from thinnet.models.edit.checks import check_model, check_scripted
from thinnet.models.sites import sites
from thinnet.models.state import preserve_state
from thinnet.report.progress import Progress, progressing

WARM_UPS = 3  # steps of each variant that are not timed


def bench(
    model: nn.Module,
    *example: Any,
    loss: Loss | None = None,
    optimizer: MakeOptimizer | None = unchanging,
    seconds: float = 10.0,
    compiled: bool = True,
    seed: int = 0,
    **named: Any,
) -> Benchmark:
    """Measures one training step of a model without dropout, as it is, with thinnet's kernels, fused, thinned, and compiled.

    A step is zero_grad, forward, loss, backward and the optimiser. The variants take turns in shuffled rounds. A ratio is the
    median over rounds, with a 99 % interval. The advice names a change only if the whole interval says that it is faster.
    Afterwards parameters, buffers, gradients, modes, attributes and random generators are as before.

    The time of each site comes from a traced forward pass. Memory is what the forward pass keeps for backward, and the peak of
    forward and backward, beyond the parameters.

    Args:
        model: any module that `copy.deepcopy` copies. It runs on the device of its parameters.
        example: what the model is called with in training.
        loss: makes a scalar of the output. By default a scalar output or `output.loss` itself, else the mean square.
        optimizer: makes the optimiser of the parameters; None leaves it out. By default AdamW with a learning rate of 0.
        seconds: how long to measure, beside warming up and compiling. There are at least 10 rounds.
        compiled: whether to measure `torch.compile` too.
        seed: of the steps.
        named: keyword arguments of the call.

    Returns: the result; printed, it is a table.

    Raises:
        TypeError: `model` is no module of Python, or cannot be copied.
        ValueError: there is no example, `seconds` is not positive, or the model returns no tensor with gradient.

    >>> model = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5), nn.Linear(8, 2))
    >>> found = bench(model, torch.randn(4, 8), seconds=0.1, compiled=False)
    >>> [variant.name for variant in found.variants]
    ['as it is', 'without dropout', 'thinnet', 'thinned']
    """
    model = check_model("bench", model)
    check_scripted("bench", model)
    if not example and not named:
        raise ValueError("bench: example must be what the model is called with; got none. Give inputs: bench(model, x).")
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds < float("inf"):
        raise ValueError(f"bench: seconds must be a positive number; got {seconds!r}. Try 10.")
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    with preserve_state(model, seed), torch.enable_grad():
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        made = optimizer(trained) if optimizer is not None and trained else None
        step = Step(example, named, _scalar(loss or loss_of), made)
        models, notes = variants(model, step, compiled)
        calls: dict[str, Callable[[], None]] = {name: lambda each=each: step(each, device) for name, each in models.items()}
        with progressing("bench", 100 + WARM_UPS * len(models)) as progress:
            notes += _warmed(calls, progress)
            times = in_turn(calls, seconds, progress)
        memory = {name: kept_and_peak(lambda each=models[name]: step.forward(each), device) for name in calls}
        found = sites(unbound(model), *example, seed=seed, **named)
    rows = [
        Variant(name, statistics.median(times[name]), ratio(times, name, AS_IT_IS), *memory[name])
        for name in in_order([*calls])
    ]
    return Benchmark(tuple(rows), advice_on(times), found, len(times[AS_IT_IS]), tuple(notes))


def _scalar(loss: Loss) -> Loss:
    def checked(output: Any) -> Tensor:
        value = loss(output)
        if not isinstance(value, Tensor) or value.ndim != 0 or not value.requires_grad:
            got = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            got += " without gradient" if isinstance(value, Tensor) and not value.requires_grad else ""
            raise ValueError(f"bench: loss must return a scalar with gradient; got {got}. Return a mean of the output.")
        return value

    return checked


def _warmed(calls: dict[str, Callable[[], None]], progress: Progress) -> list[str]:
    """Runs every variant, removes those that fail where the model alone does not, and returns why."""
    notes = []
    for name in [*calls]:
        try:
            for _ in range(WARM_UPS):
                calls[name]()
                progress.advance()
        except Exception as error:
            if name in (AS_IT_IS, WITHOUT):
                raise
            reason = next(iter(str(error).strip().splitlines()), "no message")
            notes.append(f"{name}: not measured. {type(error).__name__}: {reason}")
            del calls[name]
    return notes
