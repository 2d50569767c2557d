"""The tables of docs/sklearn.md, made from the result files of `benchmarks.sklearn`."""

from typing import Any

from benchmarks.markdown import load, table

MODELS = ("no dropout", "dropout", "thinned")


def fit_times() -> str:
    """Returns the fit times as multiples of MLP's, one row a data set and width."""
    body = [
        [f"{row['rows']:,} {row['task']}", f"{row['width']}, {row['width']}", *(f"{row[name]:.2f}x" for name in MODELS)]
        for row in load("sklearn_times")["rows"]
    ]
    return table(["rows", "widths", "no dropout", "dropout 0.5", "thinned"], body)


def quality() -> str:
    """Returns errors beside MLP's with the intervals of the differences, and the coverage, one row a data set."""
    body = []
    for row in load("sklearn_quality")["rows"]:
        coverage = row["coverage of 90 %"]
        line = [row["data"].replace("000 rows", ",000 rows"), f"{row['MLP']:.3f}"]
        for name in ("dropout", "no dropout"):
            line += [f"{row[name]:.3f}", _interval(row[f"{name}, less MLP"])]
        body.append([*line, "too few rows" if coverage is None else f"{coverage:.1%}"])
    return table(["data", "MLP", "dropout", "less MLP", "no dropout", "less MLP", "coverage of 90 %"], body)


def rivals() -> str:
    """Returns errors and fit times beside RealMLP and TabM, one row a data set."""
    body = []
    for row in load("sklearn_rivals")["rows"]:
        line = [row["data"], f"{row['MLP']:.3f}", f"{row['dropout']:.3f} ({row['dropout, seconds']:.1f} s)"]
        for name in ("RealMLP", "TabM"):
            line += [f"{row[name]:.3f} ({row[f'{name}, seconds']:.1f} s)", _interval(row[f"{name}, less dropout"])]
        body.append(line)
    return table(["data", "MLP", "dropout", "RealMLP", "less dropout", "TabM", "less dropout"], body)


def _interval(ends: list[Any]) -> str:
    mean, low, high = (f"{end:+.3f}".replace("-", "\N{MINUS SIGN}") for end in ends)
    return f"{mean} ({low} to {high})"
