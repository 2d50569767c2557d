"""The rate of a dropout call."""

from collections.abc import Collection

import libcst as cst

from thinnet.lint.arguments import argument
from thinnet.lint.dataflow import Operation
from thinnet.lint.names import DROPOUT_LAYERS, RECURRENT, F
from thinnet.lint.tree import Tree

# the functions of flash-attn: the position of their argument `dropout_p`
FLASH = {
    "flash_attn_func": 3,
    "flash_attn_kvpacked_func": 2,
    "flash_attn_qkvpacked_func": 1,
    "flash_attn_varlen_func": 7,
    "flash_attn_varlen_kvpacked_func": 6,
    "flash_attn_varlen_qkvpacked_func": 3,
}
ATTENTION = {f"{F}scaled_dot_product_attention": 4} | {
    f"{home}.{name}": position for name, position in FLASH.items() for home in ("flash_attn", "flash_attn.flash_attn_interface")
}
FUNCTIONS = frozenset(
    f"{F}{name}" for name in "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout".split()
)
RATE_ARGUMENT: dict[str, tuple[str, int]] = (
    dict.fromkeys(DROPOUT_LAYERS, ("p", 0))
    | dict.fromkeys(FUNCTIONS, ("p", 1))
    | dict.fromkeys(RECURRENT, ("dropout", 5))
    | {name: ("dropout_p", position) for name, position in ATTENTION.items()}
    | {"torch.nn.MultiheadAttention": ("dropout", 2)}
    | {f"torch.nn.Transformer{part}Layer": ("dropout", 3) for part in ("Encoder", "Decoder")}
)


def rate(tree: Tree, call: cst.Call) -> cst.BaseExpression | None:
    """Returns the rate that is passed to a dropout layer or function."""
    name_and_position = RATE_ARGUMENT.get(tree.name(call.func) or "")
    return argument(call, *name_and_position) if name_and_position else None


def is_active(tree: Tree, op: Operation, names: Collection[str]) -> bool:
    """Returns whether an operation has one of these names and its rate, if it has one, may differ from 0."""
    return op.name in names and tree.number(rate(tree, op.options)) != 0
