"""How many draws match weight scaling on digits? `python -m benchmarks.quality.inference_averaging`, one minute.

Reproduces figure 11 of Srivastava et al. 2014: the average of the probabilities of k sub-networks against the single pass with
scaled weights. 20 networks and 797 test images; the settings were fixed beforehand. Each k uses all disjoint groups of k draws.
The difference to the single pass is paired, and its interval treats seeds and test images as random. Temperatures are fitted on
200 validation images. Writes benchmarks/results/inference_averaging.json.
"""

import numpy as np
import torch
from torch import Tensor

from benchmarks.quality.inference_networks import digits, network, over_seeds, rounded, train, write
from thinnet.inference.calibration.fitting import fit_temperature, log_probabilities
from thinnet.inference.monte_carlo.sampling import sample
from thinnet.study.evidence.statistics import crossed_interval

SEEDS, DRAWS, WIDTH, P, P_INPUT = 20, 100, 256, 0.5, 0.2
TRAINING = {"epochs": 150, "batch": 50, "lr": 1e-3, "weight_decay": 1e-4}
SIZES = (1, 2, 3, 4, 5, 7, 10, 14, 20, 30, 50, 100)


def scores(log_p: Tensor, y: Tensor, temperature: float) -> np.ndarray:
    """Returns NLL, NLL at a temperature, and error of each case, `(3, N)`."""
    cooled = (log_p / temperature).log_softmax(-1)
    nll, after = (-each[torch.arange(len(y)), y] for each in (log_p, cooled))
    return torch.stack((nll, after, (log_p.argmax(-1) != y).double())).numpy()


def one(seed: int) -> dict[str, np.ndarray]:
    """Trains one network; returns the scores of each case for weight scaling ("ws") and for k draws."""
    parts = digits()
    torch.manual_seed(seed)
    model = network(64, WIDTH, 10, P, P_INPUT)
    train(model, *parts["train"], **TRAINING, seed=seed)
    (held, labels), (x, y) = parts["validation"], parts["test"]
    with torch.no_grad():
        one_pass = [model(each).double()[None] for each in (held, x)]
    found = {"ws": scores(one_pass[1][0].log_softmax(-1), y, fit_temperature(one_pass[0], labels))}
    before, draws = (sample(model, each, n=DRAWS, seed=seed).draws.double() for each in (held, x))
    for k in SIZES:
        temperature = fit_temperature(before[:k], labels)
        groups = draws[: DRAWS // k * k].split(k)
        found[str(k)] = np.mean([scores(log_probabilities(group), y, temperature) for group in groups], axis=0)
    return found


def rows() -> list[dict[str, object]]:
    """Returns one row for weight scaling, and one per k with the paired difference to it."""
    found = over_seeds(one, SEEDS)
    made: list[dict[str, object]] = []
    for name in ("ws", *map(str, SIZES)):
        row: dict[str, object] = {"k": name}
        for place, score in enumerate(("NLL", "NLL, temperature", "error")):
            values = np.stack([seed[name][place] for seed in found])
            row[score] = round(float(values.mean()), 5)
            if name != "ws":
                difference = crossed_interval(values - np.stack([seed["ws"][place] for seed in found]))
                row[f"{score} - weight scaling"] = rounded(difference.mean, difference.low, difference.high)
        made.append(row)
    return made


def main() -> None:
    """Measures and writes."""
    settings = {"seeds": SEEDS, "draws": DRAWS, "width": WIDTH, "p": P, "p of the input": P_INPUT} | TRAINING
    write("inference_averaging", settings, rows())


if __name__ == "__main__":
    main()
