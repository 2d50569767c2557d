"""The settings of a study, and the rules that they keep."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from thinnet.report.mistakes import Mistake
from thinnet.study.design.configuration import (
    ALL,
    AUTO,
    BASELINE,
    CONSTANT,
    DROPOUT,
    METHODS,
    RIVALS,
    SCHEDULES,
    THIN,
    Configuration,
    Line,
    TrialKey,
)

COMMAND, ENCODE = "thinnet study", "Encoder.encode"
DEFAULT_RATES = tuple(tenths / 10 for tenths in range(10))
FEWEST_SEEDS = 3
"""Fewer seeds give no useful interval: the t quantile is 12.7 for two and undefined for one."""
FEWEST_ROWS = 50
FEWEST_IN_CLASS = 5
"""With fewer rows of a class, the three sets cannot keep its share."""


class StudyError(Mistake):
    """An error that the caller of the study can correct.

    Args:
        where: the option or the command.
        rule: what is required.
        got: the value received.
        advice: the next step, a full sentence.

    Example:
        >>> print(StudyError("--seeds", "the number must be at least 1", 0, "Use a positive number."))
        --seeds: the number must be at least 1; got 0. Use a positive number.
    """

    def __init__(self, where: str, rule: str, got: object, advice: str) -> None:
        super().__init__(where, rule, got, advice)

    def __str__(self) -> str:
        where, rule, got, advice = self.args
        return f"{where}: {rule}; got {got}. {advice}"


@dataclass(frozen=True)
class Plan:
    """Every setting, besides the data, that determines the numbers of a configuration.

    Args:
        rates: the rates to compare, ascending; 0 is always among them.
        epochs: passes over the training set, the same for every configuration.
        hidden: the widths of the hidden layers.
        batch: the batch size.
        learning_rate: of Adam.
        seed: determines the split and, with the seed of a trial, its initial weights, batches and masks.
        device: cpu, cuda, mps or auto.
        precision: of the weights and the operations, such as 32-true or bf16-mixed.
        methods: the methods to train at every rate, among METHODS, or `auto`; the others are compared with the first.
        groups: for thin: the number of groups of samples in a batch, each with its own mask.
        places: where the methods act: `all`, patterns of names of dropout sites joined by `+`, or `auto`.
        schedules: the schedules of the rate, among SCHEDULES.
        against: the rivals of dropout, among RIVALS.
        rows: how many samples there are for training and validation; None for all.
        advice: what the catalogue advised in place of `auto`, and why.
        full: train every configuration on all seeds, instead of dropping the worse half after a few.

    Raises:
        StudyError: a setting breaks its rule.

    Example:
        >>> Plan(rates=(0.5, 0.2)).rates
        (0.0, 0.2, 0.5)
    """

    rates: tuple[float, ...] = DEFAULT_RATES
    epochs: int = 100
    hidden: tuple[int, ...] = (128, 128)
    batch: int = 64
    learning_rate: float = 1e-3
    seed: int = 0
    device: str = "cpu"
    precision: str = "32-true"
    methods: tuple[str, ...] = (DROPOUT,)
    groups: int = 1
    places: tuple[str, ...] = (ALL,)
    schedules: tuple[str, ...] = (CONSTANT,)
    against: tuple[str, ...] = ()
    full: bool = False
    rows: int | None = None
    advice: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for rate in self.rates:
            if not 0 <= rate < 1:
                raise StudyError("--rates", "every rate must be in [0, 1)", rate, "Use rates such as 0,0.2,0.5.")
        widths = (("--hidden", width) for width in self.hidden)
        for option, value in (("--epochs", self.epochs), ("--batch", self.batch), ("--groups", self.groups), *widths):
            if value < 1:
                raise StudyError(option, "the number must be at least 1", value, "Use a positive number.")
        if not 0 < self.learning_rate < math.inf:
            raise StudyError("--learning-rate", "the number must be positive", self.learning_rate, "Use 0.001.")
        if self.rows is not None and self.rows < FEWEST_ROWS:
            advice = "Use more, or leave the option out."
            raise StudyError("--rows", f"the number must be at least {FEWEST_ROWS}", self.rows, advice)
        if self.seed < 0:
            raise StudyError("--seed", "the number must be at least 0", self.seed, "Use 0.")
        object.__setattr__(self, "rates", tuple(sorted({0.0, *self.rates})))
        named = (("methods", "method", (*METHODS, AUTO)), ("schedules", "schedule", SCHEDULES), ("against", "rival", RIVALS))
        for name, word, known in named:
            object.__setattr__(self, name, _among(f"--{name}", word, getattr(self, name), tuple(known)))
        object.__setattr__(self, "places", tuple(dict.fromkeys(self.places)))
        self._check()

    def _check(self) -> None:
        if THIN in self.methods and self.schedules != (CONSTANT,):
            advice = f"Leave {THIN} or --schedules out."
            raise StudyError("--schedules", f"{THIN} must have a constant rate", ",".join(self.schedules), advice)
        if self.groups > 1 and THIN not in self.methods:
            advice = f"Add --methods {DROPOUT},{THIN}, or leave --groups out."
            raise StudyError("--groups", f"the number must be 1 where {THIN} is not trained", self.groups, advice)
        if self.groups > self.batch:
            advice = "Use fewer groups or a larger --batch."
            raise StudyError("--groups", f"the number must be at most the batch size, {self.batch}", self.groups, advice)

    @property
    def lines(self) -> tuple[Line, ...]:
        """Every combination of a method, a place and a schedule."""
        return tuple(
            Line(method, place, schedule) for method in self.methods for place in self.places for schedule in self.schedules
        )

    @property
    def configurations(self) -> tuple[Configuration, ...]:
        """The baseline, every line at every rate above 0, and every rival at each of its strengths."""
        dropout = [line.at(rate) for rate in self.rates[1:] for line in self.lines]
        rivals = [Configuration(rival, strength) for rival in self.against for strength in RIVALS[rival]]
        return (BASELINE, *dropout, *rivals)


def _among(option: str, word: str, names: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    """Returns known names in the order in which they are known; case and underscores do not count."""
    plain = {_plain(name): name for name in known}
    for name in names or (() if option == "--against" else ("none",)):
        if _plain(name) not in plain:
            near = [plain[each] for each in get_close_matches(_plain(name), plain, n=1)]
            advice = f"Did you mean {near[0]}?" if near else f"Write, for example, {','.join(known[:2])}."
            raise StudyError(option, f"every {word} must be among {', '.join(known)}", repr(name), advice)
    chosen = {plain[_plain(name)] for name in names}
    return tuple(name for name in known if name in chosen)


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def parse_numbers(option: str, text: str, kind: type = float) -> tuple:
    """Parses numbers separated by commas.

    Args:
        option: the name in the error message.
        text: the value of the option.
        kind: float or int.

    Raises:
        StudyError: a part is not a number of this kind.

    Example:
        >>> parse_numbers("--rates", "0, 0.5")
        (0.0, 0.5)
    """
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError:
        example = "0,0.2,0.5" if kind is float else "128,128"
        advice = f"Write, for example, {example}."
        raise StudyError(option, "the value must be numbers separated by commas", repr(text), advice) from None


def parse_names(text: str) -> tuple[str, ...]:
    """Parses names separated by commas.

    Example:
        >>> parse_names("dropout, thin")
        ('dropout', 'thin')
    """
    return tuple(part.strip() for part in text.split(",") if part.strip())


def parse_budget(text: str) -> float:
    """Parses a duration into seconds.

    Args:
        text: such as 90, 90s, 2m or 1h30m.

    Raises:
        StudyError: the text is not a positive duration.

    Example:
        >>> parse_budget("1h30m"), parse_budget("2m"), parse_budget("0.5")
        (5400.0, 120.0, 0.5)
    """
    number = r"(\d+(?:\.\d+)?)"
    match = re.fullmatch(rf"(?:{number}h)?(?:{number}m)?(?:{number}s?)?", text.strip())
    hours, minutes, seconds = (float(part or 0) for part in match.groups()) if match else (0.0, 0.0, 0.0)
    total = 3600 * hours + 60 * minutes + seconds
    if not total > 0:
        advice = "Write, for example, 90s, 2m or 1h."
        raise StudyError("--budget", "the time must be a positive duration", repr(text), advice)
    return total


def whole_rounds(finished: Iterable[TrialKey], configurations: Iterable[Configuration], seeds: int) -> int:
    """Counts the seeds, from the first, for which every configuration has been trained; at most `seeds`.

    Example:
        >>> half = Configuration("dropout", 0.5)
        >>> keys = {TrialKey(BASELINE, 0), TrialKey(half, 0), TrialKey(BASELINE, 1)}
        >>> whole_rounds(keys, [BASELINE, half], seeds=2)
        1
    """
    have, want = set(finished), tuple(configurations)
    return next((seed for seed in range(seeds) if any(TrialKey(each, seed) not in have for each in want)), seeds)
