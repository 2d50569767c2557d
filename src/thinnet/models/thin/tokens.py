"""Runs `Linear` layers right behind `TokenDropout` on the kept tokens: the output for a dropped token is the bias.

    y[b, t] = W x[b, t] / (1 - p) + b for a kept token, else b

Attention cannot skip dropped tokens: a query may attend to a token of zeros, whose key and value are biases.
"""

import weakref
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, nn

from thinnet.methods.residual.separable import countable
from thinnet.methods.tokens.token_dropout import TokenDropout
from thinnet.models.edit.equivalents import same_forward
from thinnet.models.rewrite.edits import Change
from thinnet.models.rewrite.methods import Replacement
from thinnet.models.rewrite.modules import describe
from thinnet.models.state import preserve_state
from thinnet.models.thin.piece import Piece, is_watched
from thinnet.models.trace import trace
from thinnet.models.trace.observe import tracing_draws
from thinnet.models.trace.record import Node
from thinnet.ops.schema import transformed


class Tokens:
    """The state that a site shares with its readers: its last output, and the kept tokens in it.

    Args:
        site: the site that drops tokens.
    """

    def __init__(self, site: TokenDropout) -> None:
        self.site = site
        self.on = True
        self._made: weakref.ref[Tensor] | None = None  # does not keep the graph alive
        self._rows: Tensor | None = None

    def mark(self, x: Tensor | None, rows: Tensor | None) -> None:
        """Remembers the output of the site and its kept tokens; None if nothing is skipped."""
        self._made, self._rows = None if x is None else weakref.ref(x), rows

    def rows_of(self, x: Tensor) -> Tensor | None:
        """Returns the indices of the kept tokens of `x`, over all samples; None if `x` is not the output of the site."""
        return self._rows if self._made is not None and x is self._made() else None

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_made": None, "_rows": None}


class MarkedSite(Replacement):
    """Replaces `forward` of a site: it drops tokens as before, and remembers which.

    Args:
        tokens: of the site.
    """

    def __init__(self, tokens: Tokens) -> None:
        super().__init__(tokens.site)
        self.tokens = tokens

    def __call__(self, x: Tensor) -> Tensor:
        """Returns `x` with tokens dropped."""
        tokens, site = self.tokens, self.tokens.site
        if not countable(x):
            return self.method(x)
        tokens.mark(None, None)
        if not (tokens.on and site.training and site.p) or x.ndim != 3 or tracing_draws() or transformed():
            return self.method(x)
        key = site.key(x)
        assert key is not None
        y = key.apply_noise(x, shared_axes=(2,), inplace=site.inplace)
        tokens.mark(y, key.mask(x.shape[:2]).flatten().nonzero().flatten())
        return y


class OnTokens(Replacement):
    """Replaces `forward` of a `Linear` layer: it runs on the kept tokens, and returns the bias for the others.

    Args:
        layer: the reader of the site.
        tokens: of the site.
    """

    def __init__(self, layer: nn.Linear, tokens: Tokens) -> None:
        super().__init__(layer)
        self.tokens = tokens

    def __call__(self, x: Tensor) -> Tensor:
        """Returns the output for every token."""
        rows = None if torch.compiler.is_compiling() or is_watched([self.module]) else self.tokens.rows_of(x)
        if rows is None:
            return self.method(x)
        layer, flat = self.module, x.flatten(0, 1)
        assert isinstance(layer, nn.Linear)
        y = nn.functional.linear(flat.index_select(0, rows), layer.weight, layer.bias)
        shape = len(flat), y.shape[1]
        base = y.new_zeros(shape) if layer.bias is None else layer.bias.to(y.dtype).expand(shape)
        return base.index_copy(0, rows, y).unflatten(0, x.shape[:2])


def drops_tokens(module: nn.Module) -> bool:
    """Returns whether a module is a site that drops whole tokens."""
    return type(module) is TokenDropout


def tokens(
    model: nn.Module, call: Callable[[], Any], leave: Callable[[str], bool], seed: int, taken: Collection[nn.Module] = ()
) -> tuple[list[Piece], list[str]]:
    """Returns the sites whose `Linear` readers can run on the kept tokens, and for the other sites the reasons why not.

    Args:
        model: the model.
        call: runs it with the example.
        leave: whether a site stays unchanged.
        seed: of the pass.
        taken: layers that belong to a chain.
    """
    sites = {module: name for name, module in model.named_modules() if type(module) is TokenDropout}
    if not sites:
        return [], []
    with preserve_state(model, seed):
        model.train()
        nodes = trace(
            model, call, level="functions", whole=lambda module: module in sites or same_forward(module, nn.Linear)
        ).nodes
    pieces, notes = [], []
    for site, name in sites.items():
        uses = [node for node in nodes if node.module is site]
        reading = dict.fromkeys(layer for node in uses for layer in _readers(node))
        readers = [layer for layer in reading if layer not in taken]
        if leave(name) or not readers:
            unread = "the layers that read it belong to a chain" if reading else UNREAD
            reason = "excluded by leave=" if leave(name) else unread if uses else "the example does not reach it"
            notes.append(f"{name} is not thinned: {reason}")
            continue
        pieces.append(_piece(model, name, Tokens(site), readers))
        taken = {*taken, *readers}
    return pieces, notes


UNREAD = "no Linear layer reads it; attention and sums read the zeros of dropped tokens. PatchDropout removes tokens"


def _readers(node: Node) -> list[nn.Module]:
    value = node.outputs[0]
    if value.tensor.ndim != 3:
        return []
    return [
        use.module for use in value.uses if use.module is not None and use.inputs == [value] and use.module is not node.module
    ]


def _piece(model: nn.Module, name: str, switch: Tokens, readers: list[nn.Module]) -> Piece:
    paths = {module: path for path, module in model.named_modules()}
    writes = [MarkedSite(switch).write()]
    for layer in readers:
        assert isinstance(layer, nn.Linear)
        writes.append(OnTokens(layer, switch).write())
    text = f"{' and '.join(paths[layer] for layer in readers)} {'run' if len(readers) > 1 else 'runs'} on the kept tokens"
    return Piece(name, [Change("~", name, f"{text}; {describe(switch.site)}", writes)], switch)
