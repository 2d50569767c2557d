"""SpecAugment: sets spans of time steps and of frequencies of a spectrogram to a value."""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import torch
from torch import Tensor

from thinnet.methods import spans
from thinnet.methods.call import draw_key, no_tensor
from thinnet.methods.elementwise.selection import where_kept
from thinnet.methods.facts import Facts, Method, Use
from thinnet.methods.numbers import real
from thinnet.ops import check_input
from thinnet.rng import NoiseKey, Site


class Policy(NamedTuple):
    """How many spans are cut along each axis, and how wide they may be; the defaults are the policy LD of the paper."""

    time_masks: int = 2
    time_width: int = 100
    time_share: float = 1.0
    frequency_masks: int = 2
    frequency_width: int = 27


def checked(function: str, policy: Policy) -> Policy:
    """Returns a policy, or raises a ValueError."""
    for name, value in policy._asdict().items():
        if name == "time_share":
            if not 0 <= real(value) <= 1:
                raise ValueError(f"{function}: time_share must be in [0, 1]; got {value!r}. It bounds the width of a span.")
        elif type(value) is not int or value < 0:
            raise ValueError(f"{function}: {name} must be an integer from 0 up; got {value!r}. The paper's policy LD is 2, 27.")
    return policy


def widest(policy: Policy, steps: int | Tensor) -> int | Tensor:
    """Returns the width of the widest span of time steps, for one sequence or for each of several."""
    part = Fraction(policy.time_share).limit_denominator(100_000)
    most = steps * part.numerator // part.denominator
    return most.clamp(max=policy.time_width) if isinstance(most, Tensor) else min(most, policy.time_width)


def cut_share(size: int, masks: int, widest: int) -> Tensor:
    """Returns the exact probability of each position of an axis to be in one of the spans."""
    widest = min(widest, size)
    one = torch.stack([spans.share(size, width) for width in range(widest + 1)]).mean(0)
    return 1 - (1 - one) ** masks


def expected_drop(bins: int, steps: int, policy: Policy) -> float:
    """Returns the exact expected share of a spectrogram that is cut."""
    time = cut_share(steps, policy.time_masks, int(widest(policy, steps))).mean()
    frequency = cut_share(bins, policy.frequency_masks, policy.frequency_width).mean()
    return float(1 - (1 - time) * (1 - frequency))


def kept(x: Tensor, policy: Policy) -> Tensor:
    """Returns the exact probability of each element to stay, `(F, T)`."""
    bins, steps = x.shape[-2:]
    time = 1 - cut_share(steps, policy.time_masks, int(widest(policy, steps)))
    return torch.outer(1 - cut_share(bins, policy.frequency_masks, policy.frequency_width), time)


def mean(x: Tensor, **settings: float) -> Tensor:
    """Returns x times the probability to stay."""
    return x * kept(x, Policy(**settings))  # type: ignore[arg-type]


def variance(x: Tensor, **settings: float) -> Tensor:
    """Returns x^2 c (1 - c), with c the probability to stay."""
    c = kept(x, Policy(**settings))  # type: ignore[arg-type]
    return x * x * c * (1 - c)


def definition(x: Tensor, u: Tensor, **settings: float) -> Tensor:
    """Returns `x` without spans of w = floor(u (W + 1)) positions from floor(u' (size - w + 1)) on."""
    y, policy = x.clone(), Policy(**settings)  # type: ignore[arg-type]
    bins, steps = x.shape[-2:]
    for sample, numbers in enumerate(u.unflatten(1, (-1, 2)).tolist()):
        for mask, (one, other) in enumerate(numbers):
            size, most = (steps, int(widest(policy, steps))) if mask < policy.time_masks else (bins, policy.frequency_width)
            width = int(one * (min(most, size) + 1))
            cut = slice(first := int(other * (size - width + 1)), first + width)
            axes = (slice(None), cut) if mask < policy.time_masks else (cut, slice(None))
            y[(sample, ..., *axes)] = 0
    return y


FACTS = Facts(
    domain="no rate: numbers and widths of spans determine how much is cut",
    mean=mean,
    variance=variance,
    definition=definition,
    noise="uniform",
    noise_shape=lambda shape, **s: (shape[0], 2 * (Policy(**s).time_masks + Policy(**s).frequency_masks)),
    independent=False,
    used_by=(Use("torchaudio", "torchaudio.transforms.FrequencyMasking, TimeMasking"),),
)


def _inside(u: Tensor, size: int, sizes: int | Tensor, widest: int | Tensor) -> Tensor:
    """Returns which of `size` positions are in one of the spans, `(B, size)`."""
    most = widest.minimum(sizes) if isinstance(sizes, Tensor) and isinstance(widest, Tensor) else min(widest, sizes)  # type: ignore[type-var]
    width = spans.start(u[..., 0], most + 1)
    return spans.inside(spans.start(u[..., 1], sizes - width + 1), width, size).any(1)


