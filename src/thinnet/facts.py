"""What a method declares of itself; the laws in tests/ hold every method to its own statement."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Facts:
    """The statement of one method.

    Args:
        name: the field's name of the method.
        summary: one sentence: what one coin decides and what becomes of the unit.
        paper: authors, year, venue or arXiv number.
        grain: what shares a coin, in words.
        place: where it goes in a network, and the rate to start with.
        domain: the rates that it is defined for.
        expected_drop: the exact expected fraction of dropped units at rate p.
        mean: the exact expectation of the output, element by element, given the input and p.
        variance: the exact variance of the output, element by element, given the input and p.
        definition: the method as its paper states it: a pure function of the input, the coins and p.
        continuous: whether the coins of the definition are standard normal numbers; else uniform in [0, 1).
        shared: the axes of an input with so many axes that share a coin.
    """

    name: str
    summary: str
    paper: str
    grain: str
    place: str
    domain: str
    expected_drop: Callable[[float], float]
    mean: Callable[[Tensor, float], Tensor]
    variance: Callable[[Tensor, float], Tensor]
    definition: Callable[[Tensor, Tensor, float], Tensor]
    continuous: bool = False
    shared: Callable[[int], tuple[int, ...]] = lambda axes: ()
