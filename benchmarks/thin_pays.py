"""Checks the estimate of `thinnet.models.thin.gain`: `python -m benchmarks.thin_pays`, about 2 minutes on one thread.

A step of 784-width-width-10 with every chain thinned, with `nn.Dropout` and without dropout. Time is that of the thread, so
other processes hardly matter. The numbers of the estimate are fitted to the same steps by least squares.
"""

import time
from functools import partial
from itertools import product

import numpy
import torch
from scipy.optimize import nnls
from torch import nn

import thinnet
from benchmarks import thin_networks as networks
from benchmarks.markdown import load, table
from benchmarks.measure import interleaved, write
from benchmarks.thin import step
from thinnet.models.thin import gain

WIDTHS, BATCHES, RATES = (256, 512, 1024, 2048), (16, 32, 64, 128, 512), (0.1, 0.2, 0.5)
LARGEST = 512 * 1024  # rows times width


def thinned(width: int, batch: int, p: float) -> nn.Module:
    """Returns the network with both chains thinned."""
    model = networks.mlp(width, lambda: nn.Dropout(p))
    thinnet.thin(model, torch.randn(batch, 784), always=True)
    return model


def measured(width: int, batch: int) -> list[dict[str, object]]:
    """Returns a row for each rate."""
    models = {"no dropout": networks.mlp(width, None)}
    for p in RATES:
        models |= {f"dropout {p}": networks.mlp(width, partial(nn.Dropout, p)), f"thinned {p}": thinned(width, batch, p)}
    rounds = max(5, min(40, 40 * 512 * 128 // (width * batch)))
    times = interleaved({name: step(model, (batch, 784)) for name, model in models.items()}, rounds, clock=time.thread_time)
    size = {"width": width, "batch": batch}
    return [
        {**size, "p": p, "none": times["no dropout"], "dropout": times[f"dropout {p}"], "thinned": times[f"thinned {p}"]}
        for p in RATES
    ]


def features(row: dict[str, float]) -> tuple[list[float], list[float]]:
    """Returns what a thinned step takes more than one without dropout: chains, weights taken, operations saved; and dropout."""
    width, kept = row["width"], 1 - row["p"]
    layers = ((784 * width, kept, 2), (width * width, kept * kept, 3), (width * 10, kept, 3))
    taken = sum(weights * part * (products - 1) for weights, part, products in layers)
    saved = sum(2 * products * row["batch"] * weights * (1 - part) for weights, part, products in layers)
    return [2, taken, -saved], [2 * row["batch"] * width]


def fitted(rows: list[dict[str, float]]) -> dict[str, float]:
    """Returns the numbers of the estimate, fitted to relative times."""
    scale = numpy.array([1e-4, 1e-9, 1e-11])
    floor = numpy.array([row["none"] for row in rows])
    more = numpy.array([features(row)[0] for row in rows]) * scale / floor[:, None]
    found = nnls(more, numpy.array([row["thinned"] / row["none"] - 1 for row in rows]))[0] * scale
    drop = numpy.median([(row["dropout"] - row["none"]) / features(row)[1][0] for row in rows])
    return {"PER_CHAIN": found[0], "PER_WEIGHT": found[1], "SPEED": 1 / found[2], "PER_DROPPED": drop}


def left_alone(row: dict[str, float]) -> bool:
    """Returns whether `thin` leaves a chain alone."""
    model = networks.mlp(int(row["width"]), lambda: nn.Dropout(row["p"]))
    return len(thinnet.thin(model, torch.randn(int(row["batch"]), 784)).thinned) < 2


def report() -> str:
    """Returns a table of times relative to no dropout, and what `thin` does."""
    body = []
    for row in load("thin_pays")["rows"]:
        cells = [f"{row[name] / row['none']:.2f}x" for name in ("dropout", "thinned")]
        body.append(
            [f"{row['width']}", f"{row['batch']}", f"{row['p']}", *cells, "left alone" if row["left alone"] else "thinned"]
        )
    return table(["width", "batch", "p", "nn.Dropout", "both chains thinned", "thin"], body)


def main() -> None:
    """Measures, and prints the table and the fitted numbers."""
    torch.set_num_threads(1)
    sizes = [(width, batch) for width, batch in product(WIDTHS, BATCHES) if width * batch <= LARGEST]
    rows: list = [row for size in sizes for row in measured(*size)]
    write("thin_pays", [{**row, "left alone": left_alone(row)} for row in rows])
    print(report())
    for name, value in fitted(rows).items():
        print(f"{name} {value:.3g}, now {getattr(gain, name):.3g}")


if __name__ == "__main__":
    main()
