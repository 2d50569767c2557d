"""The recommended network and its training as code that runs on its own."""

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from thinnet.models.edit.rates import owners
from thinnet.study.data.dataset import Dataset
from thinnet.study.data.encoding import Encoder
from thinnet.study.data.tasks import Classification, Regression
from thinnet.study.data.user_file import UserFile
from thinnet.study.design.configuration import THIN, Configuration
from thinnet.study.design.plan import Plan
from thinnet.study.training.network import schedules_of, seeded_network

IMPORTS = {
    "OrderedDict(": "from collections import OrderedDict",
    "nn.": "from torch import nn",
    "F.": "import torch.nn.functional as F",
    "thinnet.": "import thinnet",
    "schedules.": "from thinnet import schedules",
    "Encoder.": "from thinnet.study import Encoder",
}
"""What is imported where the code says so, beside `copy` and `torch`."""

OWN = {"model": "model as original", "loss": "loss", "optimizer": "optimizer as make_optimizer"}
"""What the code imports from the user's file, by the name of the function."""

TRAIN = '''
def train(x, y, x_validation, y_validation):
    """Train on tensors; return the network with the weights of the epoch with the lowest validation loss."""
    network = model()
{before}
    lowest, weights = float("inf"), None
    for epoch in range({epochs}):
        network.train()
        for rows in torch.randperm(len(x)).split({batch}):
{step}
        network.eval()
        with torch.no_grad():
            loss = loss_of({validation}, y_validation).item()
        if loss < lowest:
            lowest, weights = loss, copy.deepcopy(network.state_dict())
    network.load_state_dict(weights)
    return network.eval()
'''

TRAINED = '''
def trained():
    """Return the network with the weights that the study trained from seed {seed}."""
    network = model()
    network.load_state_dict(torch.load({path}, weights_only=True)["best"])
    return network.eval()
'''

PREDICT = '''
def predict({samples}):
    """Predict for new {samples}, {form}: {what}."""
    encoder = Encoder.load({path})
    with torch.no_grad():
        return encoder.decode(trained()(torch.from_numpy(encoder.encode({samples}))))
'''

NEW = {
    "columns": ("rows", "in a file or a DataFrame as the study had them"),
    "pixels": ("rows", "in an array"),
    "pictures": ("pictures", "in a list of files or an array of bytes"),
    "words": ("texts", "in a list; a pathlib.Path is a file"),
    "tokens": ("texts", "in a list; a pathlib.Path is a file"),
}
"""What a prediction takes, and in which form, by the kind of the encoder."""


def code_of(data: Dataset, plan: Plan, configuration: Configuration, seed: int, weights: Path) -> str:
    """Returns a module with `model()`, `loss_of(output, y)`, `train(...)`, `trained()` and, with an encoder, `predict()`.

    Args:
        data: the dataset.
        plan: the settings of the training.
        configuration: what the network is trained with.
        seed: the seed of the trained weights.
        weights: their file, relative to the folder in which the code will run.
    """
    network = seeded_network(data, plan, configuration, seed=0)
    body = "\n".join(
        [
            _layers(network) if data.file is None else _edits(data.file, network),
            f"\ndef loss_of(output, y):\n    return {_loss(data)}\n",
            _training(data, plan, configuration, network),
            TRAINED.format(seed=seed, path=json.dumps(weights.as_posix())),
            *([_predict(data.encoder, weights)] if data.encoder else []),
        ]
    )
    lines = ["import copy", "import torch", *(line for use, line in IMPORTS.items() if use in body)]
    if data.file is not None:
        own = [text for name, text in OWN.items() if hasattr(data.file.module, name)]
        lines.append(f"from {_module(data.file)} import {', '.join(own)}")
    standard = sorted(line for line in lines if _is_standard(line))
    rest = sorted((line for line in lines if not _is_standard(line)), key=lambda line: (line.startswith("from"), line))
    return "\n".join([*standard, "", *rest, "", body]).rstrip() + "\n"


def _predict(encoder: Encoder, weights: Path) -> str:
    what = "the probability of each class" if encoder.classes else "numbers"
    path = json.dumps(weights.with_name(Encoder.FILE).as_posix())
    samples, form = NEW[encoder.samples.kind]
    return PREDICT.format(path=path, what=what, samples=samples, form=form)


def _module(file: UserFile) -> str:
    return f"thinnet.study.networks.{file.path.stem}" if file.is_built_in else file.path.stem


