"""Scores draws of `thinnet.inference.sample` with torch-uncertainty and uncertainty-toolbox, next to `calibrate`.

torch-uncertainty takes the probabilities of all draws, `(B, n, classes)`, or their average; uncertainty-toolbox a mean and a
standard deviation for each case. Scores with the same definition agree to 1e-5."""

import importlib.util
import sys
from types import ModuleType

import torch
import uncertainty_toolbox as toolbox
from sklearn.datasets import load_diabetes, load_wine
from torch import nn

import thinnet
from thinnet.inference import calibrate, sample

try:
    from torch_uncertainty.metrics import classification as metrics
except ImportError:  # the package imports torchvision; its metrics do not need it
    for name in ("torch_uncertainty", "torch_uncertainty.metrics"):
        found, sys.modules[name] = importlib.util.find_spec(name), ModuleType(name)
        sys.modules[name].__path__ = list(found.submodule_search_locations)
    from torch_uncertainty.metrics import classification as metrics


def trained(load, outputs: int, loss) -> tuple[nn.Module, dict]:
    x, y = (torch.as_tensor(each, dtype=torch.float32) for each in load(return_X_y=True))
    x, y = (x - x.mean(0)) / x.std(0), y.long() if outputs > 1 else (y - y.mean()) / y.std()
    train, *held = torch.randperm(len(x)).chunk(3)
    hidden = [nn.Linear(x.shape[1], 64), nn.ReLU(), thinnet.nn.Dropout(0.3), nn.Linear(64, 64), nn.ReLU()]
    model = nn.Sequential(*hidden, thinnet.nn.Dropout(0.3), nn.Linear(64, outputs))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.003, weight_decay=0.01)
    for _ in range(150):
        optimizer.zero_grad()
        loss(model(x[train]).squeeze(-1), y[train]).backward()
        optimizer.step()
    return model, {part: (x[rows], y[rows]) for part, rows in zip(("validation", "test"), held, strict=True)}


def compare(what: str, ours: float, theirs: float, same: bool = True) -> None:
    verdict = f"equal: {abs(ours - theirs) < 1e-5 * max(1, abs(theirs))}" if same else "(another definition)"
    print(f"{what:<50} {ours:.6f} {theirs:.6f} {verdict}")


def main() -> None:
    model, split = trained(load_wine, 3, nn.functional.cross_entropy)
    ours, (x, y) = calibrate(model, **split, factors=())["Monte-Carlo"].scores, split["test"]
    draws = sample(model, x, n=50)
    compare("NLL, CategoricalNLL", ours["NLL"].value, metrics.CategoricalNLL()(draws.mean, y).item())
    compare("Brier score, BrierScore", ours["Brier"].value, metrics.BrierScore(num_classes=3)(draws.mean, y).item())
    for kind, metric in {"ECE": metrics.CalibrationError, "adaptive ECE": metrics.AdaptiveCalibrationError}.items():
        theirs = metric(task="multiclass", num_classes=3, num_bins=15)(draws.mean, y).item()
        compare(f"{kind}, {metric.__name__}", ours[kind].value, theirs)
    every = draws.draws.softmax(-1).transpose(0, 1)
    compare("mutual information", draws.mutual_information.mean().item(), metrics.MutualInformation()(every).item())
    compare("AURC: mean over cases, or trapezoids", ours["AURC"].value, metrics.AURC()(draws.mean, y).item(), same=False)

    model, split = trained(load_diabetes, 1, nn.functional.mse_loss)
    row, (x, y) = calibrate(model, **split, factors=())["Monte-Carlo, tau"], split["test"]
    draws = sample(model, x, n=50, kind="values")
    spread = draws.variance(tau=row.fitted["tau"]).sqrt().squeeze(-1).numpy()
    theirs = toolbox.get_all_metrics(draws.mean.squeeze(-1).numpy(), spread, y.numpy(), resolution=20, verbose=False)
    compare("RMSE, uncertainty-toolbox", row.scores["RMSE"].value, theirs["accuracy"]["rmse"].item())
    compare("NLL: mixture of normals, or one", row.scores["NLL"].value, theirs["scoring_rule"]["nll"].item(), same=False)


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
