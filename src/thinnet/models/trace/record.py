"""What a trace records: calls of modules, functions, the values that pass between them, and random draws."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

SiteId = tuple[str, tuple[str, ...]]  # the path of a module and the calling lines
ADDRESSED = frozenset(("thinnet::apply_noise", "thinnet::attention"))  # operations that draw from an address
KINDS = {
    "samples": "additive noise",
    "adds": "additive noise",
    "picks": "subset",
    "decides": "decision",
    "chooses": "choice",
    "projects": "random projection",
    "restores": "masking",
    "seeds": "reseeding",
    "calls": "multiplicative noise",
}


def sketch(x: Tensor) -> tuple[float, ...]:
    """Returns the sizes of a tensor and 64 of its numbers, evenly spaced; of a DTensor, those of the part here."""
    x = getattr(x, "_local_tensor", x).detach()
    places = torch.linspace(0, max(0, x.numel() - 1), min(64, x.numel()), device=x.device).long()
    return *map(float, x.shape), *x.reshape(-1)[places].double().tolist()


@dataclass(eq=False)
class Value:
    """A tensor of a pass. A tensor that is written to in place is another value from then on.

    Args:
        tensor: the tensor.
        made: the node that made it; None for inputs, parameters and constants.
        uses: the nodes that read it.
        returned: whether the model returns it.
    """

    tensor: Tensor
    made: "Node | None" = None
    uses: list["Node"] = field(default_factory=list)
    returned: bool = False


@dataclass(eq=False)
class Node:
    """One call of a function, or of a module that counts as a whole.

    Args:
        name: the path of the module, or the name of the function.
        inside: the path of the innermost module that ran.
        module: None for a function.
        inputs: the values that it read.
        outputs: the values that it made.
        operations: the operations that a function dispatched.
    """

    name: str
    inside: str
    module: nn.Module | None
    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    operations: list[Any] = field(default_factory=list)

    def __str__(self) -> str:
        return self.name if self.module is not None else f"{self.name} in {self.inside or 'the model'}"


@dataclass(eq=False)
class Call:
    """One call of a module.

    Args:
        module: the module.
        name: its path; of a module that is no part of the model, the path of its caller and its class.
        entry: the value of its first argument, at level "functions".
        start, end: how many nodes there were before the call and after it.
    """

    module: nn.Module
    name: str
    entry: Value | None = None
    start: int = 0
    end: int = -1


@dataclass(eq=False)
class Draw:
    """One random draw of a pass, and how it is used.

    Args:
        op: the operation that drew.
        shape: of what it drew.
        use: "multiplies", "selects", "fills", "adds", "samples" (zero-mean noise times data), "projects" (data times a random
            matrix), "picks", "restores" (picks, and the inverse permutation or the mask is used too), "decides", "chooses",
            "seeds", "calls" (an attention function with a rate), or "" while it is unused.
        units: how many units it decides about.
        dropped: how many of them are dropped; None where nothing can be.
        scale: the factor of kept units; None where it differs among them.
        mean: the mean of the numbers that multiply, where they differ.
        factors: the numbers that the same data was multiplied by just before or after.
        p: the nominal drop rate, where the operations state it.
        shared: the axes of the data along which one number is shared.
        axes: the number of axes of the data.
        name: the path of the module that drew.
        lines: `file:line` of the calling code, innermost first.
        seconds, bytes: what it took.
        target: what the noise meets: "weights", "input" (of the model), or "activations".
        met: the storage of that.
        after: the operation that made what the noise meets.
        follows: whether that was the use of another draw.
        at_output: whether the model returns what its use made.
        feeds: how many outputs the model's last layer has, if that layer reads what the use made; else 0.
        digest: a checksum of the numbers, where the trace asks for it.
        made: the tensor that its use made, where the trace asks for it.
        data: some numbers of what the noise meets, where the trace takes checksums.
    """

    op: str
    shape: tuple[int, ...] = ()
    use: str = ""
    units: int = 0
    dropped: int | None = None
    scale: float | None = None
    mean: float | None = None
    factors: list[float] = field(default_factory=list)
    p: float | None = None
    shared: tuple[int, ...] = ()
    axes: int = 0
    name: str = ""
    lines: tuple[str, ...] = ()
    seconds: float = 0.0
    bytes: int = 0
    target: str = "activations"
    met: int = 0
    after: str = ""
    follows: bool = False
    at_output: bool = False
    feeds: int = 0
    digest: int = 0
    made: Tensor | None = None
    data: tuple[float, ...] = ()

    @property
    def site(self) -> SiteId:
        """The path of the module and the calling lines: two draws with the same ones are of the same site."""
        return self.name, self.lines

    @property
    def line(self) -> str | None:
        """The innermost calling line."""
        return self.lines[0] if self.lines else None

    @property
    def kind(self) -> str:
        """What kind of randomness it is, by its use.

        >>> Draw("bernoulli", (4,), use="multiplies", units=4, dropped=1).kind
        'dropout'
        """
        if self.use == "adds" and self.dropped is not None:
            return "dropped keys"
        if self.use in ("multiplies", "selects", "fills"):
            return "dropout" if self.dropped is not None else "multiplicative noise"
        return KINDS.get(self.use, "no use")

    @property
    def share(self) -> float | None:
        """The fraction of the units that was dropped; None where nothing can be."""
        return None if self.dropped is None or not self.units else self.dropped / self.units

    def factor(self) -> float | None:
        """Returns the mean of the numbers that multiply; of a mask, the factor of kept units times the rate of these."""
        scale, rate = self.total_scale(), self.share if self.p is None else self.p
        return self.mean if self.mean is not None or scale is None or rate is None else scale * (1 - rate)

    def total_scale(self) -> float | None:
        """Returns the factor of kept units, with a factor beside the mask where that corrects for a rate.

        A factor beside a selection is taken for its correction only where it is the inverse of a rate.
        """
        share = self.share if self.p is None else self.p
        if share is None or not 0 < share < 1:
            return self.scale
        if self.scale is None:
            inverse = (factor for factor in self.factors if any(abs(factor * part - 1) < 0.02 for part in (share, 1 - share)))
            return next(inverse, None) if self.use in ("selects", "fills") else None
        best = min(self.factors, key=lambda factor: abs(self.scale * factor * (1 - share) - 1), default=1.0)  # type: ignore[operator]
        better = abs(self.scale * best * (1 - share) - 1) < abs(self.scale * (1 - share) - 1)
        return self.scale * best if better else self.scale
