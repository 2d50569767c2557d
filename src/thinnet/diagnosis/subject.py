"""The model and the samples of a diagnosis, and the passes that the measures use."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from thinnet.diagnosis.samples import Samples
from thinnet.diagnosis.scores import Loss, Score, combined, hits
from thinnet.diagnosis.tap import Place, meet_values, multiplied, one_per_sample
from thinnet.models.edit.order import call_with
from thinnet.rng import Site
from thinnet.rng.binding import hooks_of, remove_hooks


@dataclass(frozen=True)
class Subject:
    """A model in eval without its wrappers, with samples on its device."""

    model: nn.Module
    samples: Samples
    loss: Loss
    batch_size: int
    seed: int

    def run(self, x: Any) -> Any:
        """Calls the model with a tensor, a tuple of arguments, or a mapping of named ones."""
        return call_with(self.model, x)

    def losses(self, samples: Samples) -> tuple[Tensor, Any]:
        """Returns the loss of some samples, and the output of the model."""
        out = self.run(samples.x)
        losses = self.loss(out, samples.y)
        if not isinstance(losses, Tensor) or losses.shape not in ((), (samples.count,)):
            got = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
            raise ValueError(f"diagnose: loss must return one number, or one per sample; got {got}. Average the other axes.")
        return losses, out

    @torch.no_grad()
    def score(self, samples: Samples | None = None, factors: Mapping[Place, Tensor] | None = None) -> Score:
        """Returns loss and accuracy, of other samples if given, and with the units of some places multiplied by factors."""
        parts = []

        def run() -> None:
            for chunk in (samples or self.samples).chunks(self.batch_size):
                losses, out = self.losses(chunk)
                parts.append((chunk.count, losses, hits(out, chunk.y)))

        if factors:
            meet_values(self.model, factors, multiplied(factors), run)
        else:
            run()
        return combined(parts)

    @torch.no_grad()
    def activations(self, places: Sequence[Place], most: int) -> dict[Place, Tensor]:
        """Returns one observation per sample of each place, `(n, units)`, for at most `most` random units."""
        generator = torch.Generator().manual_seed(self.seed)
        units = {place: torch.randperm(place.width, generator=generator)[:most].sort().values for place in places}
        read: dict[Place, list[Tensor]] = {place: [] for place in places}
        count = [0]

        def meet(place: Place, x: Tensor) -> None:
            read[place].append(one_per_sample(x, place.axis, count[0], generator)[:, units[place].to(x.device)].float())

        def run() -> None:
            for chunk in self.samples.chunks(self.batch_size):
                count[0] = chunk.count
                self.run(chunk.x)

        meet_values(self.model, places, meet, run)
        return {place: torch.cat(parts) for place, parts in read.items()}

    def gradient(self, samples: Samples) -> Tensor:
        """Returns the gradient of the mean loss over samples, `(P,)`, in the current mode of the model."""
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


def dropout_on(model: nn.Module) -> None:
    """Turns dropout on: training mode, but normalisation layers keep their running statistics.

    After long training the running statistics match the inputs of the layers. So this is what training does, without the
    noise of the statistics of a batch.
    """
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):
            module.eval()


def unbind(model: nn.Module) -> None:
    """Makes bound sites draw from torch's generator: a diagnosis has no step, and its samples have no ids."""
    for module, counter in [*hooks_of(model)]:
        remove_hooks(module, counter)
    for module in model.modules():
        if isinstance(module, Site):
            module.context = None


def minibatches(samples: Samples, size: int, count: int, seed: int) -> Iterator[Samples]:
    """Yields random disjoint minibatches."""
    order = torch.randperm(samples.count, generator=torch.Generator().manual_seed(seed))
    for ids in order.split(size)[:count]:
        if len(ids) == size:
            yield samples.take(ids)
