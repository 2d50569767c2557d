"""What a method states in numbers, and its entry in the registry."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from torch import Tensor


class Use(NamedTuple):
    """Where a method is used in practice: the project or model, and the setting that turns it on there."""

    project: str
    setting: str


@dataclass(frozen=True)
class Facts:
    """What the invariant tests need to know about a method; the words stand in the docstring of its class.

    The functions take the method's other arguments by name: a method called with `block=7` states `mean(x, p, block=7)`.

    Args:
        domain: the rates for which the method is defined.
        expected_drop: the exact expected fraction of dropped units at rate p.
        mean: the exact expectation of each element of the output, given the input and p.
        variance: the exact variance of each element of the output, given the input and p.
        covariance: of two units of a sample, as a multiple of x_i x_j, given p and the number of units. None where the units
            are independent, or where it is not stated.
        definition: the method as its paper states it: a pure function of the input, the noise and p.
        noise: what the definition takes: random bits as uniform numbers in [0, 1), or numbers of a continuous distribution.
        noise_shape: the shape of that noise for the shape of an input. A shared axis has size one.
        independent: whether each random decision covers its own units and no others.
        per_batch: whether the samples of a batch share their mask.
        after_first: whether a shared mask has the address of the first sample of the batch, instead of no sample.
        in_eval: what the method computes in eval, where that is not the identity.
        used_by: projects that use the method, by its own or an equivalent implementation, with their setting.
    """

    domain: str = "[0, 1]"
    expected_drop: Callable[..., float] | None = None
    mean: Callable[..., Tensor] | None = None
    variance: Callable[..., Tensor] | None = None
    covariance: Callable[..., float] | None = None
    definition: Callable[..., Any] | None = None  # a tensor, or several
    noise: Literal["bits", "uniform", "normal"] = "bits"
    noise_shape: Callable[..., tuple[int, ...]] = lambda shape, **_: tuple(shape)
    independent: bool = True
    per_batch: bool = False
    after_first: bool = False
    in_eval: Callable[..., Any] | None = None
    used_by: tuple[Use, ...] = ()


class Method(NamedTuple):
    """One entry of the registry. Methods that share their `facts` are one method for inputs of several shapes.

    Args:
        facts: what the method states.
        module: its class, if it has one.
        function: its functional form, if it has one.
        picture: the method applied to a picture of one channel, `(H, W)`, for the gallery.
        title: its name in prose, where that does not follow from the name of the class.
    """

    facts: Facts
    module: type[Any] | None = None
    function: Callable[..., Any] | None = None
    picture: Callable[[Tensor], Tensor] | None = None
    title: str = ""

    @property
    def name(self) -> str:
        """The name of the class, or else of the function."""
        return self.documented.__name__

    @property
    def documented(self) -> Any:
        """The class, or else the function: its docstring describes the method."""
        return self.module or self.function
