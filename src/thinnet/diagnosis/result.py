"""The result of `thinnet.diagnose`."""

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thinnet.diagnosis.gradients import Gradients
from thinnet.diagnosis.measures import Layer
from thinnet.diagnosis.panels import panels
from thinnet.diagnosis.scores import Gap, Score
from thinnet.diagnosis.variance import Shift
from thinnet.report.figure import draw, grid
from thinnet.report.formatting import counted
from thinnet.report.page import document, write
from thinnet.report.table import Table, Tabular

SHIFTED = 1.02  # the table lists layers whose ratio of variances is at least this, or at most its inverse
MOST = 12  # layers in the table of shifts
PAIR = ("", "", "")


@dataclass(frozen=True, repr=False)
class Diagnosis(Tabular):
    """The measures of a model; `str` gives them as tables.

    Args:
        layers: the hidden layers, in the order in which they run.
        gap: training and held-out losses.
        gradients: directions of minibatch gradients, with dropout on and off.
        shifts: variance shift of the input of each layer.
        samples: the number of samples.
        seed: the seed of all draws.
        notes: what was left out, and why.
    """

    layers: tuple[Layer, ...]
    gap: Gap | None
    gradients: Gradients | None
    shifts: tuple[Shift, ...]
    samples: int
    seed: int
    notes: tuple[str, ...]

    def json(self) -> str:
        """Returns all measures as JSON."""
        found = dataclasses.asdict(self)
        if self.gap is not None:
            found["gap"] |= {name: getattr(self.gap, name) for name in ("gap", "error", "naive", "price")}
        return json.dumps(found, indent=1)

    def picture(self) -> Any:
        """Returns a Plotly figure with all panels.

        Raises:
            ImportError: Plotly is not installed.
        """
        return draw(grid(self._panels()), "Diagnosis.picture")

    def html(self, path: str | Path) -> Path:
        """Writes a self-contained page with tables and panels, and returns its path.

        Raises:
            ImportError: Plotly or Jinja2 is not installed.
        """
        lead, notes = f"Measured on {self.samples} samples, seed {self.seed}.", self.notes
        made = {"panels": self._panels(), "tables": self._measures()}
        return write(Path(path), document("Diagnosis", user="Diagnosis.html", lead=(lead,), notes=notes, **made))

    def tables(self) -> list[Table]:
        """Returns one table per measure, and the size of the sample."""
        return [*self._measures(), Table((), [], f"measured on {self.samples} samples, seed {self.seed}", notes=self.notes)]

    def _panels(self) -> list[Any]:
        return panels(self.layers, self.gap, self.gradients, self.shifts)

    def _measures(self) -> list[Table]:
        layers = self.layers
        made = [_coadaptation(layers), _redundancy(layers), _sparsity(layers)]
        made += [_gap(self.gap)] if self.gap is not None else []
        made += [_gradients(self.gradients)] if self.gradients is not None else []
        made += [_shifts(self.shifts)] if self.shifts else []
        return [table for table in made if table.rows]


def _coadaptation(layers: tuple[Layer, ...]) -> Table:
    rows = []
    for layer in layers:
        c = layer.coadaptation
        if c is not None:
            numbers = (f"{c.energy:.4f}", f"{c.null:.4f}", f"{c.mean_correlation:.3f}", f"{c.participation:.1f}")
            share = f"{c.participation_share:.0%}"
            rows.append((layer.name, layer.place, str(layer.width), *numbers, share, f"{c.decov:.3g}", str(c.constant)))
    head = ("layer", "read", "units", "energy", "if independent", "mean |corr|", "directions", "of units", "DeCov", "constant")
    return Table(head, rows, "co-adaptation", "lower energy and more directions mean less co-adaptation")


def _redundancy(layers: tuple[Layer, ...]) -> Table:
    rows = []
    for layer in layers:
        a, s = layer.ablation, layer.synergy
        if a is None and s is None:
            continue
        cells = ["", "", "", "", ""]
        if a is not None:
            half, curves = a.fractions.index(0.5), a.accuracy or a.loss
            mean = [sum(curve[i] for curve in curves) / len(curves) for i in range(len(a.fractions))]
            cells = [a.of, f"{mean[0]:.3f}", f"{mean[half]:.3f}", f"{a.area:.3f}", f"{a.area_rescaled:.3f}"]
        pair = PAIR if s is None else (f"{s.mean:+.2g} ±{2 * s.error:.1g}", f"{s.relative:+.2f}", f"{s.negative:.0%}")
        rows.append((layer.name, *cells, *pair))
    head = ("layer", "score", "intact", "half zeroed", "area", "area, rescaled", "pair synergy", "relative", "needed together")
    meaning = "a larger area under the accuracy (smaller under the loss) and positive synergy mean more redundancy"
    return Table(head, rows, "redundancy", meaning)


def _sparsity(layers: tuple[Layer, ...]) -> Table:
    rows = [
        (layer.name, f"{s.mean:.3f}", f"{s.std:.3f}", f"{s.zeros:.1%}", f"{s.dead:.1%}", f"{s.sparseness:.2f}")
        for layer in layers
        if (s := layer.sparsity) is not None
    ]
    return Table(("layer", "mean", "std", "zeros", "dead units", "sparseness"), rows, "sparsity", "of activations in eval mode")


def _gap(g: Gap) -> Table:
    rows = [_scored("training data, eval mode", g.train), _scored("training data, dropout on", g.dropout_on)]
    if g.held_out is not None and g.gap is not None and g.naive is not None:
        error = "" if g.error is None else f" ±{2 * g.error:.2g}"
        rows += [_scored("held-out data, eval mode", g.held_out), ("gap, both in eval mode", f"{g.gap:+.4f}{error}", "")]
        rows.append(("held-out minus dropout on: not the gap", f"{g.naive:+.4f}", ""))
    return Table(("", "loss", "accuracy"), rows, "gap", "± is two standard errors")


def _scored(name: str, score: Score) -> tuple[str, ...]:
    error = "" if score.error is None else f" ±{2 * score.error:.2g}"
    return (name, f"{score.loss:.4f}{error}", "" if score.accuracy is None else f"{score.accuracy:.4f}")


def _gradients(g: Gradients) -> Table:
    rows = [
        (name, f"{side.variance:.3f}", f"{side.error:.3f}", f"{side.norm:.3g}")
        for name, side in (("dropout on", g.on), ("dropout off", g.off))
    ]
    meaning = f"{g.on.batches} minibatches of {g.batch_size}; all data, dropout off: length {g.full_norm:.3g}"
    return Table(("", "direction variance", "direction error", "mean length"), rows, "gradients", meaning)


def _shifts(shifts: tuple[Shift, ...]) -> Table:
    off = [shift for shift in shifts if not 1 / SHIFTED <= shift.ratio <= SHIFTED]
    off.sort(key=lambda shift: -abs(math.log(max(shift.ratio, 1e-12))))
    rows = [(s.name, s.reader, f"{s.ratio:.2f}", f"{s.low:.2f}", f"{s.high:.2f}") for s in off[:MOST]]
    left = len(shifts) - len(rows)
    meaning = "variance of the input of a layer, training over eval"
    if not rows:
        rows, left = [(f"all {left} layers", "", "1.00", "", "")], 0
    meaning += f"; {counted(left, 'more layer')} {'is' if left == 1 else 'are'} nearer to 1" if left else ""
    return Table(("layer", "class", "median unit", "lowest", "highest"), rows, "variance shift", meaning)
