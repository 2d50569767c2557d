"""Monte-Carlo against the single pass on three tables: `python -m benchmarks.quality.inference_tables`, two minutes.

scikit-learn's diabetes (regression), breast cancer and wine (classification). 20 random splits: 60 % train, 20 % validation and
20 % test. The NLL of the validation part chooses the rate, and tau or temperature, for the single pass and for Monte-Carlo
separately. "Same network" uses the network of the single pass for both, so only the averaging differs. Test parts of different
splits share cases, so the intervals of the paired differences are those of the corrected resampled t test (Nadeau, Bengio 2003,
Machine Learning 52:239). Writes benchmarks/results/inference_tables.json.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy import stats
from sklearn import datasets
from torch import Tensor

from benchmarks.quality.inference_networks import network, over_seeds, rounded, train, write
from thinnet.inference.calibration.fitting import density, fit_temperature, fit_variance, log_probabilities
from thinnet.inference.monte_carlo.sampling import sample

SPLITS, DRAWS, WIDTH, RATES = 20, 100, 64, (0.05, 0.2, 0.5)
TRAINING = {"epochs": 100, "batch": 64, "lr": 1e-3, "weight_decay": 1e-2}
LOADERS: dict[str, Callable[..., Any]] = {
    "diabetes": datasets.load_diabetes,
    "breast cancer": datasets.load_breast_cancer,
    "wine": datasets.load_wine,
}
SCORES = {"values": ("NLL", "RMSE", "coverage of 95 %"), "labels": ("NLL", "NLL, temperature", "error")}


def split(name: str, seed: int) -> tuple[list[Tensor], list[Tensor]]:
    """Returns inputs and targets of the three parts, standardised by the training part."""
    x, y = (torch.as_tensor(each) for each in LOADERS[name](return_X_y=True))
    rows = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    parts = rows.tensor_split([round(0.6 * len(x)), round(0.8 * len(x))])
    x = ((x - x[parts[0]].mean(0)) / x[parts[0]].std(0)).float()
    if name == "diabetes":
        y = ((y - y[parts[0]].mean()) / y[parts[0]].std()).float()
    return [x[part] for part in parts], [y[part] for part in parts]


def score_values(draws: list[Tensor], y: list[Tensor]) -> tuple[float, dict[str, float]]:
    """Returns the validation NLL, and the scores on the test part, with the tau that validation gave."""
    held, tested = (each[:, None].double() for each in y[1:])
    variance = torch.tensor(fit_variance(draws[0], held), dtype=torch.float64)
    nll = [-density(part, variance, target).mean().item() for part, target in zip(draws, (held, tested), strict=True)]
    place = torch.special.ndtr((tested - draws[1]) / variance.sqrt()).mean(0)
    rmse = (draws[1].mean(0) - tested).square().mean().sqrt().item()
    return nll[0], {"NLL": nll[1], "RMSE": rmse, "coverage of 95 %": ((2 * place - 1).abs() <= 0.95).double().mean().item()}


def score_labels(draws: list[Tensor], y: list[Tensor]) -> tuple[float, dict[str, float]]:
    """Returns the validation NLL before any fit, and the scores on the test part before and after a temperature."""
    temperature = fit_temperature(draws[0], y[1])
    loss = torch.nn.functional.nll_loss
    held, plain, after = log_probabilities(draws[0]), log_probabilities(draws[1]), log_probabilities(draws[1], temperature)
    error = (plain.argmax(-1) != y[2]).double().mean().item()
    scores = {"NLL": loss(plain, y[2]).item(), "NLL, temperature": loss(after, y[2]).item(), "error": error}
    return loss(held, y[1]).item(), scores


def one(name: str, seed: int) -> dict[str, dict[str, float]]:
    """Returns the test scores on one split: "single", "mc", "same" (Monte-Carlo of the single pass's network), and "none"."""
    x, y = split(name, seed)
    score = score_values if name == "diabetes" else score_labels
    found: dict[tuple[str, float], tuple[float, dict[str, float]]] = {}
    for p in (0.0, *RATES):
        torch.manual_seed(seed)
        model = network(x[0].shape[1], WIDTH, 1 if name == "diabetes" else int(y[0].max()) + 1, p)
        train(model, x[0], y[0], **TRAINING, seed=seed)
        with torch.no_grad():
            found["single", p] = score([model(part).double()[None] for part in x[1:]], y)
        if p:
            drawn = [sample(model, part, n=DRAWS, seed=seed, kind="values").draws.double() for part in x[1:]]
            found["mc", p] = score(drawn, y)
    best = {way: min(RATES, key=lambda p: found[way, p][0]) for way in ("single", "mc")}
    rows = {way: found[way, p][1] | {"p": p} for way, p in best.items()}
    return rows | {"same": found["mc", best["single"]][1], "none": found["single", 0.0][1]}


def interval(differences: np.ndarray) -> list[float]:
    """Returns the mean and its 95 % interval by the corrected resampled t test: test over training cases is 1 / 3."""
    half = stats.t.ppf(0.975, len(differences) - 1) * np.sqrt(differences.var(ddof=1) * (1 / len(differences) + 1 / 3))
    return rounded(differences.mean(), differences.mean() - half, differences.mean() + half)


def rows(name: str) -> list[dict[str, object]]:
    """Returns one row per score of a table."""
    found = over_seeds(partial(one, name), SPLITS)
    made: list[dict[str, object]] = []
    for score in SCORES["values" if name == "diabetes" else "labels"]:
        values = {way: np.array([seed[way][score] for seed in found]) for way in ("none", "single", "mc", "same")}
        row: dict[str, object] = {"table": name, "score": score}
        row |= {way: round(float(each.mean()), 5) for way, each in values.items()}
        row |= {"mc - single": interval(values["mc"] - values["single"])}
        row |= {"same network": interval(values["same"] - values["single"])}
        row |= {"rates": {way: [float(seed[way]["p"]) for seed in found] for way in ("single", "mc")}}
        made.append(row)
    return made


def main() -> None:
    """Measures and writes."""
    settings = {"splits": SPLITS, "draws": DRAWS, "width": WIDTH, "rates": RATES} | TRAINING
    write("inference_tables", settings, [row for name in LOADERS for row in rows(name)])


if __name__ == "__main__":
    main()
