"""Distillation: a deterministic student learns the average prediction of many sub-networks.

    classification   min_s  E_x KL(p(x) || s(x)),    p(x) = (1/n) sum_t softmax(draw t)
    regression       min_s  E_x (m(x) - s(x))^2,     or KL(N(m, v) || N(s, w)) if the student predicts a variance w

Korattikara, Rathod, Murphy, Welling 2015, "Bayesian dark knowledge", arXiv:1506.04416; Bulo, Porzi, Kontschieder 2016, "Dropout
distillation", ICML, PMLR 48:99.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from thinnet.inference.arguments import check_counts
from thinnet.inference.deterministic.divergences import divergence
from thinnet.inference.deterministic.scaling import weight_scaled
from thinnet.inference.deterministic.student import Distilled, Fidelity, compare
from thinnet.inference.monte_carlo.sampling import sample
from thinnet.report.progress import tracked

MakeOptimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


def distill(
    model: nn.Module,
    loader: Iterable[Any],
    student: nn.Module | None = None,
    *,
    held_out: Tensor | None = None,
    epochs: int = 20,
    n: int = 8,
    seed: int = 0,
    kind: str | None = None,
    variance: bool = False,
    optimizer: MakeOptimizer | None = None,
    inputs: Callable[[Any], Tensor] | None = None,
    n_held_out: int = 200,
    progress: bool = True,
) -> Distilled:
    """Trains a student without dropout on the average prediction of a model's sub-networks.

    Each batch gets n fresh draws of the teacher, reproducible from the seed and the number of the batch. Labels are not used.
    The loss is a proper score whose optimum does not depend on n: more draws only reduce the noise of its gradients. Ctrl-C
    ends the training early and returns the student as it is.

    Args:
        model: the teacher, trained with dropout; it is unchanged.
        loader: batches of inputs, or tuples with the inputs first; read once per epoch.
        student: the network to train, in place; by default `weight_scaled(model)` with its normalisation layers in eval.
        held_out: inputs outside of the loader, on which student and weight scaling are compared; without them no report.
        epochs: the number of passes over the loader.
        n: the number of draws of the teacher for each batch.
        seed: the seed of the draws.
        kind: "logits" or "values"; by default the last axis of the output decides, as in `sample`.
        variance: whether the student returns `(mean, log variance)` and learns the spread of the draws too; for values.
        optimizer: a factory that takes the student's parameters; by default Adam with a learning rate of 1e-3.
        inputs: a function that takes the inputs from a batch; by default they come first.
        n_held_out: the number of draws of the teacher on `held_out`.
        progress: whether to show a progress bar on a terminal.

    Returns: the student, in eval, and the report.

    Raises:
        ValueError: an argument is out of range, the loader is empty, or outputs of teacher and student differ in shape.
        TypeError: the model or the student is not a module.

    Source: Korattikara et al. 2015, arXiv:1506.04416; Bulo, Porzi, Kontschieder 2016, ICML, PMLR 48:99.

    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))
    >>> x = torch.randn(64, 4)
    >>> found = distill(model, x.split(16), epochs=2, held_out=torch.randn(8, 4), progress=False)
    >>> found.student(x).shape, found.steps
    (torch.Size([64, 3]), 8)
    """
    check_counts("distill", epochs=epochs, n=n, n_held_out=n_held_out)
    _check(model, student, held_out)
    if variance and student is None:
        raise ValueError(
            "distill: variance=True must have a student that returns (mean, log variance); got None. Give student=."
        )
    if variance and n < 2:
        raise ValueError("distill: n must be at least 2 for variance=True; got 1. Use n=8.")
    baseline = weight_scaled(model)
    own = student is None
    student = weight_scaled(model) if student is None else student
    trained = student.eval() if own else student.train()
    teacher = _Teacher(model, n, seed, kind)
    maker = optimizer or (lambda parameters: torch.optim.Adam(parameters, lr=1e-3))
    training = _Training(teacher, trained, maker([p for p in trained.parameters() if p.requires_grad]), variance)
    batches = tracked(_batches(loader, epochs), "distill", epochs * _size(loader), None if progress else False)
    interrupted = False
    try:
        for batch in batches:
            training.step(inputs(batch) if inputs else _first(batch))
    except KeyboardInterrupt:
        interrupted = True
    trained.eval()
    report: dict[str, Fidelity] = {}
    if held_out is not None:
        report = compare(model, {"weight scaling": baseline, "student": trained}, held_out, n_held_out, seed + 1, kind)
    return Distilled(trained, tuple(training.losses), interrupted, n, n_held_out, report)


class _Teacher:
    """Draws of the model, with another seed for each batch."""

    def __init__(self, model: nn.Module, n: int, seed: int, kind: str | None) -> None:
        self.model, self.n, self.kind = model, n, kind
        self.seeds = torch.Generator().manual_seed(seed)

    def __call__(self, x: Tensor) -> Any:
        seed = int(torch.randint(1 << 62, (), generator=self.seeds))
        return sample(self.model, x, n=self.n, seed=seed, kind=self.kind, progress=False)


class _Training:
    """The steps of a student towards its teacher."""

    def __init__(self, teacher: _Teacher, student: nn.Module, optimizer: torch.optim.Optimizer, variance: bool) -> None:
        self.teacher, self.student, self.optimizer, self.variance = teacher, student, optimizer, variance
        self.losses: list[float] = []

    def step(self, x: Tensor) -> None:
        draws = self.teacher(x)
        with torch.enable_grad():
            loss = divergence(draws, self.student(x), self.variance).mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        self.losses.append(float(loss.detach()))


def _check(model: Any, student: Any, held_out: Any) -> None:
    for name, value in (("model", model), ("student", student)):
        if not isinstance(value, nn.Module) and not (name == "student" and value is None):
            raise TypeError(f"distill: {name} must be a torch.nn.Module; got {type(value).__name__}. Call its factory first.")
    if student is model:
        raise ValueError("distill: student must be another module than the model; got the same. Leave it out for a copy.")
    if held_out is not None and (not isinstance(held_out, Tensor) or not len(held_out)):
        raise ValueError(f"distill: held_out must be a tensor of inputs; got {type(held_out).__name__}. Stack them.")


def _batches(loader: Iterable[Any], epochs: int) -> Iterator[Any]:
    for epoch in range(epochs):
        empty = True
        for batch in loader:
            empty = False
            yield batch
        if empty:
            raise ValueError(f"distill: loader must give batches in each epoch; got none in epoch {epoch}. Give a DataLoader.")


def _size(loader: Any) -> int:
    return len(loader) if hasattr(loader, "__len__") else 0


def _first(batch: Any) -> Tensor:
    x = batch[0] if isinstance(batch, (tuple, list)) else batch
    if not isinstance(x, Tensor):
        raise ValueError(f"distill: a batch must have a tensor first; got {type(x).__name__}. Give inputs=, a function of it.")
    return x
