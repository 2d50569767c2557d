"""Concrete dropout on its authors' toy task: with more data, the learned rates and the epistemic deviation fall.

The task is y = 2 x + 8 + N(0, 1). Three layers of 1024 ReLU units and two heads (mean and log variance) use it.
Epochs, batch, optimiser and prior are those of the authors' Keras notebook (github.com/yaringal/ConcreteDropout). The table has
the numbers that it prints. With steps of at most 0.001, 1000 to 2000 steps move a rate from 0.1 to at most 0.23 or 0.45, so the
learned rate depends on the number of steps as much as on N. The second learning rate, for the logits alone, avoids that limit.
`--quick` uses a quarter of the width, a tenth of the epochs and three sizes.
"""

import json
import time
from pathlib import Path
from typing import Annotated

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor, nn
from typer import Option, run

import thinnet

EPOCHS = {10: 2000, 25: 1000, 50: 500, 100: 200, 1000: 20, 10000: 2}
PRINTED = {10: (1.90, 0.40), 25: (1.35, 0.40), 50: (1.24, 0.33), 100: (1.26, 0.24), 1000: (1.04, 0.23), 10000: (1.00, 0.16)}
BATCH, DRAWS, TEST = 20, 20, 1000


class Network(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        sizes = (1, width), (width, width), (width, width), (width, 1), (width, 1)
        self.layers = nn.ModuleList(thinnet.nn.ConcreteDropout(nn.Linear(*size), p=0.1, length=1e-4) for size in sizes)
        for layer in self.layers:
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        *hidden, mean, log_variance = self.layers
        for layer in hidden:
            x = layer(x).relu()
        return mean(x), log_variance(x)


def data(samples: int) -> tuple[Tensor, Tensor]:
    x = torch.randn(samples, 1)
    return x, 2 * x + 8 + torch.randn(samples, 1)


def train(samples: int, epochs: int, width: int, rate_lr: float, tick) -> Network:
    (x, y), model = data(samples), Network(width)
    logits = [layer.logit for layer in model.layers]
    others = [weight for name, weight in model.named_parameters() if not name.endswith("logit")]
    optimizer = torch.optim.Adam([{"params": others}, {"params": logits, "lr": rate_lr}], eps=1e-7, fused=True)
    for ids in (ids for _ in range(epochs) for ids in torch.randperm(samples).split(BATCH)):
        mean, log_variance = model(x[ids])
        likelihood = (log_variance + (y[ids] - mean) ** 2 * (-log_variance).exp()).mean() / 2
        optimizer.zero_grad()
        (likelihood + thinnet.penalty(model, samples=samples)).backward()
        optimizer.step()
        tick()
    return model


@torch.no_grad()
def judge(model: Network) -> dict[str, object]:
    x, y = data(TEST)
    means, log_variances = (each.unflatten(0, (DRAWS, TEST)) for each in model.train()(x.repeat(DRAWS, 1)))
    rmse = (means.mean(0) - y).square().mean().sqrt()
    epistemic, noise = means.var(0, correction=0).mean().sqrt(), log_variances.mean(0).exp().mean().sqrt()
    numbers = {"rmse": rmse, "epistemic sd": epistemic, "aleatoric sd": noise}
    rates = {"p of each layer": [round(layer.learned_p.item(), 3) for layer in model.layers]}
    return {name: round(value.item(), 3) for name, value in numbers.items()} | rates


def show(rows: list[dict]) -> None:
    names = "N", "seed", "lr of the rates", "RMSE", "printed", "p of the hidden layers", "printed", "epistemic", "aleatoric"
    table = Table(*names)
    for row in rows:
        first, *hidden = row["p of each layer"][:3]
        rmse, p = PRINTED[row["N"]]
        cells = (row["N"], row["seed"], row["lr of the rates"], row["rmse"], rmse, f"{first}, {hidden[0]}, {hidden[1]}", p)
        table.add_row(*map(str, cells), str(row["epistemic sd"]), str(row["aleatoric sd"]))
    Console(width=130).print(table, "printed: epistemic 1.28 at N = 10 to 0.53 at N = 10000, aleatoric 1.1 to 1.3")


def main(
    quick: Annotated[bool, Option(help="A small network, three sizes, few steps.")] = False,
    seeds: Annotated[int, Option(help="Runs of each size.")] = 1,
    width: Annotated[int, Option(help="Units of each hidden layer; a quarter of it with --quick.")] = 1024,
    threads: Annotated[int, Option(help="Threads of PyTorch.")] = 2,
    rate_lr: Annotated[list[float], Option(help="Learning rates of the logits; 0.001 is the authors'.")] = [0.001, 0.03],  # noqa: B006
    json_file: Annotated[Path | None, Option("--json", help="The file for the rows.")] = None,
) -> None:
    """Trains a network for each number of samples, and prints its rates next to those of the authors."""
    torch.set_num_threads(threads)
    width, sizes = (width // 4, {n: EPOCHS[n] // 10 for n in (10, 100, 1000)}) if quick else (width, EPOCHS)
    rows, runs = [], [(lr, n, epochs, seed) for lr in rate_lr for n, epochs in sizes.items() for seed in range(seeds)]
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("training", total=sum(epochs * -(-n // BATCH) for _, n, epochs, _ in runs))
        for lr, n, epochs, seed in runs:
            torch.manual_seed(seed)
            start = time.process_time()
            model = train(n, epochs, width, lr, lambda: progress.advance(bar))
            spent = {"seconds of processor time": round(time.process_time() - start, 1)}
            rows.append({"N": n, "seed": seed, "epochs": epochs, "lr of the rates": lr} | judge(model) | spent)
            if json_file:
                settings = {"width": width, "batch": BATCH, "draws": DRAWS, "test": TEST, "length": 1e-4, "lr": 0.001}
                about = {"torch": torch.__version__, "threads": threads, "settings": settings}
                json_file.write_text(json.dumps(about | {"rows": rows}, indent=1) + "\n")
    show(rows)


if __name__ == "__main__":
    run(main)
