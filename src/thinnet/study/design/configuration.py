"""What a study compares: configurations, each an edit of the same network, and the address of a trial."""

from typing import NamedTuple

from thinnet.methods.site_methods import SITE_METHODS

DROPOUT, THIN, NONE = "dropout", "thin", "none"
METHODS = {
    DROPOUT: "one mask a sample, and every unit is computed",
    THIN: "one mask a group of samples, and dropped units are not computed",
} | {name: words for name, words in SITE_METHODS.items() if name != "Dropout"}
"""The methods that a study can put at a dropout site, always in this order."""

WEIGHT_DECAY, WIDTH, EARLY_STOPPING, REALMLP, TABM = "weight_decay", "width", "early_stopping", "realmlp", "tabm"
RIVALS = {
    WEIGHT_DECAY: (1e-3, 1e-2, 1e-1, 1.0),
    WIDTH: (0.5, 0.25, 0.125),
    EARLY_STOPPING: (),
    REALMLP: (1.0,),
    TABM: (1.0,),
}
"""What dropout can be compared with, and the strengths to try: the decay of AdamW, and the share of the hidden width.

RealMLP and TabM are networks of their own, with the settings of their authors.
"""
NETWORKS = {REALMLP: "RealMLP", TABM: "TabM"}
"""The rivals that are other networks, and their names in texts."""

SCHEDULES = {
    "constant": "the same rate at every step",
    "linear": "from 0 to p over the run",
    "cosine": "from 0 to p over the run, slowly at both ends",
    "curriculum": "from 0 to p, fast at first",
    "annealed": "from p to 0 over the run",
    "early": "from p to 0 in the first sixth of the run",
    "late": "0 in the first half of the run, p in the second",
    "flat_cos": "p in the first half of the run, and a cosine to 0 in the second",
    "expm4t": "p times exp(-4 t), where t is the share of the run",
}
CONSTANT, ALL, INPUT, AUTO = "constant", "all", "input", "auto"


class Line(NamedTuple):
    """The configurations that differ in the rate alone."""

    method: str = DROPOUT
    place: str = ALL
    schedule: str = CONSTANT

    @property
    def label(self) -> str:
        """The line in words; what is usual goes without saying.

        >>> Line().label, Line("thin").label, Line(place="input", schedule="linear").label
        ('dropout', 'thin', 'dropout at input, linear')
        """
        place = "" if self.place == ALL else f" at {self.place}"
        return f"{self.method}{place}{'' if self.schedule == CONSTANT else f', {self.schedule}'}"

    def at(self, rate: float) -> "Configuration":
        """Returns the configuration of a rate."""
        return Configuration(self.method, rate, self.place, self.schedule)


class Configuration(NamedTuple):
    """An edit of the network: a method at a rate, at some dropout sites, on a schedule.

    Args:
        method: of METHODS, `none`, or a rival of RIVALS.
        rate: the dropout rate; the strength of a rival.
        place: `all`, or patterns of names of dropout sites, joined by `+`.
        schedule: of SCHEDULES.
    """

    method: str
    rate: float
    place: str = ALL
    schedule: str = CONSTANT

    @property
    def line(self) -> Line:
        """What the configuration shares with those of other rates."""
        return Line(self.method, self.place, self.schedule)

    @property
    def is_rival(self) -> bool:
        """Whether this is an alternative to dropout."""
        return self.method in RIVALS

    @property
    def is_network(self) -> bool:
        """Whether this is another network than that of the study."""
        return self.method in NETWORKS

    @property
    def dropout_rate(self) -> float:
        """The rate of dropout: 0 in a rival."""
        return 0.0 if self.is_rival else self.rate

    @property
    def label(self) -> str:
        """The configuration in words.

        >>> Configuration("dropout", 0.5).label, Configuration("thin", 0.5, "fc*").label, Configuration("width", 0.5).label
        ('p = 0.5', 'thin at fc*, p = 0.5', 'half the width')
        """
        if self == BASELINE:
            return "p = 0"
        if self.method == WIDTH:
            share = 1 / self.rate
            return "half the width" if share == 2 else f"1/{share:g} of the width"
        if self.method == EARLY_STOPPING:
            return "early stopping without dropout, against dropout to the last epoch"
        if self.method == WEIGHT_DECAY:
            return f"weight decay {self.rate:g}"
        if self.is_network:
            return NETWORKS[self.method]
        return f"p = {self.rate:g}" if self.line == Line() else f"{self.line.label}, p = {self.rate:g}"


BASELINE = Configuration(NONE, 0.0)
"""Training without dropout, with which all others are compared."""


class TrialKey(NamedTuple):
    """The address of a trial: a configuration, trained from one seed."""

    configuration: Configuration
    seed: int
