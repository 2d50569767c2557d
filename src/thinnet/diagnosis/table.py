"""A diagnosis as tables: rows of words, as text for the terminal."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thinnet.diagnosis.result import Diagnosis, Layer
    from thinnet.diagnosis.scores import Score

SHIFTED = 1.02  # the ratio of variances from which a layer is in the table
MOST = 12


@dataclass(frozen=True)
class Table:
    """A heading, what the numbers mean, the names of the columns, and the rows."""

    title: str
    meaning: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]


def tables(found: "Diagnosis") -> list[Table]:
    """Returns the tables of what was measured."""
    made = [_coadaptation(found.layers), _redundancy(found.layers), _sparsity(found.layers), _gap(found), _gradients(found)]
    return [table for table in (*made, _shifts(found)) if table.rows]


def plain(found: "Diagnosis") -> str:
    """Returns the tables as lines of text."""
    parts = []
    for table in tables(found):
        lines = [table.head, *table.rows]
        widths = [max(len(row[column]) for row in lines) for column in range(len(table.head))]
        text = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in lines]
        parts.append("\n".join([f"{table.title}: {table.meaning}", *(f"  {line}" for line in text)]))
    notes = [f"note: {note}" for note in found.notes]
    return "\n\n".join([*parts, "\n".join([f"measured on {found.samples} samples, seed {found.seed}", *notes])])


def _coadaptation(layers: Sequence["Layer"]) -> Table:
    rows = []
    for layer in layers:
        c = layer.coadaptation
        if c is not None:
            numbers = (f"{c.energy:.4f}", f"{c.null:.4f}", f"{c.mean_correlation:.3f}", f"{c.participation:.1f}")
            share = f"{c.participation_share:.0%}"
            rows.append((layer.name, layer.place, str(layer.width), *numbers, share, f"{c.decov:.3g}", str(c.constant)))
    head = ("layer", "read", "units", "energy", "if independent", "mean |corr|", "directions", "of units", "DeCov", "constant")
    return Table("co-adaptation", "lower energy and more directions are less of it", head, rows)


def _redundancy(layers: Sequence["Layer"]) -> Table:
    rows = []
    for layer in layers:
        a, s = layer.ablation, layer.synergy
        if a is None and s is None:
            continue
        cells = ["", "", "", "", ""]
        if a is not None:
            half = a.fractions.index(0.5)
            curves = a.accuracy or a.loss
            mean = [sum(curve[i] for curve in curves) / len(curves) for i in range(len(a.fractions))]
            cells = [a.of, f"{mean[0]:.3f}", f"{mean[half]:.3f}", f"{a.area:.3f}", f"{a.area_rescaled:.3f}"]
        pair = ("", "", "") if s is None else (f"{s.mean:+.2g} ±{2 * s.error:.1g}", f"{s.relative:+.2f}", f"{s.negative:.0%}")
        rows.append((layer.name, *cells, *pair))
    head = ("layer", "score", "intact", "half zeroed", "area", "area, rescaled", "pair synergy", "relative", "needed together")
    meaning = "a larger area under the accuracy, or a smaller one under the loss, and positive synergy are more of it"
    return Table("redundancy", meaning, head, rows)


def _sparsity(layers: Sequence["Layer"]) -> Table:
    rows = [
        (layer.name, f"{s.mean:.3f}", f"{s.std:.3f}", f"{s.zeros:.1%}", f"{s.dead:.1%}", f"{s.sparseness:.2f}")
        for layer in layers
        if (s := layer.sparsity) is not None
    ]
    meaning = "activations as the eval network computes them"
    return Table("sparsity", meaning, ("layer", "mean", "std", "zeros", "dead units", "sparseness"), rows)


def _gap(found: "Diagnosis") -> Table:
    g = found.gap
    if g is None:
        return Table("gap", "", (), [])
    rows = [_scored("training data, eval mode", g.train), _scored("training data, coins on", g.coins_on)]
    if g.held_out is not None and g.gap is not None and g.naive is not None:
        error = "" if g.error is None else f" ±{2 * g.error:.2g}"
        rows += [_scored("held-out data, eval mode", g.held_out), ("gap, both in eval mode", f"{g.gap:+.4f}{error}", "")]
        rows.append(("held-out minus coins on: no gap", f"{g.naive:+.4f}", ""))
    return Table("gap", "± is two standard errors", ("", "loss", "accuracy"), rows)


def _scored(name: str, score: "Score") -> tuple[str, ...]:
    error = "" if score.error is None else f" ±{2 * score.error:.2g}"
    return (name, f"{score.loss:.4f}{error}", "" if score.accuracy is None else f"{score.accuracy:.4f}")


def _gradients(found: "Diagnosis") -> Table:
    g = found.gradients
    if g is None:
        return Table("gradients", "", (), [])
    rows = [
        (name, f"{side.variance:.3f}", f"{side.error:.3f}", f"{side.norm:.3g}")
        for name, side in (("coins on", g.on), ("coins off", g.off))
    ]
    meaning = f"{g.on.batches} minibatches of {g.batch_size}; all data, coins off: length {g.full_norm:.3g}"
    return Table("gradients", meaning, ("", "direction variance", "direction error", "mean length"), rows)


def _shifts(found: "Diagnosis") -> Table:
    off = [shift for shift in found.shifts if not 1 / SHIFTED <= shift.ratio <= SHIFTED]
    off.sort(key=lambda shift: -abs(math.log(max(shift.ratio, 1e-12))))
    rows = [(s.name, s.reader, f"{s.ratio:.2f}", f"{s.low:.2f}", f"{s.high:.2f}") for s in off[:MOST]]
    left = len(found.shifts) - len(rows)
    meaning = "variance of what a layer reads, training over eval" + (f"; {left} more layers are nearer to 1" if left else "")
    if found.shifts and not rows:
        rows = [(f"all {len(found.shifts)} layers", "", "1.00", "", "")]
        meaning = "variance of what a layer reads, training over eval"
    return Table("variance shift", meaning, ("layer", "class", "median unit", "lowest", "highest"), rows)
