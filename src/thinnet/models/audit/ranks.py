"""The checks of an audit between the ranks of one run: their masks, modes, rates and seeds."""

import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from thinnet.models import declared
from thinnet.models.audit.case import Case
from thinnet.models.found import DROPS
from thinnet.models.state import preserve_state
from thinnet.models.trace import trace
from thinnet.models.trace.modules import Values
from thinnet.models.trace.record import ADDRESSED, Draw, sketch
from thinnet.ops.dtensor import is_sharded
from thinnet.report.findings import Finding, Location, Rule
from thinnet.rng.names import plain

SEED = Rule("AUD402", "the same seed on all ranks", "error")
REPLICAS = Rule("AUD403", "different masks on copies of a tensor", "error")
PARTS = Rule("AUD404", "the same mask on different data of two ranks", "error")
MODES = Rule("AUD405", "ranks in different modes", "error")
RATES = Rule("AUD406", "ranks with different rates", "error")
TELLING = 64  # as many units do not have the same mask twice by chance
Numbers = tuple[float, ...]


def same_seed(case: Case) -> Iterator[Finding]:
    """Ranks of one run that draw the same masks for different samples, by the states of their generators."""
    if not (dist.is_available() and dist.is_initialized()):
        return
    states: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(states, zlib.crc32(bytes(torch.get_rng_state().numpy())))
    addressed = all(getattr(m, "context", None) is not None for m in case.model.modules() if hasattr(m, "context"))
    drawn = any(site.op not in ADDRESSED for site in case.sites if site.on_in_train)
    if any(is_sharded(parameter) for parameter in case.model.parameters()):
        return  # ranks of tensor parallelism must have the same state: see `audit(..., ranks=True)`
    if len(states) > 1 and len(set(states)) == 1 and (drawn or not addressed):
        yield _seeded_alike(len(states))


def _seeded_alike(ranks: int) -> Finding:
    evidence = f"All {ranks} ranks have the same generator state: they drop the same units of different samples."
    return Finding(SEED, "", None, evidence, "Seed with the rank, or address the masks: rng.at(step, samples=ids).")


@dataclass
class Mask:
    """One draw of a rank: where it is made, what it meets, and its checksum."""

    site: tuple[Any, ...]
    line: str | None
    shape: tuple[int, ...]
    data: Numbers
    digest: int
    tells: bool  # whether other data must have another mask: parts of one sample share what its axes share
    addressed: bool


@dataclass
class Seen:
    """What a rank knows of itself.

    Args:
        modes: the training flag of each module.
        rates: the rate of each dropout module.
        state: of the generator.
        masks: of one training pass.
        parameters: some numbers of each, as the forward pass uses them: those of FSDP whole, those of tensor parallelism in
            part.
        out: some numbers of the output in eval.
    """

    modes: dict[str, bool]
    rates: dict[str, float | None]
    state: int
    masks: list[Mask] = field(default_factory=list)
    parameters: dict[str, Numbers] = field(default_factory=dict)
    out: list[Numbers] = field(default_factory=list)


