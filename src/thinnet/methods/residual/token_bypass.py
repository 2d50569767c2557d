"""Token bypass: a random part of the tokens skips a layer, which costs less time."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from thinnet.methods.call import draw_key, no_tensor
from thinnet.methods.facts import Facts, Method, Use
from thinnet.methods.tokens import patch_dropout
from thinnet.methods.weights.wrapped import Wrapped
from thinnet.rng import NoiseKey, rates


def definition(x: Tensor, u: Tensor, p: float, layer: Any, prefix: int = 0) -> Tensor:
    """Returns `x` with the layer's output at the prefix and at the tokens with the smallest noise."""
    kept, rows = patch_dropout.kept_patches(x.shape[1] - prefix, p), []
    for sample, numbers in zip(x, u, strict=True):
        chosen = [*range(prefix), *sorted(prefix + int(token) for token in numbers.argsort()[:kept])]
        y = sample.clone()
        y[chosen] = layer(sample[None, chosen])[0]
        rows.append(y)
    return torch.stack(rows)


FACTS = Facts(
    domain="[0, 1)",
    definition=definition,
    noise="uniform",
    noise_shape=lambda shape, prefix=0, **_: (shape[0], shape[1] - prefix),
    independent=False,
    in_eval=lambda x, p, layer, prefix=0: layer(x),
    used_by=(Use("DeepSpeed, data efficiency", "data_routing.random_ltd"),),
)


def _bypass(
    key: NoiseKey | None,
    x: Tensor,
    p: float,
    prefix: int,
    layer: Any,
    function: str,
    by_token: Mapping[str, Tensor],
    **others: Any,
) -> Tensor:
    if key is None or patch_dropout.kept_patches(max(1, x.shape[1] - prefix), p) == x.shape[1] - prefix:
        return layer(x, **by_token, **others)
    chosen, places = patch_dropout.keep(key, x, p, prefix, True, function)
    for name, value in by_token.items():
        if value.shape[:2] != x.shape[:2]:
            raise ValueError(f"{function}: {name} must be (B, T, ...) = {tuple(x.shape[:2])}; got {tuple(value.shape)}.")
    selected = {name: value[torch.arange(len(x), device=x.device)[:, None], places] for name, value in by_token.items()}
    y = layer(chosen, **selected, **others)
    if not isinstance(y, Tensor) or y.shape != chosen.shape:
        got = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
        raise TypeError(f"{function}: layer must return a tensor of the shape of its input; got {got}. Wrap it in a module.")
    return x.to(y.dtype).scatter(1, places[..., None].expand_as(y), y)  # the dtype of eval, whatever autocast does


def token_bypass(
    x: Tensor,
    p: float = 0.5,
    *,
    layer: Any,
    prefix: int = 0,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `TokenBypass`.

    Args:
        x: `(B, T, D)`.
        layer: the layer, from `(B, k, D)` to the same shape.
        training: whether tokens skip the layer; `layer(x)` is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> y = token_bypass(torch.ones(2, 8, 3), 0.75, layer=lambda x: 5 * x, training=True)
    >>> (y[:, :, 0] == 5).sum(1)
    tensor([2, 2])
    """
    if not isinstance(x, Tensor):
        return no_tensor(token_bypass, locals())
    prefix, p = patch_dropout.checked("token_bypass", prefix), rates.check("token_bypass", p, below_one=True)
    key = draw_key("token_bypass", x, p, training, generator, below_one=True)
    return _bypass(key, x, p, prefix, layer, "token_bypass", {})


class TokenBypass(Wrapped):
    """Lets a fixed number of random tokens of each sequence skip a layer, which computes the others alone.

        y[b, S] = layer(x[b, S]),  y[b, t] = x[b, t] elsewhere;  S: the prefix and k random tokens in their order
        k = max(1, (1 - p) (T - prefix) rounded to the nearest integer, halves up)

    The layer is one with a skip connection inside, such as a transformer block: a token that skips it keeps its value, so
    nothing is scaled. The tokens of S attend to each other only. In eval all tokens pass the layer.

    Noise shape: exactly k of the tokens of a sample.
    Use when: around the middle layers of a deep transformer in pre-training or long fine-tuning, to save time.
    Avoid when: around the first and the last layer; or the layer adds no skip connection of its own.
    Start with: p = 0.5, falling to 0 over the training, on all layers but the first and the last.
    Cost: it saves time: the layer processes k of T tokens. A copy of the input, and the indices.
    Other implementations: DeepSpeed random-LTD, which changes the layer classes and needs its engine.

    Args:
        layer: the layer, which becomes the child `layer`. The checkpoint has its keys.
        p: fraction of tokens that skip the layer, rounded to a whole number of tokens.
        prefix: number of leading tokens that never skip it, such as class tokens.

    Shapes: `(B, T, D)`; the output has the shape of the input. `forward(x, by_token={...}, **others)` passes on further
        arguments; those in `by_token`, such as positions or a padding mask, are `(B, T, ...)` and are selected too.

    Raises: ValueError if `p` is not in [0, 1), `prefix` is below 0, or an input has other axes; TypeError if the layer returns
        another shape, or the input is an integer, bool, quantised or sparse tensor.

    Source: Yao, Wu, Li, Holmes, Zhang, Li, He 2022, "Random-LTD", arXiv:2211.11586.

    >>> block = TokenBypass(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 0.5)
    >>> block(torch.randn(2, 10, 8)).shape
    torch.Size([2, 10, 8])
    """

    below_one = True

    def __init__(self, layer: nn.Module, p: float = 0.5, prefix: int = 0) -> None:
        super().__init__(layer, p)
        self.prefix = patch_dropout.checked("TokenBypass", prefix)

    def forward(self, input: Tensor, by_token: Mapping[str, Tensor] | None = None, **others: Any) -> Tensor:
        """Returns the layer's output, in training with the input itself at the tokens that skip it."""
        if isinstance(input, fx.Proxy):
            return input.tracer.create_proxy("call_module", input.tracer.path_of_module(self), (input,), others)  # type: ignore
        return _bypass(self.key(input), input, self.p or 0.0, self.prefix, self.layer, "TokenBypass", by_token or {}, **others)

    def extra_repr(self) -> str:
        return f"p={self.p}, prefix={self.prefix}"


METHODS = (Method(FACTS, TokenBypass, token_bypass),)
