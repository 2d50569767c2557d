"""Measures the three usual reasons for dropout: `python -m benchmarks.quality.why_it_works`, two to three minutes.

The reasons: less co-adaptation, redundant representations, noise against memorising. Perceptrons of two hidden layers of 256
ReLU units are trained on scikit-learn's digits with rates 0, 0.2 and 0.5 and equal settings. Each of the seeds 1 to 12 draws
its split (897 samples to train, 900 to test), its weights, its batches and its wrong labels. One half of the runs has the true
labels; in the other, 3 of 10 labels are replaced by a wrong class, on test samples for the gap alone. Rates and epochs were
fixed before. The learning rate is the larger of two: with it the network of rate 0 learned most of the wrong labels of seed 0,
which does not count. Hidden layers are measured on the test samples, in eval mode.

Differences to rate 0 are paired by seed; intervals are 95 % of Student, one per measure, not corrected for their number. Splits
of 1797 digits overlap, so they hold for this data set. Ablation zeroes units at random, which is what dropout trained for, so
its redundancy holds by construction. DeCov grows with the fourth power of the activations, which dropout reduces; correlations
do not. Writes benchmarks/results/why_it_works.json and prints it; `--show` prints the written result.
"""

import json
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import thinnet
from benchmarks.measure import RESULTS, machine
from benchmarks.tables import table
from thinnet.report.progress import tracked
from thinnet.study.evidence.statistics import seed_interval
from thinnet.study.training.perceptron import perceptron

RATES, SEEDS, WRONG = (0.0, 0.2, 0.5), tuple(range(1, 13)), 0.3
WIDTHS, EPOCHS, BATCH, RATE_OF_LEARNING, TRAINED_ON = (256, 256), 100, 64, 3e-3, 897
LOWER, HIGHER = "lower", "higher"
CLAIMS = {  # measure: the direction that the claim predicts
    "less co-adaptation": {
        "off-diagonal energy": LOWER,
        "mean absolute correlation": LOWER,
        "DeCov loss": LOWER,
        "directions, of units": HIGHER,
        "pair synergy, relative": HIGHER,
    },
    "redundant representations": {
        "accuracy kept, half zeroed": HIGHER,
        "accuracy kept, area": HIGHER,
        "accuracy kept, area, rescaled": HIGHER,
        "loss added, half zeroed": LOWER,
    },
    "noise against memorising": {
        "wrong labels learned": LOWER,
        "gap of the loss": LOWER,
        "test loss": LOWER,
        "test accuracy": HIGHER,
        "direction error of gradients": LOWER,
    },
    "other measures": {"training accuracy, right labels": None, "mean activation": None, "zeros": None},
}


def main(arguments: list[str]) -> None:
    """Runs all seeds, two at a time, writes the result, and prints it."""
    path = RESULTS / "why_it_works.json"
    if "--show" not in arguments:
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
            found = list(tracked(pool.map(seed_values, SEEDS), "seeds", len(SEEDS)))
        settings = {"rates": RATES, "seeds": SEEDS, "wrong labels": WRONG, "widths": WIDTHS, "epochs": EPOCHS, "batch": BATCH}
        settings |= {"learning rate": RATE_OF_LEARNING, "training samples": TRAINED_ON, "test samples": 1797 - TRAINED_ON}
        document = {"machine": machine(), "settings": settings, "rows": rows(found)}
        path.write_text(json.dumps(document, indent=1) + "\n")
    show(json.loads(path.read_text())["rows"])


def seed_values(seed: int) -> dict[str, dict[str, float]]:
    """Returns the measures of one seed, by labels and rate, and by the name of the measure."""
    torch.set_num_threads(1)
    digits: Any = load_digits()
    x, y = torch.tensor(digits.data).float() / 16, torch.tensor(digits.target)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(x), generator=generator)
    x, y = x[order], y[order]
    wrong = torch.rand(len(y), generator=generator) < WRONG
    shifted = (y + torch.randint(1, 10, y.shape, generator=generator)) % 10
    found = {}
    for kind, labels in {"true labels": y, "wrong labels": torch.where(wrong, shifted, y)}.items():
        for rate in RATES:
            model = trained(x[:TRAINED_ON], labels[:TRAINED_ON], rate, seed)
            found[f"{kind}, {rate:g}"] = measured(model, x, y, labels)
    return found


def trained(x: Tensor, y: Tensor, rate: float, seed: int) -> nn.Module:
    """Returns a trained network; weights and batches depend on the seed alone."""
    torch.manual_seed(seed)
    model = perceptron(x.shape[1], WIDTHS, 10, rate)
    optimizer = torch.optim.Adam(model.parameters(), RATE_OF_LEARNING, fused=True)
    generator = torch.Generator().manual_seed(seed + 1000)
    for _ in range(EPOCHS):
        for ids in torch.randperm(len(x), generator=generator).split(BATCH):
            optimizer.zero_grad()
            cross_entropy(model(x[ids]), y[ids]).backward()
            optimizer.step()
    return model.eval()