def between_ranks(model: nn.Module, call: Callable[[nn.Module], Any]) -> list[Finding]:
    """Returns the findings between the ranks, the same on each. The model runs once in each mode.

    Args:
        model: as the caller passed it.
        call: runs it.

    Raises: ValueError without a process group of several ranks.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() < 2:
        raise ValueError("audit: ranks=True needs a process group of several ranks; got none. Start it with torchrun.")
    mine = _seen(model, call)
    ranks: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(ranks, mine)
    return _Compared(ranks).findings()


def _seen(model: nn.Module, call: Callable[[nn.Module], Any]) -> Seen:
    modules = {plain(name): module for name, module in model.named_modules()}
    rates = {name: declared.rate(module) for name, module in modules.items() if declared.is_dropout(module)}
    state = zlib.crc32(bytes(torch.get_rng_state().numpy()))
    seen = Seen({name: module.training for name, module in modules.items()}, rates, state)
    names = dict(model.named_modules())

    def meet(name: str, side: str, number: int, x: Tensor) -> None:
        for own, parameter in names[name].named_parameters(recurse=False):
            seen.parameters[f"{plain(name)}.{own}"] = sketch(parameter)

    with preserve_state(model), torch.no_grad():
        model.train()
        values = Values({(name, "in") for name in names}, meet)
        record = trace(model, lambda: call(model), level="draws", values=values, loss=lambda out: None)  # takes checksums
        seen.masks = list(_masks(record.draws))
        model.eval()
        seen.out = [sketch(leaf) for leaf in tree_leaves(call(model)) if isinstance(leaf, Tensor)]
        for module in model.modules():
            if hasattr(module, "unshard") and hasattr(module, "reshard"):  # FSDP: the attributes of before are shards
                module.reshard()  # type: ignore[operator]  # pyright: ignore[reportCallIssue]
    return seen


def _masks(draws: list[Draw]) -> Iterator[Mask]:
    """Yields the masks of activations, in the order of the pass."""
    numbers: dict[Any, int] = {}
    for draw in draws:
        number = numbers[draw.site] = numbers.get(draw.site, -1) + 1
        if draw.kind in DROPS and draw.use in ("multiplies", "selects", "fills") and draw.target != "weights":
            sure = draw.p is None or 0 < draw.p < 1
            many = sure and math.prod(draw.shape) >= TELLING and (not draw.units or draw.units >= TELLING)
            tells = many and not draw.shared
            site = (plain(draw.name), *draw.lines, number)
            yield Mask(site, draw.line, draw.shape, draw.data, draw.digest, tells, draw.op in ADDRESSED)


def _alike(one: Numbers, other: Numbers) -> bool | None:
    """Returns whether two tensors have the same numbers, to rounding; None where that is not clear."""
    if len(one) != len(other):
        return False
    a, b = torch.tensor(one, dtype=torch.float64), torch.tensor(other, dtype=torch.float64)
    apart, size = float((a - b).norm()), float(torch.maximum(a.norm(), b.norm()))
    return True if apart <= 1e-4 * size else False if apart > 1e-2 * size else None


class _Compared:
    """The ranks, pair by pair."""

    def __init__(self, ranks: list[Seen]) -> None:
        self.ranks = ranks
        self.pairs = [*combinations(range(len(ranks)), 2)]
        self.copies = {pair for pair in self.pairs if self._copies(*pair)}
        self.peers = {pair for pair in self.pairs if pair not in self.copies and self._same_out(*pair)}

    def _copies(self, a: int, b: int) -> bool:
        """Returns whether two ranks compute with the same parameters, as data and context parallelism do."""
        one, other = self.ranks[a].parameters, self.ranks[b].parameters
        return one.keys() == other.keys() and all(_alike(one[name], other[name]) for name in one)

    def _same_out(self, a: int, b: int) -> bool:
        """Returns whether ranks with other parameters have the same output: they are parts of one tensor-parallel model."""
        one, other = self.ranks[a], self.ranks[b]
        same = len(one.out) == len(other.out) > 0 and one.parameters.keys() == other.parameters.keys()
        return same and all(_alike(x, y) for x, y in zip(one.out, other.out, strict=True))

    def findings(self) -> list[Finding]:
        """Returns all findings, each site once."""
        found = [*self._modes(), *self._rates(), *self._masks()]
        states, drawn = {rank.state for rank in self.ranks}, any(not mask.addressed for r in self.ranks for mask in r.masks)
        if drawn and len(states) == 1 and len(self.copies) == len(self.pairs):
            found.append(_seeded_alike(len(self.ranks)))
        return found

    def _modes(self) -> Iterator[Finding]:
        if len({rank.modes[""] for rank in self.ranks}) > 1:
            names = [""]
        else:
            wrong = self._differing(lambda rank: rank.modes)
            names = [name for name in wrong if name.rpartition(".")[0] not in wrong]
        for name in names:
            trains = [number for number, rank in enumerate(self.ranks) if rank.modes.get(name)]
            evidence = f"It is in training mode on {_listed(trains)}, and in eval mode on the others."
            yield Finding(MODES, name, None, evidence, "Call model.train() and model.eval() on all ranks.")

    def _rates(self) -> Iterator[Finding]:
        for name in self._differing(lambda rank: rank.rates):
            evidence = f"Its rate is {', '.join(f'{rank.rates.get(name)}' for rank in self.ranks)} on the ranks."
            yield Finding(RATES, name, None, evidence, "Set the same rate on all ranks, such as by a schedule of rng.at(step).")

    def _differing(self, of: Callable[[Seen], dict[str, Any]]) -> list[str]:
        """Returns the modules that differ between two ranks of one model; stages of a pipeline are different models."""
        wrong: dict[str, None] = {}
        for a, b in self.pairs:
            if (a, b) in self.copies | self.peers:
                one, other = of(self.ranks[a]), of(self.ranks[b])
                wrong |= dict.fromkeys(name for name in one if name in other and one[name] != other[name])
        return [*wrong]

    def _masks(self) -> Iterator[Finding]:
        met: set[Any] = set()
        for a, b in self.pairs:
            theirs = {mask.site: mask for mask in self.ranks[b].masks}
            for mask in self.ranks[a].masks:
                other = theirs.get(mask.site)
                finding = None if other is None or mask.site[:-1] in met else self._compared(mask, other, a, b)
                if finding is not None:
                    met.add(mask.site[:-1])
                    yield finding

    def _compared(self, mask: Mask, other: Mask, a: int, b: int) -> Finding | None:
        """Returns the finding at one site of two ranks; None where their masks are right, or where that is not clear."""
        same, name, place = _alike(mask.data, other.data), mask.site[0], Location.parse(mask.line)
        if same is False and mask.tells and mask.shape == other.shape and mask.digest == other.digest:
            evidence = f"Ranks {a} and {b} drop the same units of different data."
            remedy = "Give each rank its ids, rng.at(step, samples=ids); for a part of a tensor, use DropoutParallel."
            return Finding(PARTS, name, place, evidence, remedy)
        if same and (a, b) in self.peers and mask.digest != other.digest and self._same_samples(mask, b):
            evidence = f"Ranks {a} and {b} have the same data here, and drop different units of it."
            return Finding(REPLICAS, name, place, evidence, "Address the masks (thinnet.DropoutRNG), or seed the ranks alike.")
        return None

    def _same_samples(self, mask: Mask, b: int) -> bool:
        """Returns whether the data is of the same samples for sure: no rank with the parameters of rank b has it too."""
        others = [rank for pair in self.copies if b in pair for rank in pair if rank != b]
        found = (each for rank in others for each in self.ranks[rank].masks if each.site == mask.site)
        return all(_alike(mask.data, each.data) is False for each in found)


def _listed(ranks: list[int]) -> str:
    """Returns ranks in words.

    >>> _listed([0]), _listed([0, 2])
    ('rank 0', 'ranks 0, 2')
    """
    return f"rank{'s' if len(ranks) > 1 else ''} {', '.join(map(str, ranks))}"
