"""Measures what dropout did to a trained model."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from thinnet.diagnosis import places, samples
from thinnet.diagnosis.measures import LAYERED, Amounts, Layer, gap, gradients, layers_of, shifts
from thinnet.diagnosis.result import Diagnosis
from thinnet.diagnosis.scores import Loss, default_loss
from thinnet.diagnosis.subject import Subject, unbind
from thinnet.models.sites import sites
from thinnet.models.state import preserve_state
from thinnet.rng.names import unwrap

MEASURES = (*LAYERED, "gap", "gradients", "variance")


def diagnose(
    model: nn.Module,
    loader: Any,
    held_out: Any = None,
    *,
    loss: Loss | None = None,
    layers: str | Iterable[str] | None = None,
    measures: Iterable[str] = MEASURES,
    axis: int | None = None,
    max_samples: int = 1000,
    max_units: int = 256,
    orders: int = 5,
    pairs: int = 32,
    draws: int = 8,
    minibatch: int = 32,
    batch_size: int = 256,
    seed: int = 0,
) -> Diagnosis:
    """Returns co-adaptation, robustness to ablation, sparsity, gap, gradient directions and variance shift of a model.

    All measures use the same samples, drawn from the loader with the seed. Hidden activations are those in front of each
    dropout in eval mode. For images and text, one random position per sample is read, so that observations are independent. The
    model is unchanged: parameters, buffers, gradients, modes, hooks and generators. An ablation takes about 100 passes over the
    samples per layer, and a synergy 3 per pair.

    Args:
        model: any module whose input and output have the samples on axis 0.
        loader: the training data: an iterable of (x, y) batches, or a pair of tensors; x may be a tuple of arguments or a
            mapping of named ones. A batch may also be a mapping with "labels". The loader is read once.
        held_out: data that was not trained on, for the gap.
        loss: takes the output of the model and the targets, and returns one number per sample, or one in all; by default cross
            entropy for integer targets and mean squared error for floats.
        layers: names of modules, by `fnmatch`, whose outputs are read instead of the inputs of dropout.
        measures: some of "coadaptation", "synergy", "ablation", "sparsity", "gap", "gradients", "variance".
        axis: the axis of the activations that counts the units; by default axis 1, and the last one of `(B, T, D)`.
        max_samples: the largest number of samples.
        max_units: the largest number of units of a layer read for co-adaptation and sparsity; an ablation uses all units.
        orders: the number of random orders of an ablation.
        pairs: the number of pairs of units of a synergy.
        draws: the number of passes with dropout on to average over.
        minibatch: the number of samples of a gradient; at most 16 gradients are taken.
        batch_size: the batch size of a pass.
        seed: the seed of the samples, units, orders, pairs and masks.

    Raises:
        TypeError: `model` is not a module, or the loader gives no pairs.
        ValueError: a number is out of range, a measure or a layer is unknown, or no hidden layer is found.

    Source: Cogswell et al. 2016, arXiv:1511.06068 (DeCov); Morcos et al. 2018, arXiv:1803.06959 (ablation); Srivastava et al.
        2014, JMLR 15 (sparsity); Liu et al. 2023, arXiv:2303.01500 (gradients); Li et al. 2019, arXiv:1801.05134 (shift).

    >>> model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 2))
    >>> found = diagnose(model, (torch.randn(200, 4), torch.randint(2, (200,))), measures=["coadaptation", "variance"])
    >>> [layer.name for layer in found.layers], [shift.name for shift in found.shifts], found.shifts[1].ratio > 1.5
    (['2'], ['0', '3'], True)
    """
    wanted = _checked(measures)
    amounts = Amounts(max_samples, max_units, orders, pairs, draws, minibatch, batch_size)
    if not isinstance(model, nn.Module):
        raise TypeError(f"diagnose: model must be a torch.nn.Module; got {type(model).__name__}. Call its factory first.")
    patterns = [layers] if isinstance(layers, str) else layers
    model = unwrap(model)
    device = next((tensor.device for tensor in (*model.parameters(), *model.buffers())), torch.device("cpu"))
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # the fused path skips the modules whose activations are read
    try:
        with preserve_state(model, seed):
            drawn = samples.draw(loader, max_samples, seed).to(device)
            unseen = None if held_out is None else samples.draw(held_out, max_samples, seed, "held_out").to(device)
            unbind(model)
            subject = Subject(model.eval(), drawn, loss or default_loss, batch_size, seed)
            return _measured(subject, unseen, wanted, patterns, axis, amounts)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _measured(
    subject: Subject,
    unseen: samples.Samples | None,
    wanted: set[str],
    patterns: Iterable[str] | None,
    axis: int | None,
    amounts: Amounts,
) -> Diagnosis:
    first = subject.samples.take(torch.arange(min(8, subject.samples.count)))
    subject.losses(first)  # a wrong loss or target fails before the measures start
    layers, notes = _layers(subject, first, wanted, patterns, axis, amounts) if wanted & set(LAYERED) else ((), [])
    if subject.samples.count < subject.samples.of:
        notes.append(f"{subject.samples.count} of {subject.samples.of} samples were drawn")
    notes += [f"{layer.name}: {layer.read} of {layer.width} units were read" for layer in layers if layer.read < layer.width]
    directions, why = gradients(subject, amounts.minibatch) if "gradients" in wanted else (None, "")
    return Diagnosis(
        layers=layers,
        gap=gap(subject, unseen, amounts.draws) if "gap" in wanted else None,
        gradients=directions,
        shifts=shifts(subject, amounts.draws) if "variance" in wanted else (),
        samples=subject.samples.count,
        seed=subject.seed,
        notes=tuple(notes + ([why] if why else [])),
    )


def _layers(
    subject: Subject,
    first: samples.Samples,
    wanted: set[str],
    patterns: Iterable[str] | None,
    axis: int | None,
    amounts: Amounts,
) -> tuple[tuple[Layer, ...], list[str]]:
    """Returns the measures of each layer, and notes on layers left out."""
    seen = sites(subject.model, run=lambda model: subject.run(first.x), seed=subject.seed)
    subject.model.eval()
    found, notes = places.find(subject.model, lambda model: subject.run(first.x), seen, patterns, axis)
    noisy = ["a random operation is on in eval and adds noise to every measure; see thinnet.audit"]
    return layers_of(subject, found, wanted, amounts), [*notes, *(noisy if any(site.on_in_eval for site in seen) else [])]


def _checked(measures: Iterable[str]) -> set[str]:
    names = [measures] if isinstance(measures, str) else list(measures)
    for name in names:
        if name not in MEASURES:
            raise ValueError(f"diagnose: measures must be among {', '.join(MEASURES)}; got {name!r}.")
    if not names:
        raise ValueError(f"diagnose: measures must hold one of {', '.join(MEASURES)}; got none.")
    return set(names)
