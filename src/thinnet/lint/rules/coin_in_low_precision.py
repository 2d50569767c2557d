"""THN405."""

from collections.abc import Iterator

import libcst as cst

from thinnet.lint.calls import keyword
from thinnet.lint.rule import Report, Rule
from thinnet.lint.tree import Tree


class CoinInLowPrecision(Rule):
    """## What it does
    Finds masks that are drawn by `torch.rand` in the dtype of the input, in functions that drop.

    ## Why is this bad?
    In bfloat16 a number just below 1 has 8 bits: `floor(keep + rand)` then drops with another probability than it says.
    A nominal 0.001 drops nothing at all, and 0.01 drops 0.0117.

    ## Example
    ```python
    def drop_path(x, p):
        mask = (1 - p) + torch.rand((len(x), 1, 1), dtype=x.dtype, device=x.device)
        return x / (1 - p) * mask.floor()
    ```

    ## Use instead
    ```python
    def drop_path(x, p):
        mask = torch.rand((len(x), 1, 1), device=x.device) >= p
        return torch.where(mask, x / (1 - p), 0)
    ```

    ## Fix safety
    None: float32 noise in a product makes the result float32.

    ## References
    - The rates are measured; `x.new_empty(shape).bernoulli_(1 - p)` compares in float32 and is right
    """

    code = "THN405"
    words = ("torch.rand", ".dtype", "drop")

    def check(self, node: cst.CSTNode, tree: Tree) -> Iterator[Report]:
        """Yields the coins whose rate depends on the dtype."""
        if not isinstance(node, cst.Call) or tree.name(node.func) != "torch.rand":
            return
        dtype, function = keyword(node, "dtype"), tree.above(node, cst.FunctionDef)
        borrowed = dtype is not None and isinstance(dtype.value, cst.Attribute) and dtype.value.attr.value == "dtype"
        if borrowed and function is not None and self._drops(tree, function, node):
            yield Report(node, "a coin in the dtype of the input has another rate in bfloat16; draw in float32 and compare")

    def _drops(self, tree: Tree, function: cst.FunctionDef, draw: cst.Call) -> bool:
        owner = tree.owner(draw)
        names = [function.name.value, owner.name.value if owner else ""]
        return any("drop" in name.lower() for name in names)
