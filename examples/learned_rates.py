"""Learned rates beside fixed ones, on digits of scikit-learn with few training samples.

Each seed draws a training set. A network of two hidden layers is trained with one fixed rate for both layers, for each rate of
a grid, and with rates that it learns itself: one for each layer (ConcreteDropout) or one for each unit (LearnedDropout). All
share the split, the initial weights, the number of steps and the penalty of the weights; without it, learned rates would gain
by weight decay too. The row "chosen" has the fixed rate that is best on the validation set.
`--quick` trains one seed for a tenth of the epochs.
"""

import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from typer import Option, run

import thinnet

GRID, WIDTH, VALIDATION, BATCH, LENGTH = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7), 256, 300, 50, 0.3
Wrap = Callable[[nn.Linear], nn.Module]
LEARNED: dict[str, Wrap] = {
    "ConcreteDropout": partial(thinnet.nn.ConcreteDropout, p=0.3, length=LENGTH),
    "LearnedDropout, reinmax": partial(thinnet.nn.LearnedDropout, p=0.3, length=LENGTH),
    "LearnedDropout, straight_through": partial(thinnet.nn.LearnedDropout, p=0.3, length=LENGTH, estimator="straight_through"),
}


def network(wrap: Wrap) -> nn.Sequential:
    first, *others = nn.Linear(64, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 10)
    hidden, last = (wrap(layer) for layer in others)
    return nn.Sequential(first, nn.ReLU(), hidden, nn.ReLU(), last)


class Fixed(nn.Sequential):
    """Dropout at a fixed rate before a layer, with the penalty of the weights that the learned rates have."""

    def __init__(self, p: float, layer: nn.Linear) -> None:
        super().__init__(thinnet.nn.Dropout(p), layer)
        self.p = p

    def penalty(self, samples: int) -> Tensor:
        return LENGTH**2 / 2 * self[1].weight.square().sum() / (1 - self.p) / samples


def train(wrap: Wrap, x: Tensor, y: Tensor, epochs: int, seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    model = network(wrap)
    rates = [{"params": [weight], "lr": 0.01 if name.endswith("logit") else 0.001} for name, weight in model.named_parameters()]
    optimizer = torch.optim.Adam(rates)
    for ids in (ids for _ in range(epochs) for ids in torch.randperm(len(x)).split(BATCH)):
        loss = cross_entropy(model(x[ids]), y[ids])
        optimizer.zero_grad()
        (loss + sum(layer.penalty(len(x)) for layer in (model[2], model[4]))).backward()
        optimizer.step()
    return model.eval()


@torch.no_grad()
def scored(model: nn.Module, x: Tensor, y: Tensor) -> tuple[float, float]:
    """Negative log-likelihood, and error in percent."""
    return float(cross_entropy(z := model(x), y)), 100 * float((z.argmax(1) != y).double().mean())


def one_seed(seed: int, samples: int, epochs: int) -> dict[str, dict[str, object]]:
    data = load_digits()
    order = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(seed))
    x, y = torch.tensor(data.data, dtype=torch.float32)[order] / 16, torch.tensor(data.target)[order]
    parts = [slice(0, samples), slice(samples, samples + VALIDATION), slice(samples + VALIDATION, None)]
    (train_x, train_y), (valid_x, valid_y), (test_x, test_y) = ((x[part], y[part]) for part in parts)
    found: dict[str, dict[str, object]] = {}
    best, chosen = math.inf, 0.0
    for name, wrap in {**{f"fixed {p:g}": partial(Fixed, p) for p in GRID}, **LEARNED}.items():
        model = train(wrap, train_x, train_y, epochs, seed)
        (nll, error), valid = scored(model, test_x, test_y), scored(model, valid_x, valid_y)[0]
        learned = [layer.learned_p.detach() for layer in model if hasattr(layer, "learned_p")]
        rates = [[round(float(p.min()), 3), round(float(p.max()), 3)] for p in learned]  # of each layer
        found[name] = {"nll": round(nll, 4), "error": round(error, 3), "rates": rates}
        if name.startswith("fixed") and valid < best:
            best, chosen = valid, float(name.split()[1])
    found["fixed, chosen on the validation set"] = {**found[f"fixed {chosen:g}"], "rates": chosen}
    return found


def main(
    quick: Annotated[bool, Option(help="One seed, a tenth of the epochs.")] = False,
    seeds: Annotated[int, Option(help="Training sets of each size.")] = 8,
    epochs: Annotated[int, Option(help="Epochs of 200 samples; other sizes take as many steps.")] = 200,
    sizes: Annotated[list[int], Option("--samples", help="Sizes of the training sets.")] = [100, 200],  # noqa: B006
    json_file: Annotated[Path | None, Option("--json", help="The file for the rows.")] = None,
) -> None:
    """Trains with fixed and with learned rates, and prints the test scores of each."""
    torch.set_num_threads(1)
    seeds, epochs = (1, epochs // 10) if quick else (seeds, epochs)
    rows = []
    for samples in sizes[:1] if quick else sizes:
        runs = [one_seed(seed, samples, epochs * 200 // samples) for seed in range(seeds)]
        for name in runs[0]:
            nll, error = (torch.tensor([float(str(each[name][score])) for each in runs]) for score in ("nll", "error"))
            spread = round(nll.std().item() / math.sqrt(seeds), 4) if seeds > 1 else math.nan
            means = {"nll": round(nll.mean().item(), 4), "standard error": spread, "error": round(error.mean().item(), 2)}
            rows.append({"samples": samples, "rates": name, **means, "learned": runs[0][name]["rates"]})
        if json_file:
            settings = {"seeds": seeds, "epochs": epochs, "width": WIDTH, "batch": BATCH, "length": LENGTH}
            json_file.write_text(json.dumps({"torch": torch.__version__, "settings": settings, "rows": rows}, indent=1) + "\n")
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console(width=130).print(table)


if __name__ == "__main__":
    run(main)
