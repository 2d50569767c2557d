"""`recommend`: which methods have helped networks like this one, by how much, and how to test them on it."""

import json
import shlex
from dataclasses import dataclass
from typing import Any

from torch import nn

import thinnet.functional
import thinnet.losses
import thinnet.nn
from thinnet.methods.site_methods import SITE_METHODS
from thinnet.models.found import Sites
from thinnet.models.recommend.evidence import EVIDENCE, Evidence
from thinnet.models.recommend.traits import Traits, dropping, traits
from thinnet.models.sites import sites
from thinnet.report.formatting import counted
from thinnet.report.table import Table, Tabular

LISTED = 5


@dataclass(frozen=True)
class Recommendation:
    """One method, with what a paper reports about it.

    Args:
        method: its name in thinnet; "none" stands for no dropout.
        use: the class or function.
        place: where it goes.
        rates: rates to try.
        reason: why it fits this network.
        effect: what the source measured, on other data than yours.
        source: the paper.
        present: what the network has of that method now.
        study: the command that tests it on your data.
    """

    method: str
    use: str
    place: str
    rates: tuple[float, ...]
    reason: str
    effect: str
    source: str
    present: str
    study: str


@dataclass(frozen=True, repr=False)
class Recommendations(Tabular):
    """A short list of methods, the most specific first.

    Args:
        traits: what is known about the network and its data.
        rows: the recommendations.
    """

    traits: Traits
    rows: tuple[Recommendation, ...]

    def __iter__(self) -> Any:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def tables(self) -> list[Table]:
        head = ("method", "where, rates", "why", "published effect, source", "test it")
        rows = [
            (
                f"{row.method}\n{row.present}" if row.present else row.method,
                f"{row.place}\n{', '.join(f'{p:g}' for p in row.rates)}".strip(),
                row.reason,
                f"{row.effect}\n{row.source}",
                row.study,
            )
            for row in self.rows
        ]
        notes = [
            "The effects are of other networks and data. Measure yours: the file needs `model()` and `data()`.",
            "A method that the command does not name has to be in `model()`; compare one without rates with a file without it.",
        ]
        if not rows:
            notes = ["No source in thinnet measured a network like this one. `thinnet methods` lists all methods."]
        return [Table(head, rows, title="Recommended", meaning=self.traits.words, notes=notes)]

    def json(self) -> str:
        """Returns the list as JSON."""
        found = {"traits": vars(self.traits), "recommendations": [vars(row) for row in self.rows]}
        return json.dumps(found, indent=1)


def recommend(
    model: nn.Module,
    *example: Any,
    samples: int | None = None,
    one_pass: bool = False,
    fine_tuning: bool = False,
    file: str = "my.py",
    listed: int = LISTED,
    passes: int = 8,
    **named: Any,
) -> Recommendations:
    """Returns a short list of methods that a paper measured on networks of this kind.

    The kind of the network follows from its modules and its dropout sites. Each row has the effect that its source measured,
    and the command of `thinnet study` that tests the method on your data. No row is without a source, and none is a promise.

    Args:
        model: any module.
        example: what the model is called with, to find the sites that no module declares.
        samples: the number of training samples.
        one_pass: whether each sample is seen once, as in the pretraining of language models.
        fine_tuning: whether training starts from pretrained weights.
        file: the file of the study, with `model()` and `data()`.
        listed: the most rows.
        passes: forward passes in training mode, as in `sites`.
        named: keyword arguments of the call.

    Raises:
        TypeError: `model` is no module.
        ValueError: `samples` or `listed` is no positive integer.

    >>> model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 2))
    >>> [row.method for row in recommend(model, samples=10_000)]
    ['Dropout', 'GaussianDropout']
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"recommend: model must be a torch.nn.Module; got {type(model).__name__}. Call its factory first.")
    for name, value in (("samples", samples), ("listed", listed)):
        if value is not None and (type(value) is not int or value < 1):
            raise ValueError(f"recommend: {name} must be a positive integer; got {value!r}.")
    found = sites(model, *example, passes=passes, **named)
    known = traits(model, found, samples=samples, one_pass=one_pass, fine_tuning=fine_tuning)
    rows = [_row(evidence, known, found, file) for evidence in EVIDENCE if evidence.fits(known)]
    return Recommendations(known, tuple(rows[:listed]))


def _row(evidence: Evidence, known: Traits, found: Sites, file: str) -> Recommendation:
    use = "" if evidence.method == "none" else _use(evidence.method)
    words = evidence.place, evidence.rates, evidence.reason, evidence.effect, evidence.source
    return Recommendation(evidence.method, use, *words, _present(evidence.method, found), _command(evidence, known, file))


def _use(method: str) -> str:
    for place in (thinnet.nn, thinnet.losses, thinnet.functional):
        if hasattr(place, method):
            return f"{place.__name__}.{method}"
    raise AssertionError(method)


def _present(method: str, found: Sites) -> str:
    """Returns the rates of the sites that a row is about: dropout of single elements for Dropout, all sites for "none"."""
    drops = dropping(found)
    if method == "Dropout":
        drops = [site for site in drops if not site.shared_axes]
    elif method != "none":
        return ""
    rates = sorted({round(site.p, 4) for site in drops if site.p is not None})
    return f"now: {counted(len(drops), 'site')}, p = {', '.join(f'{p:g}' for p in rates)}" if rates else "now: none"


def _command(evidence: Evidence, known: Traits, file: str) -> str:
    """Returns the study that compares a method with no dropout. A method without a rate has nothing to vary but the file."""
    options = ["--epochs", "1"] if known.one_pass else []
    if evidence.method in SITE_METHODS and evidence.method != "Dropout":
        options += ["--methods", f"dropout,{evidence.method}"]
    if evidence.rates or evidence.method != "none":
        options += ["--rates", ",".join(f"{p:g}" for p in evidence.rates or (0.0,))]
    if evidence.schedule:
        options += ["--schedules", f"constant,{evidence.schedule}"]
    return shlex.join(["thinnet", "study", file, *options])
