"""The full names of PyTorch's dropout functions, layers and modules, and the other modules that export them."""

import re

ALIASES = (
    (re.compile(r"torch\.nn\.modules\.(?:\w+\.)?(?=[A-Z])"), "torch.nn."),
    (re.compile(r"thinnet\.nn\.(?=\w)"), "torch.nn."),
    (re.compile(r"torch\.utils\.checkpoint\.checkpoint_sequential"), "torch.utils.checkpoint.checkpoint"),
    (re.compile(r"torch_geometric\.utils\.dropout\.(?=\w)"), "torch_geometric.utils."),
    (re.compile(r"torchvision\.ops\.(?:drop_block|stochastic_depth)\.(?=\w)"), "torchvision.ops."),
)

DROPOUT_LAYERS = frozenset(
    f"torch.nn.{name}" for name in "Dropout Dropout1d Dropout2d Dropout3d AlphaDropout FeatureAlphaDropout".split()
)

# function: the position of its argument `training`, and the default of that argument
F = "torch.nn.functional."
TRAINING_ARGUMENT: dict[str, tuple[int, bool]] = {
    f"{F}dropout": (2, True),
    f"{F}dropout1d": (2, True),
    f"{F}dropout2d": (2, True),
    f"{F}dropout3d": (2, True),
    f"{F}alpha_dropout": (2, False),
    f"{F}feature_alpha_dropout": (2, False),
    f"{F}multi_head_attention_forward": (13, True),
    "torch_geometric.utils.dropout_adj": (5, True),
    "torch_geometric.utils.dropout_edge": (3, True),
    "torch_geometric.utils.dropout_node": (3, True),
    "torchvision.ops.stochastic_depth": (3, True),
    "torchvision.ops.drop_block2d": (5, True),
    "torchvision.ops.drop_block3d": (5, True),
    "timm.layers.drop_path": (2, False),
}

RECURRENT = frozenset({"torch.nn.RNN", "torch.nn.LSTM", "torch.nn.GRU"})

MODULE_BASES = re.compile(
    r"torch\.nn\.[A-Z]\w*|.*\b(?:Lightning)?Module|.*\bPreTrainedModel|torch_geometric\.nn\.(?:\w+\.)*[A-Z]\w*"
)
MODULE_NAMES = re.compile(r"\w*(?:Module|Model|Layer|Net|Network|Block|Encoder|Decoder|Attention|Classifier|Head|MLP)")


def canonical(name: str) -> str:
    """Returns one full name for an object that several modules export."""
    for alias, short in ALIASES:
        name = alias.sub(short, name, count=1)
    return name


def operation_name(name: str) -> str:
    """Returns one name for a layer, its function and its method: `logsoftmax` for `nn.LogSoftmax` and `x.log_softmax_`."""
    return name.rpartition(".")[2].replace("_", "").lower()