def measured(model: nn.Module, x: Tensor, y: Tensor, labels: Tensor) -> dict[str, float]:
    """Returns the measures of one network, given all samples and its training labels; those of layers for each of the two."""
    here, there = slice(TRAINED_ON), slice(TRAINED_ON, None)
    layered = ("coadaptation", "synergy", "ablation", "sparsity")
    hidden = thinnet.diagnose(model, (x[there], y[there]), measures=layered, orders=3)
    fit = thinnet.diagnose(model, (x[here], labels[here]), (x[there], labels[there]), measures=("gap", "gradients"))
    assert fit.gap and fit.gap.gap is not None and fit.gradients
    with torch.no_grad():
        out, wrong = model(x), y != labels
    right = (out.argmax(1) == labels).double()
    found = {
        "gap of the loss": fit.gap.gap,
        "test loss": float(cross_entropy(out[there], y[there])),
        "test accuracy": float((out[there].argmax(1) == y[there]).double().mean()),
        "training accuracy, right labels": float(right[here][~wrong[here]].mean()),
        "direction error of gradients": fit.gradients.on.error,
    }
    if wrong.any():
        found["wrong labels learned"] = float(right[here][wrong[here]].mean())
    for number, layer in enumerate(hidden.layers, 1):
        c, s, a, z = layer.coadaptation, layer.synergy, layer.ablation, layer.sparsity
        assert c and s and a and z
        half = a.fractions.index(0.5)
        accuracy, loss = (np.mean(curves, axis=0) for curves in (a.accuracy, a.loss))
        values = {
            "off-diagonal energy": c.energy,
            "mean absolute correlation": c.mean_correlation,
            "DeCov loss": c.decov,
            "directions, of units": c.participation_share,
            "pair synergy, relative": s.relative,
            "accuracy kept, half zeroed": accuracy[half] / accuracy[0],
            "accuracy kept, area": a.area / accuracy[0],
            "accuracy kept, area, rescaled": a.area_rescaled / accuracy[0],
            "loss added, half zeroed": loss[half] - loss[0],
            "mean activation": z.mean,
            "zeros": z.zeros,
        }
        found |= {f"{name}, layer {number}": float(value) for name, value in values.items()}
    return found


def rows(found: list[dict[str, dict[str, float]]]) -> list[dict[str, object]]:
    """Returns one row per claim, labels and measure: the mean at rate 0, and the paired differences with their intervals."""
    made = []
    for claim, measures in CLAIMS.items():
        for kind in ("true labels", "wrong labels"):
            names = [name for name in found[0][f"{kind}, 0"] if name.partition(", layer")[0] in measures]
            for name in sorted(names, key=lambda name: list(measures).index(name.partition(", layer")[0])):
                made.append(row(found, claim, kind, name, measures[name.partition(", layer")[0]]))
    return made


def row(found: list[dict[str, dict[str, float]]], claim: str, kind: str, name: str, better: str | None) -> dict[str, object]:
    """Returns one row."""
    values = {f"{rate:g}": [float(f"{one[f'{kind}, {rate:g}'][name]:.6g}") for one in found] for rate in RATES}
    differences = {}
    for rate in list(values)[1:]:
        interval = seed_interval(np.subtract(values[rate], values["0"]))
        differences[rate] = {"mean": interval.mean, "low": interval.low, "high": interval.high}
        differences[rate]["claim"] = verdict(interval.low, interval.high, better)
    about: dict[str, object] = {"claim": claim, "labels": kind, "measure": name, "the claim says": better}
    return about | {"mean at 0": float(np.mean(values["0"])), "difference to 0": differences, "values": values}


def verdict(low: float, high: float, better: str | None) -> str:
    """Returns whether the claim holds, its opposite holds, or neither is shown."""
    if better is None:
        return ""
    if low <= 0 <= high:
        return "not shown"
    return "holds" if (high < 0) == (better == LOWER) else "opposite"


def show(found: list[dict]) -> None:
    """Prints a table per claim, and the measures by which it holds at the largest rate."""
    for claim in CLAIMS:
        cells = []
        for one in (one for one in found if one["claim"] == claim):
            line = [one["labels"], one["measure"], one["the claim says"] or "", f"{one['mean at 0']:.4g}"]
            for difference in one["difference to 0"].values():
                interval = f"{difference['mean']:+.3g} ({difference['low']:+.3g} to {difference['high']:+.3g})"
                line += [interval, difference["claim"]]
            cells.append(line)
        head = ["labels", "measure", "claim", "at 0"]
        print(f"\n{claim}\n" + table(head + [text for rate in RATES[1:] for text in (f"{rate:g} minus 0", "claim")], cells))
        for word in ("holds", "not shown", "opposite") if claim != "other measures" else ():
            print(f"\nat {RATES[-1]:g}, {word}: {'; '.join(by(found, claim, word)) or 'by no measure'}")


def by(found: list[dict], claim: str, word: str) -> list[str]:
    """Returns the measures of a claim with this verdict at the largest rate, each with its labels and layers."""
    where: dict[str, list[str]] = {}
    for one in found:
        if one["claim"] == claim and one["difference to 0"][f"{RATES[-1]:g}"]["claim"] == word:
            name, _, layer = one["measure"].partition(", layer ")
            where.setdefault(name, []).append(f"{one['labels'].split()[0]} {layer}".strip())
    return [f"{name} ({', '.join(places)})" for name, places in where.items()]


if __name__ == "__main__":
    main(sys.argv[1:])
