"""How often is a verdict of `thinnet study` wrong? `python -m benchmarks.quality.study_verdicts`, half an hour.

2,000 simulated studies without an effect for each kind of noise, and 600 for each size of the effect. A study has ten
configurations on up to eight seeds, and the worse half of them stops early. The sizes are multiples of the difference that the
power note of the report names. Writes benchmarks/results/study_verdicts.json and docs/study_verdicts.png.
"""

from collections import Counter
from collections.abc import Iterable
from functools import partial

import numpy as np
from scipy import stats

from benchmarks.quality.inference_networks import over_seeds, write
from benchmarks.quality.inference_pictures import save
from benchmarks.quality.study_simulator import BEST, DATA, DEVELOPMENT, EFFECT, MIXES, PLAN, SEEDS, TEST, VALIDATION, simulated
from benchmarks.tables import load
from thinnet.report.figure import Figure, Panel, bars, grid
from thinnet.study.findings.verdict import judge

RUNS, FEWER, BATCH, ALPHA = 2000, 600, 50, 0.05
"""The runs without an effect, on which the false "yes" rests, and all others."""
SIZES = {"none": 0.0, "half the note": 0.5, "as the note": 1.0, "twice the note": 2.0}
SIGN_FLIP = "sign-flip test over seeds alone"
COLOURS = ("--blue", "--orange", "--green")


def studies(batch: int, mix: str, new_rows: bool, effect: float, runs: int = BATCH) -> tuple[Counter[str], list[float]]:
    """Simulates some studies; returns the counts of what they conclude, and the differences that their notes name."""
    rng = np.random.default_rng([batch, list(MIXES).index(mix), new_rows])
    counts, notes = Counter[str](), []
    for _ in range(runs):
        results = simulated(rng, MIXES[mix]._replace(new_rows=new_rows), effect)
        verdict, loss = judge(results, DATA), results.finalists[results.compared]["loss"]
        assert loss.evidence is not None and loss.detectable is not None
        notes.append(loss.detectable)
        counts["yes"] += verdict.helps
        counts["no"] += verdict.reason == "hurts"
        counts["a rate that does not help"] += verdict.helps and EFFECT[verdict.rate] <= 0
        counts["a best rate is the best finalist"] += results.compared.rate in BEST
        counts["yes, of these"] += verdict.helps and verdict.rate in BEST
        counts[SIGN_FLIP] += loss.evidence.p_value <= ALPHA and loss.chosen < loss.without
    return counts, notes


def row(mix: str, new_rows: bool, size: str, effect: float) -> dict[str, object]:
    """Returns the row of one kind of noise and one size of the effect, and the median of the notes."""
    runs = FEWER if effect or new_rows else RUNS
    found = over_seeds(partial(studies, mix=mix, new_rows=new_rows, effect=effect), runs // BATCH, processes=1)
    counts = sum((counts for counts, _ in found), Counter[str]())
    note = float(np.median([value for _, notes in found for value in notes]))
    return {
        "noise": mix,
        "rows for training": "drawn anew" if new_rows else "the same",
        "effect": size,
        "difference": round(effect, 5),
        "note": round(note, 5),
        "runs": runs,
        **{name: counts[name] for name in ("yes", "no", "a rate that does not help", SIGN_FLIP)},
        "yes, share": share(counts["yes"], runs),
        f"{SIGN_FLIP}, share": share(counts[SIGN_FLIP], runs),
        "yes, share where the best finalist has the whole effect": share(
            counts["yes, of these"], counts["a best rate is the best finalist"]
        ),
    }


def share(number: int, of: int) -> list[float]:
    """Returns a share with its exact 95 % interval."""
    ends = stats.binomtest(number, of).proportion_ci()
    return [round(float(value), 4) for value in (number / of, ends.low, ends.high)]


def rows() -> Iterable[dict[str, object]]:
    """Yields every row. A note depends on which rates reach the end, so it is taken from studies with a clear effect."""
    for mix in MIXES:
        rough = np.median(studies(0, mix, False, 0.0)[1])
        note = float(np.median(studies(0, mix, False, 2 * rough)[1]))
        for size, factor in SIZES.items():
            yield row(mix, False, size, factor * note)
        yield row(mix, True, "none", 0.0)


def figure() -> Figure:
    """Draws the share of "yes" without an effect, for the rule and for a test over seeds alone, and the power."""
    found = load("study_verdicts")["rows"]
    none = [each for each in found if each["effect"] == "none"]
    names = [each["noise"] + (", new rows" if each["rows for training"] == "drawn anew" else "") for each in none]
    alarms = []
    for place, (name, title) in enumerate((("yes, share", "the rule of the study"), (f"{SIGN_FLIP}, share", SIGN_FLIP))):
        dots = {"type": "scatter", "mode": "markers", "name": title, "marker": {"color": COLOURS[place], "size": 9}}
        at = [number + 0.2 * place for number in range(len(none))]
        values = [each[name] for each in none]
        alarms.append(dots | {"x": [value[0] for value in values], "y": at, "error_x": intervals(values)})
    y = {"tickvals": list(range(len(none))), "ticktext": names, "autorange": "reversed"}
    power = []
    for colour, mix in zip(COLOURS, MIXES, strict=True):
        mine = [each for each in found if each["noise"] == mix and each["rows for training"] == "the same"]
        values = [each["yes, share where the best finalist has the whole effect"] for each in mine]
        line = {"type": "scatter", "name": mix, "line": {"color": colour}, "x": [SIZES[each["effect"]] for each in mine]}
        power.append(line | {"y": [value[0] for value in values], "error_y": intervals(values)})
    panels = [
        Panel(
            alarms,
            'False "yes", without an effect',
            x={"title": "share of studies", "range": [-0.01, 0.45]},
            y=y,
            lines=(ALPHA,),
            height=340,
        ),
        Panel(power, "Power", x={"title": "true difference, that of the note = 1"}, y={"range": [0, 1.02]}, height=340),
    ]
    drawn = grid(panels)
    drawn["layout"] |= {"width": 1040}
    return drawn


def intervals(values: list[list[float]]) -> dict[str, object]:
    """Returns error bars."""
    return bars([high - value for value, _, high in values], [value - low for value, low, _ in values])


def main() -> None:
    """Simulates, writes the result and draws it."""
    settings: dict[str, object] = {"runs": RUNS, "runs with an effect": FEWER, "seeds": SEEDS, "rates": PLAN.rates}
    sizes = {"epochs": PLAN.epochs, "development rows": DEVELOPMENT, "of them for validation": VALIDATION, "test rows": TEST}
    noise = {name: mix._asdict() for name, mix in MIXES.items()}
    write("study_verdicts", settings | sizes | {"standard deviations": noise}, list(rows()))
    save({"study_verdicts": figure()})


if __name__ == "__main__":
    main()
