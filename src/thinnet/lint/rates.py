"""The rate of a dropout call, and the numbers that an expression may be."""

import operator
from collections.abc import Callable, Collection
from itertools import product

import libcst as cst

from thinnet.lint.arguments import argument
from thinnet.lint.dataflow import Operation
from thinnet.lint.names import DROPOUT_LAYERS, RECURRENT, F
from thinnet.lint.tree import Tree
from thinnet.lint.values import values

# the functions of flash-attn: the position of their argument `dropout_p`
FLASH = {
    "flash_attn_func": 3,
    "flash_attn_kvpacked_func": 2,
    "flash_attn_qkvpacked_func": 1,
    "flash_attn_varlen_func": 7,
    "flash_attn_varlen_kvpacked_func": 6,
    "flash_attn_varlen_qkvpacked_func": 3,
}
POSITIONS = {f"{F}scaled_dot_product_attention": 4} | {
    f"{home}.{name}": position for name, position in FLASH.items() for home in ("flash_attn", "flash_attn.flash_attn_interface")
}
XFORMERS = frozenset({"xformers.ops.memory_efficient_attention", "xformers.ops.fmha.memory_efficient_attention"})
FUNCTIONS = frozenset(
    f"{F}{name}" for name in "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout".split()
)
RATE_ARGUMENT: dict[str, tuple[str, int]] = (
    dict.fromkeys(DROPOUT_LAYERS, ("p", 0))
    | dict.fromkeys(FUNCTIONS, ("p", 1))
    | dict.fromkeys(RECURRENT, ("dropout", 5))
    | {name: ("dropout_p", position) for name, position in POSITIONS.items()}
    | dict.fromkeys(XFORMERS, ("p", 4))
    | {"torch.nn.MultiheadAttention": ("dropout", 2)}
    | {f"torch.nn.Transformer{part}Layer": ("dropout", 3) for part in ("Encoder", "Decoder")}
)


ARITHMETIC: dict[type[cst.BaseBinaryOp], Callable[[float, float], float]] = {
    cst.Add: operator.add,
    cst.Subtract: operator.sub,
    cst.Multiply: operator.mul,
    cst.Divide: operator.truediv,
    cst.FloorDivide: operator.floordiv,
    cst.Power: operator.pow,
}
FUNCTIONS_OF_NUMBERS: dict[str, Callable[..., float]] = {"float": float, "int": int, "max": max, "min": min, "round": round}
MAX_COMBINATIONS = 32
Number = tuple[float, cst.BaseExpression]  # a number and the expression that gives it
ATTENTION = frozenset(POSITIONS) | XFORMERS


def numbers(tree: Tree, node: cst.BaseExpression | None) -> list[Number]:
    """Returns the numbers that the file shows for an expression, each with the expression that gives it."""
    return _numbers(tree, node)[0]


def number(tree: Tree, node: cst.BaseExpression | None) -> float | None:
    """Returns the number that an expression certainly is."""
    found, complete = _numbers(tree, node)
    sizes = {size for size, _ in found}
    return sizes.pop() if complete and len(sizes) == 1 else None


def _numbers(tree: Tree, node: cst.BaseExpression | None, depth: int = 0) -> tuple[list[Number], bool]:
    """Returns the numbers that an expression may be, and whether these are all."""
    found: list[Number] = []
    complete = node is not None and depth < 8
    for leaf in values(tree, node) if depth < 8 else ():
        several, whole = _number(tree, leaf, depth + 1)
        found += several
        complete = complete and whole
    return found, complete


def _number(tree: Tree, leaf: cst.BaseExpression, depth: int) -> tuple[list[Number], bool]:
    if isinstance(leaf, (cst.Integer, cst.Float)):
        return [(float(leaf.evaluated_value), leaf)], True
    if isinstance(leaf, cst.UnaryOperation) and isinstance(leaf.operator, cst.Minus):
        found, complete = _numbers(tree, leaf.expression, depth)
        return [(-size, origin) for size, origin in found], complete
    operands: list[cst.BaseExpression] = []
    compute = None
    if isinstance(leaf, cst.BinaryOperation):
        compute, operands = ARITHMETIC.get(type(leaf.operator)), [leaf.left, leaf.right]
    elif (
        isinstance(leaf, cst.Call) and isinstance(leaf.func, cst.Name) and not any(arg.star or arg.keyword for arg in leaf.args)
    ):
        compute, operands = FUNCTIONS_OF_NUMBERS.get(leaf.func.value), [arg.value for arg in leaf.args]
    if compute is None or not operands:
        return [], False
    parts = [_numbers(tree, operand, depth) for operand in operands]
    found = []
    for combination in list(product(*(several for several, _ in parts)))[:MAX_COMBINATIONS]:
        try:
            found.append((float(compute(*(size for size, _ in combination))), combination[0][1]))
        except (ArithmeticError, TypeError, ValueError):
            return [], False
    return found, all(complete for _, complete in parts)


def rate(tree: Tree, call: cst.Call) -> cst.BaseExpression | None:
    """Returns the rate that is passed to a dropout layer or function."""
    name_and_position = RATE_ARGUMENT.get(tree.name(call.func) or "")
    return argument(call, *name_and_position) if name_and_position else None


def is_active(tree: Tree, op: Operation, names: Collection[str]) -> bool:
    """Returns whether an operation has one of these names and its rate, if it has one, may differ from 0."""
    return op.name in names and number(tree, rate(tree, op.options)) != 0
