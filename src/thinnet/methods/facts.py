"""What a method declares of itself; the laws in tests/ hold every method to its own statement."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from torch import Tensor


@dataclass(frozen=True)
class Facts:
    """The statement of one method: words for a reader, and functions that the laws compare with what is measured.

    The functions take the method's other arguments by name: a method called with `block=7` declares `mean(x, p, block=7)`.

    Args:
        name: the field's name of the method.
        summary: one sentence: what one coin decides and what becomes of the unit.
        equation: what is computed in training, as in the docstring.
        paper: authors, year, venue or arXiv number.
        grain: what shares a coin, in words.
        place: where it goes in a network, and when it is the one to take.
        avoid: when another one, or none, is better.
        default: the rate, and what else there is, to start with.
        cost: what it adds to a step of training.
        elsewhere: who else has it, and how theirs differs.
        domain: the rates that it is defined for.
        expected_drop: the exact expected fraction of dropped units at rate p.
        mean: the exact expectation of the output, element by element, given the input and p.
        variance: the exact variance of the output, element by element, given the input and p.
        covariance: of two units of a sample, as a multiple of x_i x_j, given p and the number of units; None where they are
            independent, or it is not stated.
        definition: the method as its paper states it: a pure function of the input, the noise and p.
        noise: what the definition takes: coins, uniform in [0, 1), or numbers of a continuous distribution.
        noise_shape: the shape of that noise for an input of a shape; an axis that shares a coin has size one.
        independent: whether each coin decides by itself what it is broadcast to, and nothing else.
        per_batch: whether the samples of a batch share their coins.
        after_first: whether shared coins have the name of the batch's first sample, and not of none.
        in_eval: what the method is in eval, where it is not the identity.
    """

    name: str
    summary: str
    equation: str
    paper: str
    grain: str
    place: str
    avoid: str
    default: str
    cost: str
    elsewhere: str
    domain: str = "[0, 1]"
    expected_drop: Callable[..., float] | None = None
    mean: Callable[..., Tensor] | None = None
    variance: Callable[..., Tensor] | None = None
    covariance: Callable[..., float] | None = None
    definition: Callable[..., Tensor] | None = None
    noise: Literal["bits", "uniform", "normal"] = "bits"
    noise_shape: Callable[..., tuple[int, ...]] = lambda shape, **_: tuple(shape)
    independent: bool = True
    per_batch: bool = False
    after_first: bool = False
    in_eval: Callable[..., Tensor] | None = None


class Method(NamedTuple):
    """One line of the registry.

    Args:
        facts: what the method declares.
        module: its module, if it has one.
        function: its stateless form, if it has one.
        picture: what it makes of a picture of one channel, `(H, W)`, for the gallery.
    """

    facts: Facts
    module: type[Any] | None = None
    function: Callable[..., Any] | None = None
    picture: Callable[[Tensor], Tensor] | None = None

    @property
    def name(self) -> str:
        """The name it is called by: that of its module, or of its function."""
        return (self.module or self.function).__name__  # type: ignore[union-attr]