def _loss(data: Dataset) -> str:
    if isinstance(data.task, Classification):
        return "F.cross_entropy(output, y)" if data.train.y.ndim == 1 else "F.cross_entropy(output.flatten(0, -2), y.flatten())"
    return "F.mse_loss(output.reshape(y.shape), y)" if isinstance(data.task, Regression) else "loss(output, y).mean()"


def _is_standard(line: str) -> bool:
    return line.split()[1] in ("collections", "copy")


def _layers(network: nn.Module) -> str:
    """Returns the code of a perceptron."""
    rows = []
    for name, layer in network.named_children():
        if isinstance(layer, nn.Linear):
            made = f"nn.Linear({layer.in_features}, {layer.out_features})"
        else:
            made = "nn.ReLU()" if isinstance(layer, nn.ReLU) else f"thinnet.nn.{type(layer).__name__}({layer.p:g})"
        rows.append(f"        {name}={made},")
    inner = "\n".join(rows)
    return f"\ndef model():\n    layers = OrderedDict(\n{inner}\n    )\n    return nn.Sequential(layers)\n"


def _edits(file: UserFile, network: nn.Module) -> str:
    """Returns the code that edits the model of a user's file as the study did."""
    original, arguments = file.original(), ", ".join(map(repr, file.arguments))
    lines = [f"network = original({arguments})", "thinnet.replace(network)  # PyTorch's dropout becomes thinnet's"]
    if not any(not owner.idle for owner in owners(original)):
        lines.append("thinnet.insert(network)")
    rates = {owner.name: owner.p for owner in owners(network) if not owner.idle}
    lines.append(f"thinnet.set_rates(network, {json.dumps(rates)})" if len(set(rates.values())) > 1 else _one_rate(rates))
    before = {owner.path: type(owner.module) for owner in owners(file.network())}
    for owner in owners(network):
        if type(owner.module) is not before[owner.path]:
            lines.append(
                f"network.set_submodule({json.dumps(owner.path)}, thinnet.nn.{type(owner.module).__name__}({owner.p:g}))"
            )
    inner = "\n".join(f"    {line}" for line in lines)
    return f"\ndef model():\n{inner}\n    return network\n"


def _one_rate(rates: dict[str, float]) -> str:
    return f"thinnet.set_rates(network, {next(iter(rates.values())):g})"


def _training(data: Dataset, plan: Plan, configuration: Configuration, network: nn.Module) -> str:
    """Returns the code of `train`."""
    before = []
    if configuration.method == THIN:
        before.append(f"thinnet.thin(network, x[:{plan.batch}], groups={plan.groups}, always=True)")
    rates = schedules_of(network, configuration, plan.epochs * math.ceil(len(data.train) / plan.batch))
    if rates:
        made = ", ".join(f"{json.dumps(name)}: schedules.{schedule!r}" for name, schedule in rates.items())
        before += [f"rng = thinnet.DropoutRNG(0, {{{made}}}).bind(network)", "step = 0"]
    before.append(f"optimizer = {_optimizer(data, plan)}")
    output = _call(data)
    step = ["rng.at(step)", "step += 1"] if rates else []
    step += ["optimizer.zero_grad()", f"loss_of({output.format('x[rows]')}, y[rows]).backward()", "optimizer.step()"]
    return TRAIN.format(
        before="\n".join(f"    {line}" for line in before),
        step="\n".join(f"            {line}" for line in step),
        epochs=plan.epochs,
        batch=plan.batch,
        validation=output.format("x_validation"),
    )


def _optimizer(data: Dataset, plan: Plan) -> str:
    if data.file and hasattr(data.file.module, "optimizer"):
        return "make_optimizer(list(network.parameters()))"
    return f"torch.optim.Adam(network.parameters(), lr={plan.learning_rate:g})"


def _call(data: Dataset) -> str:
    """Returns the call of the network, and what selects the tensor that the loss takes; `{}` stands for the inputs."""
    call = "network({})"
    if data.file is None:
        return call
    model = data.file.original().eval()
    with torch.no_grad():
        output: Any = model(torch.from_numpy(data.train.x[:2]))
    while not isinstance(output, Tensor):
        if getattr(output, "logits", None) is not None:
            call, output = f"{call}.logits", output.logits
        elif isinstance(output, dict):
            name, output = next(iter(output.items()))
            call = f"{call}[{json.dumps(name)}]"
        else:
            call, output = f"{call}[0]", output[0]
    return call
