"""The measures taken on a subject: what is read, with the coins on or off, and handed to the pure functions."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from thinnet.diagnosis.ablation import ablation
from thinnet.diagnosis.amounts import Amounts
from thinnet.diagnosis.coadaptation import coadaptation
from thinnet.diagnosis.gap import Gap
from thinnet.diagnosis.gradients import Gradients, directions
from thinnet.diagnosis.result import Layer
from thinnet.diagnosis.samples import Samples
from thinnet.diagnosis.scores import Score
from thinnet.diagnosis.sparsity import sparsity
from thinnet.diagnosis.subject import Subject, coins_on, minibatches
from thinnet.diagnosis.synergy import synergy
from thinnet.diagnosis.tap import Place, by_unit
from thinnet.diagnosis.variance import Moments, Shift, variance_ratio

LAYERED = ("coadaptation", "synergy", "ablation", "sparsity")
GRADIENTS = 16
NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
CHANNELS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.modules.conv._ConvNd)
READERS = (*NORMS, nn.modules.conv._ConvNd, nn.Linear, nn.RNNBase)


def layers_of(subject: Subject, places: tuple[Place, ...], wanted: set[str], amounts: Amounts) -> tuple[Layer, ...]:
    """Returns what is measured of each layer; the model is in eval."""
    read = subject.activations(places, amounts.max_units) if wanted & {"coadaptation", "sparsity"} else {}
    found = []
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
    """Returns the losses in eval mode, and with the coins on as a mean over draws."""
    train = subject.score()
    unseen = None if held_out is None else subject.score(held_out)
    coins_on(subject.model)
    scores = [subject.score() for _ in range(draws)]
    subject.model.eval()
    accuracies = [score.accuracy for score in scores if score.accuracy is not None]
    accuracy = sum(accuracies) / len(accuracies) if accuracies else None
    return Gap(train, Score(sum(score.loss for score in scores) / draws, None, accuracy), unseen)


def gradients(subject: Subject, size: int) -> tuple[Gradients | None, str]:
    """Returns the directions of minibatch gradients with the coins on and off, or why there are none."""
    if not any(parameter.requires_grad for parameter in subject.model.parameters()):
        return None, "no gradients: no parameter requires one"
    size = max(1, min(size, subject.samples.count // 2))

    def each() -> Iterator[Tensor]:
        for batch in minibatches(subject.samples, size, GRADIENTS, subject.seed):
            yield subject.gradient(batch)

    try:
        with torch.backends.cudnn.flags(enabled=False):  # its recurrent layers have no gradient in eval
            full = subject.gradient(subject.samples)
            off = directions(each(), full)
            coins_on(subject.model)
            on = directions(each(), full)
    except ValueError as error:
        return None, f"no gradient directions: {error}"
    finally:
        subject.model.eval()
    return Gradients(on, off, float(full.double().norm()), size), ""


def shifts(subject: Subject, draws: int) -> tuple[Shift, ...]:
    """Returns the variance shift of what each normalisation, convolution, linear and recurrent layer reads."""
    modules = dict(subject.model.named_modules())
    evaluated = _moments(subject, modules, 1)
    coins_on(subject.model)
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

    def note(name: str, axis: int) -> Any:
        def hook(module: nn.Module, args: Any) -> None:
            if args and isinstance(args[0], Tensor) and args[0].is_floating_point() and args[0].ndim > 1:
                found.setdefault(name, Moments()).add(by_unit(args[0], axis))

        return hook

    readers = [(name, module) for name, module in modules.items() if isinstance(module, READERS)]
    handles = [
        module.register_forward_pre_hook(note(name, 1 if isinstance(module, CHANNELS) else -1)) for name, module in readers
    ]
    try:
        for _ in range(passes):
            for chunk in subject.samples.chunks(subject.batch_size):
                subject.run(chunk.x)
    finally:
        for handle in handles:
            handle.remove()
    return found
