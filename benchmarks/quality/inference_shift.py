"""Do draws detect shifted digits? `python -m benchmarks.quality.inference_shift`, two minutes.

Digits from "another laboratory": 797 test images against the same images rotated, blurred, or with noise. A score should be
higher for the shifted ones; the area under the ROC curve (AUROC) is how often it is. Scores of 50 draws: mutual information,
entropy and 1 - max p of the average, variation ratio. Scores of the single pass: entropy and 1 - max p. 20 networks.
Differences of areas are paired, and their intervals treat seeds and images as random, by placement values: DeLong, DeLong and
Clarke-Pearson 1988 (Biometrics 44:837). Nothing is chosen on the test images. Writes benchmarks/results/inference_shift.json.
"""

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc

from benchmarks.quality.inference_networks import digits, network, over_seeds, rounded, train, write
from thinnet.inference.monte_carlo.sampling import sample
from thinnet.study.evidence.statistics import crossed_interval

SEEDS, DRAWS, WIDTH, P = 20, 50, 256, 0.5
TRAINING = {"epochs": 100, "batch": 50, "lr": 1e-3, "weight_decay": 1e-4}
SHIFTS = {
    "rotated": ("degrees", (15, 30, 45, 60, 90)),
    "blurred": ("sd, pixels", (0.5, 0.75, 1.0, 1.5)),
    "noise": ("sd, of the range 0 .. 1", (0.1, 0.2, 0.3, 0.5)),
}
BASE = "1 - max p, single pass"


def shifted(x: Tensor, kind: str, amount: float) -> Tensor:
    """Returns shifted images `(N, 64)`; values stay in 0 .. 1."""
    images = x.reshape(-1, 8, 8).double().numpy()
    if kind == "rotated":
        images = ndimage.rotate(images, amount, axes=(1, 2), reshape=False, order=1)
    elif kind == "blurred":
        images = ndimage.gaussian_filter(images, (0, amount, amount))
    else:
        images = images + np.random.default_rng(0).normal(0, amount, images.shape)
    return torch.tensor(images, dtype=x.dtype).clamp(0, 1).reshape(x.shape)


def placements(inside: Tensor, outside: Tensor) -> Tensor:
    """Returns a value for each pair of an image and its shifted version, `(N,)`; their mean is the AUROC.

        V_i = P(s_in < s_out_i) + P(s_in_i < s_out) - AUROC,   ties count one half

    >>> placements(torch.tensor([0.0, 1.0]), torch.tensor([0.5, 2.0])).mean()
    tensor(0.7500)
    """
    above = (inside[:, None] < outside).float() + (inside[:, None] == outside).float() / 2
    return above.mean(0) + above.mean(1) - above.mean()


def uncertainties(model: torch.nn.Module, x: Tensor, seed: int) -> tuple[dict[str, Tensor], Tensor]:
    """Returns the scores of each image, and the labels that the single pass predicts."""
    with torch.no_grad():
        p = model(x).double().softmax(-1)
    draws = sample(model, x, n=DRAWS, seed=seed)
    scores = {
        BASE: 1 - p.amax(-1),
        "entropy, single pass": torch.special.entr(p).sum(-1),
        "1 - max p": 1 - draws.mean.amax(-1),
        "entropy": draws.entropy,
        "mutual information": draws.mutual_information,
        "variation ratio": draws.variation_ratio,
    }
    return {name: score.float() for name, score in scores.items()}, p.argmax(-1)


def one(seed: int) -> dict[tuple[str, float], tuple[float, dict[str, np.ndarray], dict[str, float]]]:
    """Trains one network; returns, for each shift, the error, and placements and areas of each score."""
    parts = digits()
    torch.manual_seed(seed)
    model = network(64, WIDTH, 10, P)
    train(model, *parts["train"], **TRAINING, seed=seed)
    x, y = parts["test"]
    before, _ = uncertainties(model, x, seed)
    found = {}
    for kind, (_, amounts) in SHIFTS.items():
        for amount in amounts:
            after, guess = uncertainties(model, shifted(x, kind, amount), seed)
            truth = torch.arange(2).repeat_interleave(len(x))
            values = {name: placements(before[name], after[name]).double().numpy() for name in before}
            areas = {name: binary_auroc(torch.cat((before[name], after[name])), truth).item() for name in before}
            found[kind, amount] = (guess != y).double().mean().item(), values, areas
    return found


def rows() -> list[dict[str, object]]:
    """Returns one row a shift: areas, and their paired differences to the single pass's 1 - max p."""
    found = over_seeds(one, SEEDS)
    made: list[dict[str, object]] = []
    for kind, amount in found[0]:
        each = [seed[kind, amount] for seed in found]
        names = list(each[0][2])
        row: dict[str, object] = {"shift": kind, "amount": amount, "unit": SHIFTS[kind][0]}
        row["error"] = round(float(np.mean([error for error, *_ in each])), 5)
        row["AUROC"] = {name: round(float(np.mean([areas[name] for *_, areas in each])), 5) for name in names}
        values = {name: np.stack([values[name] for _, values, _ in each]) for name in names}
        differences = {name: crossed_interval(values[name] - values[BASE]) for name in names if name != BASE}
        row[f"AUROC - {BASE}"] = {name: rounded(found.mean, found.low, found.high) for name, found in differences.items()}
        change = crossed_interval(values["mutual information"] - values["entropy"])
        row["mutual information - entropy"] = rounded(change.mean, change.low, change.high)
        made.append(row)
    return made


def main() -> None:
    """Measures and writes."""
    settings: dict[str, object] = {"seeds": SEEDS, "draws": DRAWS, "width": WIDTH, "p": P}
    write("inference_shift", settings | TRAINING, rows())


if __name__ == "__main__":
    main()
