"""LayerDrop: each layer of a stack is skipped by one coin a forward pass, so that shallower stacks can be cut out of it later.

    x_{l+1} = f_l(x_l) where m_l, else x_l;  m_l ~ Bernoulli(1 - p);  every layer runs in eval, and nothing is scaled

Fan, Grave, Joulin 2020, ICLR, arXiv:1909.11556.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from thinnet.methods.call import draw_key
from thinnet.methods.facts import Facts, Method
from thinnet.methods.residual.skipped import decide, selecting, tied
from thinnet.rng import Site


def definition(x: Tensor, u: Tensor, p: float, layers: Sequence[nn.Module]) -> Tensor:
    """Returns x after the layers whose coin is kept, u_l >= p; u is `(L,)`."""
    for layer, coin in zip(layers, u.flatten(), strict=True):
        x = layer(x) if coin >= p else x
    return x


FACTS = Facts(
    name="LayerDrop",
    summary="Skips each layer of a stack by one coin a forward pass, and scales nothing.",
    equation="x_{l+1} = f_l(x_l) where m_l, else x_l;  m_l ~ Bernoulli(1 - p)",
    paper="Fan, Grave, Joulin 2020, arXiv:1909.11556",
    grain="layer",
    place="over the layers of a deep transformer, each of which has its own shortcut; where shallower ones are wanted later",
    avoid="with layers that change the shape of their input; beside strong dropout, of which less is needed then",
    default="0.1 to 0.2; 0.5 where half of the layers are to be pruned",
    cost="one coin a layer: a skipped layer costs a copy of its input and nothing else",
    elsewhere="fairseq LayerDropModuleList and the layerdrop options of Hugging Face models, whose ranks skip other layers than"
    " each other, and which need find_unused_parameters under DistributedDataParallel",
    expected_drop=lambda p: p,
    definition=definition,
    noise_shape=lambda shape, layers, **_: (1, len(layers)),
    per_batch=True,
)


def layer_drop(
    layers: Iterable[nn.Module],
    p: float | Tensor = 0.1,
    *,
    training: bool,
    generator: torch.Generator | None = None,
) -> list[nn.Module]:
    """Returns the layers that run in this forward pass: each with probability 1 - p, and all of them where not `training`.

    Args:
        layers: the stack.
        p: probability that a layer is skipped; honoured to 1/65536.
        training: whether coins are tossed. There is no default to forget.
        generator: where the seed of this call is drawn: a generator of the CPU, as the decision is made there.

    Returns: the layers that run, in their order. `LayerDrop` keeps the parameters of the others in the graph; this does not.

    Raises: ValueError where `p` is not in [0, 1].

    Source: Fan, Grave, Joulin 2020, arXiv:1909.11556.

    >>> layers = [nn.Linear(4, 4) for _ in range(6)]
    >>> len(layer_drop(layers, 0.5, training=True)) <= 6, len(layer_drop(layers, 0.5, training=False))
    (True, 6)
    """
    stack = list(layers)
    key = draw_key("layer_drop", torch.empty(0), p, training, generator)
    return stack if key is None else [layer for layer, kept in zip(stack, key.mask((len(stack),)), strict=True) if kept]


class LayerDrop(Site):
    """A stack of layers, each of which is skipped at random in training: `x = layers(x)`, or a loop over the layers.

    x_{l+1} = f_l(x_l) where m_l, else x_l, with m_l ~ Bernoulli(1 - p), one coin for the batch; every layer runs in eval.

    A call gives the parameters of skipped layers gradients of zero, so training is the same in one process and in many, and
    `DistributedDataParallel` does not have to look for unused parameters. With named coins all ranks skip the same layers.
    Without names they do so where `fully_shard` sharded the layers; name the coins where layers of whole copies talk to each
    other, such as by synchronised batch normalisation or the older FullyShardedDataParallel.

    A loop, `for layer in layers: x = layer(x)`, passes over the layers that run and knows no tensor to tie the others to: their
    gradients stay None. Where a layer gives more than a tensor and gradients are wanted, decide and tie in the loop:

        for index, kept in enumerate(layers.decide()):
            x, state = layers[index](x, state) if kept else (layers.tie(x, index), state)

    What is compiled or captured as a CUDA graph cannot leave work out at random: a call computes all layers there, and the
    coins select. Compile the layers one by one to keep what LayerDrop saves.

    Args:
        layers: modules that map `x`, and what else the stack is called with, to a tensor like `x`.
        p: probability that a layer is skipped; honoured to 1/65536.

    Shapes: what the layers take, the same out as in. A checkpoint has the keys of `nn.ModuleList(layers)`.

    Raises: ValueError where `p` is not in [0, 1].

    Source: Fan, Grave, Joulin 2020, arXiv:1909.11556.

    >>> layers = LayerDrop([nn.Linear(4, 4) for _ in range(6)], p=0.5)
    >>> layers(torch.ones(2, 4)).shape, len(layers), len(layers.prune(range(0, 6, 2)))
    (torch.Size([2, 4]), 6, 3)
    """

    def __init__(self, layers: Iterable[nn.Module], p: float | None = 0.1) -> None:
        super().__init__(p)
        for index, layer in enumerate(layers):
            self.add_module(str(index), layer)

    def __len__(self) -> int:
        """Returns the number of all layers."""
        return len(self._modules)

    def __getitem__(self, index: int) -> nn.Module:
        """Returns layer `index` of all layers."""
        return list(self.children())[index]

    def __iter__(self) -> Iterator[nn.Module]:
        """Tosses the coins and passes over the layers that run."""
        return iter([layer for layer, kept in zip(self.children(), self.decide(), strict=True) if kept])

    def decide(self) -> list[bool]:
        """Tosses the coins of one forward pass: for each layer, whether it runs."""
        return decide(self, len(self))

    def tie(self, x: Tensor, index: int) -> Tensor:
        """Returns a copy of `x` that gives the parameters of layer `index`, which is skipped, gradients of zero."""
        return tied(x, self[index])

    def forward(self, x: Tensor, *arguments: Any, **options: Any) -> Tensor:
        """Returns `x` after the layers that run; the other arguments are those of every layer."""
        if isinstance(x, fx.Proxy):  # as a site does
            return x.tracer.create_proxy("call_module", x.tracer.path_of_module(self), (x, *arguments), options)  # type: ignore[attr-defined]
        if self.training and selecting(x):
            return self._select(x, *arguments, **options)
        for layer, kept in zip(self.children(), self.decide(), strict=True):
            x = layer(x, *arguments, **options) if kept else tied(x, layer)
        return x

    def _select(self, x: Tensor, *arguments: Any, **options: Any) -> Tensor:
        key = self.key(x, batch=None)
        assert key is not None
        for layer, kept in zip(self.children(), key.mask((len(self),)), strict=True):
            x = torch.where(kept, layer(x, *arguments, **options), x)
        return x

    def prune(self, keep: Iterable[int]) -> nn.ModuleList:
        """Returns the layers of these numbers as a plain stack; `range(0, len(layers), 2)` is every other, as in the paper."""
        return nn.ModuleList(self[index] for index in keep)

    def extra_repr(self) -> str:
        return f"p={self.p}"


METHODS = (Method(FACTS, LayerDrop, layer_drop),)
