"""The measured tables of docs/inference.md, generated from the result files."""

from collections.abc import Callable
from typing import Any

from benchmarks.markdown import load, table

SHOWN = {"NLL": 3, "NLL, temperature": 3, "error": 4, "RMSE": 3, "coverage of 95 %": 3}


def difference(found: list[float], digits: int = 3) -> str:
    """Returns a difference with its interval, in bold if the interval excludes zero.

    >>> difference([-0.2, -0.3, -0.1], 1), difference([0.0, -0.1, 0.1], 1)
    ('**-0.2 [-0.3, -0.1]**', '+0.0 [-0.1, +0.1]')
    """
    value, low, high = (f"{each:+.{digits}f}" for each in found)
    text = f"{value} [{low}, {high}]"
    return f"**{text}**" if found[1] > 0 or found[2] < 0 else text


def averaging() -> str:
    """Returns one row for weight scaling and one per number of draws, with the differences."""
    body = []
    for row in load("inference_averaging")["rows"]:
        cells = [row["k"] if row["k"] != "ws" else "weight scaling"]
        for score in ("error", "NLL", "NLL, temperature"):
            change = row.get(f"{score} - weight scaling")
            cells += [f"{row[score]:.{SHOWN[score]}f}", "" if change is None else difference(change, SHOWN[score])]
        body.append(cells)
    head = ["k", "error", "minus weight scaling", "NLL", "minus weight scaling", "NLL, temperature", "minus weight scaling"]
    return table(head, body)


def tables() -> str:
    """Returns one row per score of a table: without dropout, single pass, Monte-Carlo, and the paired differences."""
    body = []
    for row in load("inference_tables")["rows"]:
        values = [f"{row[way]:.{SHOWN[row['score']]}f}" for way in ("none", "single", "mc")]
        differences = [difference(row[name], SHOWN[row["score"]]) for name in ("mc - single", "same network")]
        body.append([row["table"], row["score"], *values, *differences])
    head = ["table", "score", "no dropout", "single pass", "Monte-Carlo", "Monte-Carlo minus single pass", "same network"]
    return table(head, body)


def shift() -> str:
    """Returns one row per shift: the error, the AUROCs, and the paired differences of mutual information."""
    body = []
    for row in load("inference_shift")["rows"]:
        areas: dict[str, Any] = row["AUROC"]
        shown = ("1 - max p, single pass", "1 - max p", "entropy", "mutual information", "variation ratio")
        body.append(
            [f"{row['shift']}, {row['amount']:g} {row['unit'].split(',')[0]}", f"{row['error']:.3f}"]
            + [f"{areas[name]:.3f}" for name in shown]
            + [
                difference(row["AUROC - 1 - max p, single pass"]["mutual information"]),
                difference(row["mutual information - entropy"]),
            ]
        )
    head = ["shift", "error", "1 - max p, single pass", "1 - max p", "entropy", "MI", "variation ratio"]
    return table([*head, "MI minus 1 - max p of the single pass", "MI minus entropy"], body)


def why_it_works() -> str:
    """Returns one row per measure of the three reasons: its mean without dropout, and the paired differences of two rates."""
    body = []
    for row in load("why_it_works")["rows"]:
        if row["the claim says"]:
            found = row["difference to 0"]
            words = ", ".join(dict.fromkeys(each["claim"] for each in found.values()))
            cells = [f"{each['mean']:+.3g} [{each['low']:+.3g}, {each['high']:+.3g}]" for each in found.values()]
            body.append([row["claim"], row["labels"], row["measure"], f"{row['mean at 0']:.3g}", *cells, words])
    return table(["reason", "labels", "measure", "p = 0", "p = 0.2 minus p = 0", "p = 0.5 minus p = 0", "the claim"], body)


PARTS: dict[str, Callable[[], str]] = {
    "inference_averaging": averaging,
    "inference_tables": tables,
    "inference_shift": shift,
    "why_it_works": why_it_works,
}
