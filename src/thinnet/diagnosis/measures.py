"""Takes the measures of a subject: runs the model, with dropout on or off, and calls the pure functions."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from thinnet.diagnosis.coadaptation import CoAdaptation, coadaptation
from thinnet.diagnosis.gradients import Gradients, directions
from thinnet.diagnosis.redundancy import Ablation, Synergy, ablation, synergy
from thinnet.diagnosis.samples import Samples
from thinnet.diagnosis.scores import Gap, Score
from thinnet.diagnosis.sparsity import Sparsity, sparsity
from thinnet.diagnosis.subject import Subject, dropout_on, minibatches
from thinnet.diagnosis.tap import Place, by_unit
from thinnet.diagnosis.variance import Moments, Shift, variance_ratio
from thinnet.inference.arguments import check_counts
from thinnet.models.trace import trace
from thinnet.models.trace.modules import Values

LAYERED = ("coadaptation", "synergy", "ablation", "sparsity")
GRADIENTS = 16
NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
CHANNELS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.modules.conv._ConvNd)
READERS = (*NORMS, nn.modules.conv._ConvNd, nn.Linear, nn.RNNBase)


@dataclass(frozen=True)
class Amounts:
    """The numbers that `diagnose` was given, checked."""

    max_samples: int
    max_units: int
    orders: int
    pairs: int
    draws: int
    minibatch: int
    batch_size: int

    def __post_init__(self) -> None:
        check_counts("diagnose", **vars(self))
        check_counts("diagnose", 3, max_samples=self.max_samples)


@dataclass(frozen=True)
class Layer:
    """One hidden layer. A measure is None if it was not asked for or the layer has too few units.

    Args:
        name: the path of the module at which activations are read.
        place: where that is, in words.
        axis: the axis of the activations that counts the units.
        width: the number of units.
        read: the number of units whose activations were read.
    """

    name: str
    place: str
    axis: int
    width: int
    read: int
    coadaptation: CoAdaptation | None
    synergy: Synergy | None
    ablation: Ablation | None
    sparsity: Sparsity | None


def layers_of(subject: Subject, places: tuple[Place, ...], wanted: set[str], amounts: Amounts) -> tuple[Layer, ...]:
    """Returns the measures of each layer; the model is in eval."""
    read = subject.activations(places, amounts.max_units) if wanted & {"coadaptation", "sparsity"} else {}
    found = []
    for place, activations in read.items():
        if not activations.isfinite().all():
            rule = "diagnose: activations must be finite"
            raise ValueError(f"{rule}; got NaN or inf at {place.name or 'the model'!r}. Check the inputs and the weights.")
    for place in places:

        def scored(factors: Tensor, place: Place = place) -> tuple[float, float | None]:
            score = subject.score(factors={place: factors})
            return score.loss, score.accuracy

        activations = read.get(place)
        seed, name = subject.seed, place.name if place.side != "call" else f"{place.name} call {place.number}".strip()
        read_units = place.width if activations is None else activations.shape[1]
        measured = (
            coadaptation(activations) if activations is not None and "coadaptation" in wanted else None,
            synergy(lambda f: scored(f)[0], place.width, amounts.pairs, seed) if "synergy" in wanted else None,
            ablation(scored, place.width, amounts.orders, seed=seed) if "ablation" in wanted else None,
            sparsity(activations) if activations is not None and "sparsity" in wanted else None,
        )
        found.append(Layer(name, place.words, place.axis, place.width, read_units, *measured))
    return tuple(found)


def gap(subject: Subject, held_out: Samples | None, draws: int) -> Gap:
    """Returns the losses in eval mode, and with dropout on as a mean over draws."""
    train = subject.score()
    unseen = None if held_out is None else subject.score(held_out)
    dropout_on(subject.model)
    scores = [subject.score() for _ in range(draws)]
    subject.model.eval()
    accuracies = [score.accuracy for score in scores if score.accuracy is not None]
    accuracy = sum(accuracies) / len(accuracies) if accuracies else None
    return Gap(train, Score(sum(score.loss for score in scores) / draws, None, accuracy), unseen)


def gradients(subject: Subject, size: int) -> tuple[Gradients | None, str]:
    """Returns the directions of minibatch gradients with dropout on and off, or why there are none."""
    if not any(parameter.requires_grad for parameter in subject.model.parameters()):
        return None, "no gradients: no parameter requires one"
    size = max(1, min(size, subject.samples.count // 2))

    def each() -> Iterator[Tensor]:
        for batch in minibatches(subject.samples, size, GRADIENTS, subject.seed):
            yield subject.gradient(batch)

    try:
        with torch.backends.cudnn.flags(enabled=False):  # recurrent layers of cuDNN have no gradient in eval
            full = subject.gradient(subject.samples)
            off = directions(each(), full)
            dropout_on(subject.model)
            on = directions(each(), full)
    except ValueError as error:
        return None, f"no gradient directions: {error}"
    finally:
        subject.model.eval()
    return Gradients(on, off, float(full.double().norm()), size), ""


def shifts(subject: Subject, draws: int) -> tuple[Shift, ...]:
    """Returns the variance shift of the input of each normalisation, convolution, linear and recurrent layer."""
    modules = dict(subject.model.named_modules())
    evaluated = _moments(subject, modules, 1)
    dropout_on(subject.model)
    trained = _moments(subject, modules, draws)
    subject.model.eval()
    found = []
    for name in evaluated:
        if name in trained:
            ratios = variance_ratio(trained[name].variance(), evaluated[name].variance())
            if ratios.numel():
                numbers = (float(ratios.median()), float(ratios.min()), float(ratios.max()))
                found.append(Shift(name, type(modules[name]).__name__, isinstance(modules[name], NORMS), *numbers))
    return tuple(found)


@torch.no_grad()
def _moments(subject: Subject, modules: dict[str, nn.Module], passes: int) -> dict[str, Moments]:
    found: dict[str, Moments] = {}

    def meet(name: str, side: str, number: int, x: Tensor) -> None:
        if x.is_floating_point() and x.ndim > 1:
            found.setdefault(name, Moments()).add(by_unit(x, 1 if isinstance(modules[name], CHANNELS) else -1))

    def run() -> None:
        for _ in range(passes):
            for chunk in subject.samples.chunks(subject.batch_size):
                subject.run(chunk.x)

    readers = {(name, "in") for name, module in modules.items() if isinstance(module, READERS)}
    trace(subject.model, run, values=Values(readers, meet))
    return found
