"""Training and scoring for the experiments. A network, its batches and its masks depend on a seed alone."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from thinnet.reproductions.pictures import Split
from thinnet.rng import DropoutRNG, Site
from thinnet.schedules import Schedule
from thinnet.study.training.epoch import adam, train_epoch

Network = Callable[[], nn.Module]


def built(seed: int, network: Network) -> nn.Module:
    """Returns a network whose initial weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return network()


def epochs(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    seed: int,
    number: int,
    *,
    batch: int = 64,
    learning_rate: float = 1e-3,
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy,
    schedules: Mapping[str, Schedule] | None = None,
    decays: bool = False,
) -> Iterator[float]:
    """Trains by Adam, and yields the mean training loss after each epoch.

    Args:
        model: trained in place; it is in training mode at every step.
        x: the inputs of all samples.
        y: their targets.
        seed: of the batches and the masks.
        number: how often all samples are seen.
        batch: the batch size.
        learning_rate: of Adam.
        loss: from outputs and targets to their mean loss.
        schedules: rates by step, as for `DropoutRNG`.
        decays: whether the learning rate falls linearly to zero, epoch by epoch.
    """
    shuffle = torch.Generator().manual_seed(seed)
    has_sites = any(isinstance(module, Site) for module in model.modules())
    optimizer, rng = adam(model, learning_rate), DropoutRNG(seed, schedules).bind(model) if has_sites else None
    ids, steps = torch.arange(len(x)), 0
    for epoch in range(number):
        if decays:
            set_learning_rate(optimizer, learning_rate * (1 - epoch / number))
        model.train()
        batches = torch.randperm(len(x), generator=shuffle).split(batch)
        losses = list(train_epoch(model, optimizer, rng, x, batches, lambda out, rows: loss(out, y[rows]), steps, ids))
        steps += len(batches)
        yield float(torch.stack(losses).mean())
    if rng is not None:
        rng.unbind()


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Sets the learning rate of all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = value


def trained(network: Network, x: Tensor, y: Tensor, seed: int, number: int, **settings: object) -> nn.Module:
    """Returns a trained network in eval mode; the settings are those of `epochs`."""
    model = built(seed, network)
    for _ in epochs(model, x, y, seed, number, **settings):  # type: ignore[arg-type]
        pass
    return model.eval()


def nll(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Returns the mean test loss of one deterministic pass, in nats."""
    with torch.no_grad():
        return float(cross_entropy(model.eval()(x), y))


def error(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Returns the share of wrong classes of one deterministic pass, in %."""
    with torch.no_grad():
        return wrong(model.eval()(x), y)


def wrong(scores: Tensor, y: Tensor) -> float:
    """Returns the share of wrong classes, in %.

    >>> wrong(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1]))
    50.0
    """
    return 100 * float((scores.argmax(-1) != y).double().mean())


def perceptron(inputs: int, widths: Sequence[int], outputs: int, site: Callable[[], nn.Module] | None) -> nn.Sequential:
    """Returns Linear, ReLU and a dropout site for each width, and a last Linear."""
    layers: list[nn.Module] = []
    for before, width in zip((inputs, *widths), widths, strict=False):
        layers += [nn.Linear(before, width), nn.ReLU(), *([site()] if site else [])]
    return nn.Sequential(*layers, nn.Linear((inputs, *widths)[-1], outputs))


def classifier(data: Split, widths: Sequence[int], site: Callable[[], nn.Module] | None) -> Network:
    """Returns a factory of a perceptron for flat pictures."""
    return lambda: perceptron(data.x.shape[1], widths, data.classes, site)
