"""A small GPT with dropout everywhere, its training, and a record of its masks: what the tests of equality run in each way."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import thinnet
from thinnet.distributed import ring_attention

STEPS, BATCH, SAMPLES, LENGTH, WIDTH, HEADS, HIDDEN, WORDS, RATE = 10, 8, 64, 16, 32, 8, 64, 32, 0.2
LAYERS, STAGES = 2, 8  # layers: of each way, and of the pipeline, a layer a stage at most
COUNTS, HALF = (8, 4, 2), STEPS // 2  # of ranks; the steps before a run is saved
Masks = dict[tuple[int, str], dict[int, Tensor]]


class Embedding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(WORDS, WIDTH), nn.Embedding(LENGTH, WIDTH)

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        return self.words(tokens) + self.positions(positions)


class Attention(nn.Module):
    """Causal attention. `weights` holds the dropped weights of the last pass: the values get an identity matrix beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.wq, self.wk, self.wv, self.wo = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))
        self.dropout = thinnet.nn.AttentionDropout(RATE)
        self.order: Any = None  # of a ring of ranks
        self.weights = torch.empty(0)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        q, k, v = (w(x).unflatten(-1, (-1, WIDTH // HEADS)).transpose(1, 2) for w in (self.wq, self.wk, self.wv))
        v = torch.cat((v, F.one_hot(positions, LENGTH).to(v.dtype).expand(*v.shape[:3], -1)), -1)
        if self.order is None:
            y = self.dropout(q, k, v, is_causal=True)
        else:
            y = ring_attention(q, k, v, p=self.dropout, training=self.training, is_causal=True, order=self.order)
        self.weights = y[..., WIDTH // HEADS :].detach()
        return self.wo(y[..., : WIDTH // HEADS].transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)
        self.dropout = thinnet.nn.Dropout(RATE)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.dropout(F.gelu(self.up(x))))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention_norm, self.attention = nn.LayerNorm(WIDTH), Attention()
        self.forward_norm, self.feed_forward = nn.LayerNorm(WIDTH), FeedForward()
        self.attention_drop, self.forward_drop = thinnet.nn.Dropout(RATE), thinnet.nn.Dropout(RATE)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        x = x + self.attention_drop(self.attention(self.attention_norm(x), positions))
        return x + self.forward_drop(self.feed_forward(self.forward_norm(x)))


class GPT(nn.Module):
    """As in torchtitan: a pipeline stage is a copy without the parts that other stages have, so that names stay the same."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.embedding: nn.Module | None = Embedding()
        self.drop: nn.Module | None = thinnet.nn.Dropout(RATE)
        self.layers = nn.ModuleDict({str(number): Block() for number in range(layers)})
        self.norm: nn.Module | None = nn.LayerNorm(WIDTH)
        self.head: nn.Module | None = nn.Linear(WIDTH, WORDS)

    def forward(self, x: Tensor, positions: Tensor | None = None) -> Tensor:
        positions = torch.arange(LENGTH) if positions is None else positions
        x = x if self.embedding is None else self.embedding(x, positions)
        x = x if self.drop is None else self.drop(x)
        for layer in self.layers.values():
            x = layer(x, positions)
        x = x if self.norm is None else self.norm(x)
        return x if self.head is None else self.head(x)


def build(layers: int = LAYERS) -> GPT:
    """The network, with the same weights each time."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return GPT(layers)


def data() -> tuple[Tensor, Tensor]:
    """Sequences, and the word that follows each of their words."""
    words = torch.randint(WORDS, (SAMPLES, LENGTH + 1), generator=torch.Generator().manual_seed(5))
    return words[:, :-1], words[:, 1:]


def batch(step: int) -> Tensor:
    """The sample ids of a step."""
    return torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(step))[:BATCH]


def loss(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def optimizer(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def local(x: Tensor) -> Tensor:
    """The part of a DTensor on this rank."""
    return x.to_local() if hasattr(x, "to_local") else x


class Record:
    """The masks of the forward and backward passes of this process, by step and site: a row for each sample id."""

    def __init__(self, model: nn.Module, rng: thinnet.DropoutRNG) -> None:
        self.masks: Masks = {}
        self.rng = rng
        for name, site in rng.sites.items():
            if not isinstance(site, thinnet.nn.AttentionDropout):
                site.register_forward_hook(lambda site, inputs, y, name=name: self._drop(name, inputs[0], y))
        for name, module in model.named_modules():
            if isinstance(module, Attention):
                module.register_forward_hook(lambda module, *_, name=name: self._add(f"{name}.dropout", module.weights != 0))

    def _add(self, name: str, mask: Tensor, at: tuple[int, Tensor] | None = None) -> None:
        step, ids = at or (self.rng.step or 0, self.rng.context.place.samples)
        rows = self.masks.setdefault((step, name), {})
        rows |= {int(number): row.clone() for number, row in zip(ids, mask, strict=True)}  # type: ignore[arg-type]

    def _drop(self, name: str, x: Tensor, y: Tensor) -> None:
        if x.requires_grad:
            at = self.rng.step or 0, self.rng.context.place.samples
            self._add(name, local(y.detach()) != 0, at)
            x.register_hook(lambda gradient: self._add(f"{name} backward", local(gradient) != 0, at))


def train(
    model: nn.Module,
    wrapped: nn.Module,
    steps: Iterable[int] = range(STEPS),
    *,
    rows: Callable[[Tensor], Tensor] = lambda ids: ids,
    positions: Tensor | None = None,
    optimiser: torch.optim.Optimizer | None = None,
) -> dict[str, Any]:
    """Trains, and returns what another way of training must equal.

    Args:
        model: as it is bound.
        wrapped: what is called; another module where a wrapper shares the batch.
        rows: the ids of this process among those of a batch.
        positions: of the words of this process in each sequence; None for all.
    """
    x, y = data()
    rng = thinnet.rng.rng_of(model)
    record, losses, first = Record(model, rng), [], {}
    optimiser = optimiser or optimizer(model)
    here = torch.arange(LENGTH) if positions is None else positions
    for step in steps:
        ids = rows(batch(step))
        rng.at(step, ids)
        logits = wrapped(x[ids][:, here], here)
        value = loss(logits, y[ids][:, here])
        value.backward()
        losses.append(value.item())
        if not first:
            first = {"logits": dict(zip(ids.tolist(), logits.detach(), strict=True)), "gradients": gradients(model)}
        optimiser.step()
        optimiser.zero_grad()
    return {"masks": record.masks, "losses": losses, **first, "weights": weights(model)}


def whole(x: Tensor) -> Tensor:
    """All of a DTensor, gathered; a tensor as it is."""
    return x.full_tensor() if hasattr(x, "full_tensor") else x


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: whole(p.grad).clone() for name, p in model.named_parameters() if p.grad is not None}


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: whole(p.detach()).clone() for name, p in model.named_parameters()}


def reference(layers: int = LAYERS) -> dict[str, Any]:
    """The training in one process."""
    model = build(layers)
    thinnet.DropoutRNG(7).bind(model)
    return train(model, model)
