"""The tables of thinned training, from benchmarks/results/thin.json and thin_quality.json."""

from typing import Any

from benchmarks.markdown import load, table, times

OURS = ("no dropout", "thinnet", "thinned", "no dropout, compiled")


def thin() -> str:
    """Returns time and memory of a step relative to no dropout, one row a network."""
    rows: list[dict[str, Any]] = load("thin")["rows"]
    memory = {row["network"]: row for row in rows if row["kind"] == "memory"}
    body = []
    for row in (row for row in rows if row["kind"] == "step"):
        found, floor = row["milliseconds"], row["milliseconds"]["no dropout"]
        others = ", ".join(f"{name} {times(value, floor)}" for name, value in found.items() if name not in OURS)
        kept, peak = (memory[row["network"]][part] for part in ("MiB kept by forward", "MiB at the peak"))
        shares = [f"{values['thinned'] / values['no dropout']:.2f}x" for values in (kept, peak)]
        ratios = [times(found["thinnet"], floor), f"**{times(found['thinned'], floor)}**", f"{row['bar']:.2f}x"]
        body.append([row["network"], f"{floor:.0f} ms", others, *ratios, *shares])
    head = ["one step", "no dropout", "others", "thinnet", "thinned", "target", "kept for backward", "peak memory"]
    return table(head, body)


def short() -> str:
    """Returns the time of a step relative to no dropout, in few columns."""
    body = []
    for row in (row for row in load("thin")["rows"] if row["kind"] == "step"):
        found, floor = row["milliseconds"], row["milliseconds"]["no dropout"]
        usual = next(name for name in found if name not in OURS)
        cells = [f"{floor:.0f} ms", f"{usual} {times(found[usual], floor)}", f"**{times(found['thinned'], floor)}**"]
        body.append([row["network"], *cells])
    return table(["one step", "no dropout", "as usual", "thinned"], body)


def thin_groups() -> str:
    """Returns the cost of groups, one row a batch size."""
    rows = [row for row in load("thin")["rows"] if row["kind"] == "groups"]
    names = [name for name in rows[0]["milliseconds"] if name != "no dropout"]
    body = []
    for row in rows:
        found, floor = row["milliseconds"], row["milliseconds"]["no dropout"]
        body.append([row["network"], *(times(found[name], floor) for name in names)])
    return table(["no dropout = 1", *names], body)


def thin_quality() -> str:
    """Returns paired test losses and times relative to per-sample dropout, one row a data set, rate and way."""
    body = []
    for row in load("thin_quality")["rows"]:
        if row["way"] == "per sample":
            body.append([row["data"], f"{row['p']:g}", row["way"], f"{row['loss']:.4f}", "", "", "1", "1"])
            continue
        difference = "{mean:+.4f} [{low:+.4f}, {high:+.4f}]".format(**row["difference"])
        verdict = {True: "equal", False: "**worse**" if row["difference"]["mean"] > 0 else "**better**"}[row["equal"]]
        took = ["{mean:.2f}x".format(**row[part]) for part in ("time", "time to target")]
        body.append([row["data"], f"{row['p']:g}", row["way"], f"{row['loss']:.4f}", difference, verdict, *took])
    head = ["data", "p", "masks", "test loss", "minus per-sample dropout [95 %]", "", "time", "time to target"]
    return table(head, body)