def _cut(key: NoiseKey, x: Tensor, policy: Policy, lengths: Tensor | None, fill: float) -> Tensor:
    if x.ndim < 3:
        raise ValueError(f"{key.function}: x must be (B, ..., F, T); got shape {tuple(x.shape)}. Add a batch axis in front.")
    if lengths is not None and lengths.shape != x.shape[:1]:
        raise ValueError(
            f"{key.function}: lengths must be (B,) = ({len(x)},); got {tuple(lengths.shape)}. It counts time steps."
        )
    check_input(x, key.function)
    bins, steps = x.shape[-2:]
    u = key.uniform((len(x), 2 * (policy.time_masks + policy.frequency_masks))).unflatten(1, (-1, 2))
    cut = torch.zeros((), dtype=torch.bool, device=x.device)
    if policy.time_masks:
        sizes = steps if lengths is None else lengths[:, None]
        cut = cut | _inside(u[:, : policy.time_masks], steps, sizes, widest(policy, sizes))[:, None, :]
    if policy.frequency_masks:
        cut = cut | _inside(u[:, policy.time_masks :], bins, bins, policy.frequency_width)[:, :, None]
    cut = cut.reshape(cut.shape[:1] + (1,) * (x.ndim - 3) + cut.shape[1:]) if cut.ndim else cut
    if fill == 0:
        return where_kept(x, ~cut)
    return x.clone().masked_fill_(cut, fill)  # in the memory format of x


def spec_augment(
    x: Tensor,
    *,
    time_masks: int = 2,
    time_width: int = 100,
    time_share: float = 1.0,
    frequency_masks: int = 2,
    frequency_width: int = 27,
    fill: float = 0.0,
    lengths: Tensor | None = None,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `SpecAugment`.

    Args:
        x: `(B, ..., F, T)`.
        lengths: `(B,)`, integers: the time steps of each sequence that are no padding; all of them by default.
        training: whether to cut; `x` itself is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> x = torch.ones(2, 80, 300)
    >>> y = spec_augment(x, frequency_masks=0, lengths=torch.tensor([300, 50]), training=True)
    >>> bool((y[1, :, 50:] == 1).all())  # padding has no span
    True
    """
    if not isinstance(x, Tensor):
        return no_tensor(spec_augment, locals())
    policy = checked("spec_augment", Policy(time_masks, time_width, time_share, frequency_masks, frequency_width))
    key = draw_key("spec_augment", x, 1.0, training, generator)  # every spectrogram has its spans
    return x if key is None else _cut(key, x, policy, lengths, fill)


class SpecAugment(Site):
    """Sets spans of time steps and of frequencies of each spectrogram to a value; the rest is unchanged.

        y[b, f, t] = fill where t or f is in a span, else x
        a span: [a, a + w),  w ~ Uniform{0 .. W},  a ~ Uniform{0 .. size - w},  W at most time_share of the time steps

    Nothing is scaled. There is no rate: `expected_drop(F, T)` returns the exact expected share, overlaps included, for any
    size. With `lengths`, spans of time lie inside each sequence and not in its padding. Time warping is not included.

    Noise shape: `time_masks` spans over all frequencies and `frequency_masks` spans over all time steps, per sample.
    Use when: on normalised log mel spectrograms at the input of a speech or audio network.
    Avoid when: the input is a waveform, or features whose neighbours are unrelated, where TokenDropout or Dropout fits.
    Start with: the defaults, the policy LD of the paper; time_share 0.2 for short utterances.
    Cost: two random numbers per span, and a selection.
    Other implementations: torchaudio.transforms.TimeMasking and FrequencyMasking, one span each and the same for the whole
        batch unless iid_masks; they draw w and a as real numbers. transformers' mask_time_prob: see SpanMasking.

    Args:
        time_masks: number of spans of time steps.
        time_width: the widest span of time steps, W.
        time_share: the widest span as a fraction of the sequence.
        frequency_masks: number of spans of frequencies.
        frequency_width: the widest span of frequencies.
        fill: the value of what is cut: zero is the mean of normalised features.

    Shapes: `(B, ..., F, T)`; the output has the shape of the input. `forward(x, lengths)` takes the time steps of each
        sequence, `(B,)`.

    Raises: ValueError if a number is negative, `time_share` is not in [0, 1], or the input has other axes; TypeError if it is
        an integer, bool, quantised or sparse tensor.

    Source: Park, Chan, Zhang, Chiu, Zoph, Cubuk, Le 2019, Interspeech, arXiv:1904.08779; time_share with adaptive widths:
        Park et al. 2020, arXiv:1912.05533.

    >>> layer = SpecAugment(time_width=40)
    >>> layer(torch.randn(8, 80, 300)).shape, round(layer.expected_drop(80, 300), 4)
    (torch.Size([8, 80, 300]), 0.3946)
    """

    one_rate = False

    def __init__(
        self,
        time_masks: int = 2,
        time_width: int = 100,
        time_share: float = 1.0,
        frequency_masks: int = 2,
        frequency_width: int = 27,
        fill: float = 0.0,
    ) -> None:
        super().__init__()
        policy = Policy(time_masks, time_width, time_share, frequency_masks, frequency_width)
        self.policy, self.fill = checked("SpecAugment", policy), fill

    def expected_drop(self, bins: int, steps: int) -> float:
        """Returns the exact expected share of a spectrogram that is cut, for its number of frequencies and time steps."""
        return expected_drop(bins, steps, self.policy)

    def forward(self, input: Tensor, lengths: Tensor | None = None) -> Tensor:
        return super().forward(input) if lengths is None else self.drop(input, lengths)

    def drop(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        key = self.key(x)
        return x if key is None else _cut(key, x, self.policy, lengths, self.fill)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.policy._asdict().items())


def _picture(picture: Tensor) -> Tensor:
    settings: dict[str, int] = dict(zip(("time_width", "frequency_width"), _widths(picture.shape), strict=True))
    return spec_augment(picture[None], **settings, training=True)[0]  # type: ignore[arg-type]


def _widths(shape: Sequence[int]) -> tuple[int, int]:
    return shape[1] // 4, shape[0] // 4


METHODS = (Method(FACTS, SpecAugment, spec_augment, _picture),)
