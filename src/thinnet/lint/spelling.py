"""The full names that mean dropout, normalisation and modules, and the many places that one thing can be imported from."""

import re

HOMES = (
    (re.compile(r"torch\.nn\.modules\.(?:\w+\.)?(?=[A-Z])"), "torch.nn."),
    (re.compile(r"thinnet\.nn\.(?=\w)"), "torch.nn."),
    (re.compile(r"torch\.utils\.checkpoint\.checkpoint_sequential"), "torch.utils.checkpoint.checkpoint"),
    (re.compile(r"torch_geometric\.utils\.dropout\.(?=\w)"), "torch_geometric.utils."),
    (re.compile(r"torchvision\.ops\.(?:drop_block|stochastic_depth)\.(?=\w)"), "torchvision.ops."),
)

DROPOUT_LAYERS = frozenset(
    f"torch.nn.{name}" for name in "Dropout Dropout1d Dropout2d Dropout3d AlphaDropout FeatureAlphaDropout".split()
)

# function: where `training` stands among its positional arguments, and whether it is on when it is left out
F = "torch.nn.functional."
TRAINING: dict[str, tuple[int, bool]] = {
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
    """Returns one name for a thing that can be imported from several places."""
    for home, short in HOMES:
        name = home.sub(short, name, count=1)
    return name


def plain(name: str) -> str:
    """Returns the last part of a name in one spelling for layer, function and method: `LogSoftmax`, `log_softmax_` are one."""
    return name.rpartition(".")[2].replace("_", "").lower()
