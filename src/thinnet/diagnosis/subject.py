"""The model that is diagnosed, the samples it is diagnosed on, and the passes that every measure is made of."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from thinnet.diagnosis.samples import Samples
from thinnet.diagnosis.scores import Loss, Score, combined, hits
from thinnet.diagnosis.tap import Place, Tap, multiplied, one_a_sample


@dataclass(frozen=True)
class Subject:
    """A model in eval, with samples.

    Args:
        model: as it is, without what wraps it.
        samples: on the model's device.
        loss: takes what the model returned and the targets, and returns one number a sample, or one.
        batch_size: of a pass.
        seed: of everything that is drawn.
    """

    model: nn.Module
    samples: Samples
    loss: Loss
    batch_size: int
    seed: int

    def run(self, x: Any) -> Any:
        """Calls the model with a tensor, a tuple of arguments, or a mapping of named ones."""
        if isinstance(x, Mapping):
            return self.model(**x)
        return self.model(*x) if isinstance(x, (tuple, list)) else self.model(x)

    def losses(self, samples: Samples) -> tuple[Tensor, Any]:
        """Returns the loss of some samples, and what the model returned."""
        out = self.run(samples.x)
        losses = self.loss(out, samples.y)
        if not isinstance(losses, Tensor) or losses.shape not in ((), (samples.count,)):
            got = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
            raise ValueError(f"diagnose: loss must return one number, or one a sample; got {got}. Average over what is left.")
        return losses, out

    @torch.no_grad()
    def score(self, samples: Samples | None = None, factors: Mapping[Place, Tensor] | None = None) -> Score:
        """Returns loss and accuracy, of other samples or with the units of some places multiplied."""
        parts = []
        with Tap(self.model, list(factors or ()), multiplied(factors or {})):
            for chunk in (samples or self.samples).chunks(self.batch_size):
                losses, out = self.losses(chunk)
                parts.append((chunk.count, losses, hits(out, chunk.y)))
        return combined(parts)

    @torch.no_grad()
    def activations(self, places: Sequence[Place], most: int) -> dict[Place, Tensor]:
        """Returns one observation a sample of each place, `(n, units)`, of at most `most` of its units, drawn at random."""
        generator = torch.Generator().manual_seed(self.seed)
        units = {place: torch.randperm(place.width, generator=generator)[:most].sort().values for place in places}
        read: dict[Place, list[Tensor]] = {place: [] for place in places}
        count = [0]

        def meet(place: Place, x: Tensor) -> None:
            read[place].append(one_a_sample(x, place.axis, count[0], generator)[:, units[place].to(x.device)].float())

        with Tap(self.model, places, meet):
            for chunk in self.samples.chunks(self.batch_size):
                count[0] = chunk.count
                self.run(chunk.x)
        return {place: torch.cat(parts) for place, parts in read.items()}

    def gradient(self, samples: Samples) -> Tensor:
        """Returns the gradient of the mean loss over samples, `(P,)`, in the mode that the model is in."""
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        total: list[Tensor] = [torch.zeros_like(p, dtype=torch.promote_types(p.dtype, torch.float32)) for p in parameters]
        with torch.enable_grad():
            for chunk in samples.chunks(self.batch_size):
                loss = self.losses(chunk)[0].mean()
                found = torch.autograd.grad(loss, parameters, allow_unused=True)
                for sum_, part in zip(total, found, strict=True):
                    if part is not None:
                        sum_.add_(part, alpha=chunk.count / samples.count)
        return torch.cat([part.flatten() for part in total])


def coins_on(model: nn.Module) -> None:
    """Turns the coins on: training mode, but normalisations use the statistics that they use in eval.

    A network that has trained for long feeds its normalisations with what their statistics were taken of, so that this is what
    training does, without the noise of a batch's statistics.
    """
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):
            module.eval()


def unnamed(model: nn.Module) -> None:
    """Lets bound sites draw from torch's generator: a diagnosis has no step, and its samples have no ids."""
    for module in model.modules():
        if getattr(module, "context", None) is not None:
            module.context = None  # type: ignore[assignment]


def minibatches(samples: Samples, size: int, count: int, seed: int) -> Iterator[Samples]:
    """Returns disjoint minibatches, drawn at random."""
    order = torch.randperm(samples.count, generator=torch.Generator().manual_seed(seed))
    for ids in order.split(size)[:count]:
        if len(ids) == size:
            yield samples.take(ids)
