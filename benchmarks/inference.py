"""50 draws of a prediction by thinnet, by torch-uncertainty, by baal if it is installed, and by 50 passes in training mode.

The unit is one plain pass of the same model in the same run. The target is at most 27.5 passes (0.55 of 50) with the first site
at half depth, and at most 3 with dropout before the last layer.
"""

import copy
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.measure import interleaved
from thinnet.inference import sample

DRAWS, ROUNDS, WIDTH = 50, 5, 1024


def network(site: int) -> nn.Module:
    """Returns six hidden layers of 1024 units with dropout behind number `site`."""
    layers: list[nn.Module] = []
    for number in range(1, 7):
        layers += [nn.Linear(WIDTH, WIDTH), nn.ReLU(), *([nn.Dropout(0.5)] if number == site else [])]
    return nn.Sequential(*layers, nn.Linear(WIDTH, 10))


def convolutions(site: int) -> nn.Module:
    """Returns six convolutions of 32 channels with norms; dropout behind number `site`, or before the last layer."""
    layers: list[nn.Module] = []
    for number in range(1, 7):
        layers += [nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()]
        layers += [nn.Dropout2d(0.2)] if number == site < 6 else []
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), *([nn.Dropout(0.5)] if site == 6 else [])]
    return nn.Sequential(*layers, nn.Linear(32, 10))


CASES: dict[str, tuple[Callable[[int], nn.Module], tuple[int, ...]]] = {
    "dense": (network, (128, WIDTH)),
    "convolutions": (convolutions, (16, 32, 32, 32)),
}
SITES = {"half depth": 3, "last layer": 6}


def torch_uncertainty(model: nn.Module, x: Tensor) -> Callable[[], object] | None:
    """Returns their draws by a loop. Loads their file alone, as the package needs torchvision."""
    package = importlib.util.find_spec("torch_uncertainty")
    if package is None or importlib.util.find_spec("einops") is None:
        return None
    folder = next(iter(package.submodule_search_locations or ()))
    spec = importlib.util.spec_from_file_location("mc_dropout", Path(folder) / "methods" / "mc_dropout.py")
    assert spec is not None and spec.loader is not None
    theirs: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(theirs)
    wrapped = theirs.mc_dropout(copy.deepcopy(model), DRAWS, on_batch=False).eval()
    return lambda: wrapped(x)


def baal(model: nn.Module, x: Tensor) -> Callable[[], object] | None:
    """Returns their draws: repeated calls of a patched model."""
    if importlib.util.find_spec("baal") is None:
        return None
    theirs: Any = importlib.import_module("baal.bayesian.dropout")
    patched = theirs.patch_module(copy.deepcopy(model), inplace=False).eval()
    return lambda: [patched(x) for _ in range(DRAWS)]


def training_mode(model: nn.Module, x: Tensor) -> Callable[[], object]:
    """Returns 50 passes of a copy in training mode."""
    copied = copy.deepcopy(model).train()
    return lambda: [copied(x) for _ in range(DRAWS)]


def rows() -> list[dict[str, object]]:
    """Returns one row per network and first site: the median milliseconds of each candidate, and our cost in plain passes."""
    found: list[dict[str, object]] = []
    for name, (make, shape) in CASES.items():
        for place, site in SITES.items():
            torch.manual_seed(0)
            model, x = make(site).eval(), torch.randn(shape)
            candidates: dict[str, Callable[[], object] | None] = {
                "one plain pass": lambda model=model, x=x: model(x),
                "50 plain passes": lambda model=model, x=x: [model(x) for _ in range(DRAWS)],
                "thinnet": lambda model=model, x=x: sample(model, x, n=DRAWS),
                "50 passes in training mode": training_mode(model, x),
                "torch-uncertainty": torch_uncertainty(model, x),
                "baal": baal(model, x),
            }
            with torch.no_grad():
                times = interleaved({label: call for label, call in candidates.items() if call is not None}, ROUNDS)
            ours, all_of_them = times["thinnet"], times["50 plain passes"]
            row: dict[str, object] = {
                "network": name,
                "first site": place,
                "draws": DRAWS,
                "shape": " x ".join(map(str, shape)),
            }
            row["milliseconds"] = {label: round(value * 1e3, 2) for label, value in times.items()}
            row["of 50 plain passes"] = round(ours / all_of_them, 3)
            row["plain passes"] = round(DRAWS * ours / all_of_them, 2)
            found.append(row)
    return found


if __name__ == "__main__":
    from benchmarks.measure import write

    torch.set_num_threads(2)
    print(write("inference", rows()))
