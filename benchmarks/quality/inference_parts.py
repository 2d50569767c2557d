"""The measured tables of the page on predictions, made from the result files and from nothing else."""

from collections.abc import Callable
from typing import Any

from benchmarks.markdown import load, table

SHOWN = {"NLL": 3, "NLL, temperature": 3, "error": 4, "RMSE": 3, "coverage of 95 %": 3}


def apart(found: list[float], digits: int = 3) -> str:
    """Returns a difference with its interval; in bold where the interval does not hold zero.

    >>> apart([-0.2, -0.3, -0.1], 1), apart([0.0, -0.1, 0.1], 1)
    ('**-0.2 [-0.3, -0.1]**', '+0.0 [-0.1, +0.1]')
    """
    value, low, high = (f"{each:+.{digits}f}" for each in found)
    text = f"{value} [{low}, {high}]"
    return f"**{text}**" if found[1] > 0 or found[2] < 0 else text


def averaging() -> str:
    """Returns weight scaling, and each number of draws with its differences to it."""
    body = []
    for row in load("inference_averaging")["rows"]:
        cells = [row["k"] if row["k"] != "ws" else "weight scaling"]
        for score in ("error", "NLL", "NLL, temperature"):
            difference = row.get(f"{score} - weight scaling")
            cells += [f"{row[score]:.{SHOWN[score]}f}", "" if difference is None else apart(difference, SHOWN[score])]
        body.append(cells)
    head = ["k", "error", "less weight scaling", "NLL", "less weight scaling", "NLL, temperature", "less weight scaling"]
    return table(head, body)


def tables() -> str:
    """Returns one row a score of a table: without dropout, single pass, Monte-Carlo, and the paired differences."""
    body = []
    for row in load("inference_tables")["rows"]:
        values = [f"{row[way]:.{SHOWN[row['score']]}f}" for way in ("none", "single", "mc")]
        differences = [apart(row[name], SHOWN[row["score"]]) for name in ("mc - single", "same network")]
        body.append([row["table"], row["score"], *values, *differences])
    head = ["table", "score", "no dropout", "single pass", "Monte-Carlo", "Monte-Carlo less single pass", "same network"]
    return table(head, body)


def shift() -> str:
    """Returns one row a shift: the error on it, areas, and the paired differences of mutual information."""
    body = []
    for row in load("inference_shift")["rows"]:
        areas: dict[str, Any] = row["AUROC"]
        shown = ("1 - max p, single pass", "1 - max p", "entropy", "mutual information", "variation ratio")
        body.append(
            [f"{row['shift']}, {row['amount']:g} {row['unit'].split(',')[0]}", f"{row['error']:.3f}"]
            + [f"{areas[name]:.3f}" for name in shown]
            + [apart(row["AUROC - 1 - max p, single pass"]["mutual information"]), apart(row["mutual information - entropy"])]
        )
    head = ["shift", "error", "1 - max p, single pass", "1 - max p", "entropy", "MI", "variation ratio"]
    return table([*head, "MI less 1 - max p of the single pass", "MI less entropy"], body)


def why_it_works() -> str:
    """Returns one row a measure of the three reasons: its mean without dropout, and the paired differences of two rates."""
    body = []
    for row in load("why_it_works")["rows"]:
        if row["the claim says"]:
            found = row["difference to 0"]
            words = ", ".join(dict.fromkeys(each["claim"] for each in found.values()))
            cells = [f"{each['mean']:+.3g} [{each['low']:+.3g}, {each['high']:+.3g}]" for each in found.values()]
            body.append([row["claim"], row["labels"], row["measure"], f"{row['mean at 0']:.3g}", *cells, words])
    return table(["reason", "labels", "measure", "p = 0", "p = 0.2, less that", "p = 0.5, less that", "the claim"], body)


PARTS: dict[str, Callable[[], str]] = {
    "inference_averaging": averaging,
    "inference_tables": tables,
    "inference_shift": shift,
    "why_it_works": why_it_works,
}
