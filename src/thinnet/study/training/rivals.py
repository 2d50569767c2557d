"""RealMLP and TabM, rivals of dropout on tables: their networks and optimisers. All else in a trial is as for other networks.

Their dropout sites are those of thinnet, so that a trial is a pure function of its seed.
"""

from typing import Any

import torch
from torch import Tensor, nn

from thinnet.inference.calibration.fitting import log_probabilities
from thinnet.models.edit.replace import replace
from thinnet.nn import Dropout
from thinnet.report.extras import need
from thinnet.study.data.dataset import Dataset, Split
from thinnet.study.data.tasks import Classification, Task
from thinnet.study.design.configuration import NETWORKS, REALMLP, TABM
from thinnet.study.design.plan import Plan, StudyError

EVALUATED_AT_ONCE = 1024
"""The rows that are evaluated at once: both networks hold many numbers for each."""


class Rival(nn.Module):
    """A network for a table; in eval mode it maps (N, features) to (N, outputs).

    Attributes:
        members: how many outputs a row has in training, one after the other; all are trained on its target.
        batch: the batch size of its authors.
        whole_batches: whether they leave out the rows of an epoch that do not fill a batch.
    """

    members, batch, whole_batches = 1, 256, False

    def forward(self, x: Tensor) -> Tensor:
        """Returns (N * members, outputs) in training, else (N, outputs)."""
        if self.training:
            return self._output(x)
        return torch.cat([self._output(part) for part in x.split(EVALUATED_AT_ONCE)])

    def _output(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def optimizer(self) -> torch.optim.Optimizer:
        """Returns the optimiser of its authors."""
        raise NotImplementedError


class RealMLP(Rival):
    """RealMLP-TD of pytabkit: an MLP with scaled and embedded inputs, whose rates follow schedules.

    Probabilities are scored, so it has no label smoothing, as its authors advise. Targets are standardised already.

    Args:
        task: of the study.
        train: the training set, to which scales and initial weights are fitted.
        epochs: over which the schedules stretch.
        seed: of the initial weights.

    Source: Holzmueller et al. 2024, arXiv:2407.04491.
    """

    whole_batches = True

    def __init__(self, task: Task, train: Split, epochs: int, seed: int) -> None:
        super().__init__()
        classes = task.outputs if isinstance(task, Classification) else 0
        defaults = _kit("sklearn.default_params").DefaultParams
        settings = defaults.RealMLP_TD_CLASS if classes else defaults.RealMLP_TD_REG
        own = {"use_ls": False, "normalize_output": False, "allow_single_split_opt": False, "n_epochs": epochs}
        creator = _kit("training.nn_creator").NNCreator(**settings | own)
        base, rows = _kit("alg_interfaces.base"), _rows(train, classes)
        split = base.SplitIdxs(torch.arange(len(train))[None], None, None, seed, [seed], 0)
        creator.setup_from_dataset(rows, [split], base.InterfaceResources(1, []))
        self.layers = _with_sites(creator.create_model(rows, [split]))
        size = min(self.batch, len(train))
        self.schedules, self.rows_of_epoch = creator.hp_manager, len(train) // size * size
        self.progress = _kit("training.scheduling").LearnerProgress()
        self.progress.max_epochs = epochs

    def _output(self, x: Tensor) -> Tensor:
        if self.training:
            self.schedules.update_hypers(self)  # it reads `progress`
            self.progress.epoch_float += len(x) / self.rows_of_epoch
        return self.layers({"x_cont": x[None], "x_cat": _no_categories(len(x), x.device)[None]})["x_cont"][0]

    def optimizer(self) -> torch.optim.Optimizer:
        """Returns its Adam, whose learning rate and weight decay follow schedules."""
        groups = [{"params": [weight]} for weight in self.layers.parameters()]
        return _kit("optim.optimizers").AdamOptimizer(groups, self.schedules)


class TabM(Rival):
    """TabM: 32 MLPs that share most of their weights and train together; their predictions are averaged.

    Args:
        task: of the study.
        train: the training set.
        epochs: of the study.
        seed: of the study; the initial weights follow PyTorch's generator.

    Source: Gorishniy, Kotelnikov, Babenko 2025, arXiv:2410.24210.
    """

    def __init__(self, task: Task, train: Split, epochs: int, seed: int) -> None:
        super().__init__()
        self.task = task
        self.layers = _library(TABM, "tabm").TabM.make(n_num_features=train.x.shape[1], d_out=task.outputs)
        self.members = self.layers.k
        replace(self.layers)

    def _output(self, x: Tensor) -> Tensor:
        output = self.layers(x)
        if self.training:
            return output.flatten(0, 1)
        return log_probabilities(output.transpose(0, 1)) if isinstance(self.task, Classification) else output.mean(1)

    def optimizer(self) -> torch.optim.Optimizer:
        """Returns AdamW with gradients clipped at a norm of 1, as in the example of its authors."""
        optimizer = torch.optim.AdamW(self.parameters(), lr=2e-3, weight_decay=3e-4, fused=True)
        optimizer.register_step_pre_hook(self._clip)
        return optimizer

    def _clip(self, *_: Any) -> None:
        nn.utils.clip_grad_norm_(self.parameters(), 1.0)


KINDS: dict[str, type[RealMLP | TabM]] = {REALMLP: RealMLP, TABM: TabM}


def rival_network(task: Task, plan: Plan, method: str, seed: int, train: Split) -> Rival:
    """Returns the network of a rival with the initial weights of a seed; it draws them from PyTorch's generator."""
    return KINDS[method](task, train, plan.epochs, seed)


def check_rivals(data: Dataset, plan: Plan) -> None:
    """Refuses a rival that is a network for tables, where there is none, or where its library is missing.

    Raises:
        StudyError: the problem is no table.
        MissingLibrary: the library is not installed.
    """
    for method in plan.against:
        if method not in NETWORKS:
            continue
        if data.file is not None:
            advice = "Leave the rival out, or study a table."
            raise StudyError("--against", f"{method} must have a table", f"{data.name}, which has a network of its own", advice)
        _kit("training.nn_creator") if method == REALMLP else _library(TABM, "tabm")


def _library(method: str, module: str) -> Any:
    return need(module, f"--against {method}", extra="rivals")


def _kit(module: str) -> Any:
    return _library(REALMLP, f"pytabkit.models.{module}")


def _rows(train: Split, classes: int) -> Any:
    """Returns the training set as pytabkit takes it; all inputs are numbers."""
    data = _kit("data.data")
    x, y = torch.from_numpy(train.x), torch.from_numpy(train.y)[:, None]
    tensors = {"x_cont": x, "x_cat": _no_categories(len(x), x.device), "y": y}
    target = data.TensorInfo(cat_sizes=[classes]) if classes else data.TensorInfo(feat_shape=[1])
    infos = {"x_cont": data.TensorInfo(feat_shape=[x.shape[1]]), "x_cat": data.TensorInfo(cat_sizes=[]), "y": target}
    return data.DictDataset(tensors, infos)


def _no_categories(rows: int, device: torch.device) -> Tensor:
    return torch.empty(rows, 0, dtype=torch.long, device=device)


def _with_sites(layers: nn.Module) -> nn.Module:
    """Puts a dropout site of thinnet in place of every dropout of pytabkit."""
    kind = _kit("nn_models.nn").DropoutLayer
    for name, layer in list(layers.named_modules()):
        if isinstance(layer, kind):
            layers.set_submodule(name, _ScheduledDropout(layer.hyper_getter))
    return layers


class _ScheduledDropout(nn.Module):
    """Dropout whose rate is that of a schedule of pytabkit; its tensors have an axis of networks before the rows."""

    def __init__(self, rate: Any) -> None:
        super().__init__()
        self.rate, self.site = rate, Dropout(0.0)

    def forward(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        if self.training:
            self.site.p = self.rate()
        return tensors | {"x_cont": self.site(tensors["x_cont"][0])[None]}
