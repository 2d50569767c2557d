"""LayerDrop: skips whole layers of a stack."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from thinnet.methods.call import draw_key
from thinnet.methods.facts import Facts, Method, Use
from thinnet.methods.residual.skipped import decide, like, selecting, tied
from thinnet.rng import Site


def definition(x: Tensor, u: Tensor, p: float, layers: Sequence[nn.Module]) -> Tensor:
    """Returns x after the layers with u_l >= p; u is `(L,)`."""
    for layer, number in zip(layers, u.flatten(), strict=True):
        x = layer(x) if number >= p else x
    return x


FACTS = Facts(
    expected_drop=lambda p: p,
    definition=definition,
    noise_shape=lambda shape, layers, **_: (1, len(layers)),
    per_batch=True,
    used_by=(
        Use("transformers, wav2vec 2.0 and HuBERT", "layerdrop=0.1"),
        Use("transformers, BART", "encoder_layerdrop=0.0"),
    ),
)


def layer_drop(
    layers: Iterable[nn.Module],
    p: float | Tensor = 0.1,
    *,
    training: bool,
    generator: torch.Generator | None = None,
) -> list[nn.Module]:
    """Functional form of `LayerDrop`: returns the layers that run in this forward pass, in order.

    Args:
        layers: the stack.
        training: whether to skip layers; all layers are returned if not.
        generator: source of the seed, on the CPU; by default torch's generator.

    Returns: the layers that run. Unlike `LayerDrop` it does not keep the parameters of the others in the graph.

    >>> layers = [nn.Linear(4, 4) for _ in range(6)]
    >>> len(layer_drop(layers, 0.5, training=True)) <= 6, len(layer_drop(layers, 0.5, training=False))
    (True, 6)
    """
    stack = list(layers)
    key = draw_key("layer_drop", torch.empty(0), p, training, generator)
    return stack if key is None else [layer for layer, kept in zip(stack, key.mask((len(stack),)), strict=True) if kept]


class LayerDrop(Site):
    """Skips each layer of a stack with probability p in a forward pass, and scales nothing.

        x_{l+1} = f_l(x_l) where m_l, else x_l;  m_l ~ Bernoulli(1 - p)

    Use it as `x = layers(x)` or loop over it. Shallower stacks can be pruned from the trained one. Every layer runs in eval.

    A call gives the parameters of skipped layers gradients of zero. So training is the same in one process and in many, and
    `DistributedDataParallel` does not need to find unused parameters. With addressed masks all ranks skip the same layers.
    Without them ranks agree only if `fully_shard` sharded the layers. Use addressed masks if layers of unsharded copies
    communicate, as in synchronised batch normalisation or the older FullyShardedDataParallel.

    A loop, `for layer in layers: x = layer(x)`, iterates over the layers that run, so the gradients of skipped layers stay
    None. If gradients of zero are needed there, as for layers that return more than a tensor, use `decide` and `tie` in the
    loop.

    Compiled code and CUDA graphs cannot skip work at random: a call computes all layers there and selects. Compile the layers
    one by one to save the work.

    Noise shape: one decision per layer, for the whole batch.
    Use when: over the layers of a deep transformer, each with its own shortcut, if shallower models are wanted later.
    Avoid when: layers change the shape of their input. With LayerDrop, less of other dropout is needed.
    Start with: p from 0.1 to 0.2; 0.5 if half of the layers will be pruned.
    Cost: a skipped layer costs only a copy of its input.
    Other implementations: fairseq LayerDropModuleList and the layerdrop options of Hugging Face models. Their ranks skip
        different layers, and need find_unused_parameters under DistributedDataParallel.

    Args:
        layers: modules that map `x`, and the other arguments of the stack, to a tensor like `x`.
        p: probability that a layer is skipped, rounded to 1/65536.

    Shapes: those of the layers; the output has the shape and the dtype of the input, whichever layers run. A checkpoint has the
        keys of `nn.ModuleList(layers)`.

    Raises: ValueError if `p` is not in [0, 1].

    Source: Fan, Grave, Joulin 2020, ICLR, arXiv:1909.11556.

    >>> layers = LayerDrop([nn.Linear(4, 4) for _ in range(6)], p=0.5)
    >>> layers(torch.ones(2, 4)).shape, len(layers), len(layers.prune(range(0, 6, 2)))
    (torch.Size([2, 4]), 6, 3)
    """

    def __init__(self, layers: Iterable[nn.Module], p: float | None = 0.1) -> None:
        super().__init__(p)
        for index, layer in enumerate(layers):
            self.add_module(str(index), layer)

    def __len__(self) -> int:
        return len(self._modules)

    def __getitem__(self, index: int) -> nn.Module:
        return self._layers()[index]

    def _layers(self) -> list[nn.Module]:
        """Returns the layers in order; one that is there twice comes twice, unlike in `children`."""
        return [layer for layer in self._modules.values() if layer is not None]

    def __iter__(self) -> Iterator[nn.Module]:
        """Draws a mask and iterates over the layers that run."""
        return iter([layer for layer, kept in zip(self._layers(), self.decide(), strict=True) if kept])

    def decide(self) -> list[bool]:
        """Draws the mask of one forward pass: for each layer, whether it runs."""
        return decide(self, len(self))

    def tie(self, x: Tensor, index: int) -> Tensor:
        """Returns a copy of `x` that gives the parameters of the skipped layer `index` gradients of zero.

        In a loop of your own:

            for index, kept in enumerate(layers.decide()):
                x, state = layers[index](x, state) if kept else (layers.tie(x, index), state)
        """
        return tied(x, self[index])

    def forward(self, x: Tensor, *arguments: Any, **options: Any) -> Tensor:
        """Returns `x` after the layers that run; every layer gets the other arguments."""
        if isinstance(x, fx.Proxy):  # one node, as for every site
            return x.tracer.create_proxy("call_module", x.tracer.path_of_module(self), (x, *arguments), options)  # type: ignore[attr-defined]
        if self.training and selecting(x):
            return self._select(x, *arguments, **options)
        for layer, kept in zip(self._layers(), self.decide(), strict=True):
            x = like(x, layer(x, *arguments, **options)) if kept else tied(x, layer)
        return x

    def _select(self, x: Tensor, *arguments: Any, **options: Any) -> Tensor:
        key = self.key(x, batch=None)
        assert key is not None
        for layer, kept in zip(self._layers(), key.mask((len(self),)), strict=True):
            x = torch.where(kept, like(x, layer(x, *arguments, **options)), x)
        return x

    def prune(self, keep: Iterable[int]) -> nn.ModuleList:
        """Returns the numbered layers as a plain stack; `range(0, len(layers), 2)` keeps every other one, as in the paper."""
        return nn.ModuleList(self[index] for index in keep)

    def extra_repr(self) -> str:
        return f"p={self.p}"


METHODS = (Method(FACTS, LayerDrop, layer_drop),)
