"""Where a call takes its rate."""

import libcst as cst

from thinnet.lint.calls import argument
from thinnet.lint.flow import Operation
from thinnet.lint.spelling import DROPOUT_LAYERS, RECURRENT, F
from thinnet.lint.tree import Tree

# flash-attn's functions, with the place of `dropout_p` among their positional arguments
FLASH = {
    "flash_attn_func": 3,
    "flash_attn_kvpacked_func": 2,
    "flash_attn_qkvpacked_func": 1,
    "flash_attn_varlen_func": 7,
    "flash_attn_varlen_kvpacked_func": 6,
    "flash_attn_varlen_qkvpacked_func": 3,
}
ATTENTION = {f"{F}scaled_dot_product_attention": 4} | {
    f"{home}.{name}": place for name, place in FLASH.items() for home in ("flash_attn", "flash_attn.flash_attn_interface")
}
FUNCTIONS = frozenset(
    f"{F}{name}" for name in "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout".split()
)
PLACES: dict[str, tuple[str, int]] = (
    dict.fromkeys(DROPOUT_LAYERS, ("p", 0))
    | dict.fromkeys(FUNCTIONS, ("p", 1))
    | dict.fromkeys(RECURRENT, ("dropout", 5))
    | {name: ("dropout_p", place) for name, place in ATTENTION.items()}
    | {"torch.nn.MultiheadAttention": ("dropout", 2)}
    | {f"torch.nn.Transformer{part}Layer": ("dropout", 3) for part in ("Encoder", "Decoder")}
)


def rate(tree: Tree, call: cst.Call) -> cst.BaseExpression | None:
    """Returns the rate that is given to a layer or function that drops."""
    place = PLACES.get(tree.name(call.func) or "")
    return argument(call, *place) if place else None


def drops(tree: Tree, op: Operation | None, *names: str) -> bool:
    """Says whether an operation is one of the named dropouts, with a rate that is not sure to be 0."""
    return op is not None and op.name in names and tree.number(rate(tree, op.settings)) != 0
