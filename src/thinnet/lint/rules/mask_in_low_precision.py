from collections.abc import Iterator

import libcst as cst

from thinnet.lint.arguments import keyword
from thinnet.lint.rule import LintRule, Report
from thinnet.lint.tree import Tree


class MaskInLowPrecision(LintRule[cst.Call]):
    """## What it does
    Finds masks that `torch.rand` draws in the dtype of the input, in functions that drop.

    ## Why is this bad?
    bfloat16 has 8 bits of precision, so `floor(keep + rand)` drops with another probability than `1 - keep`. A rate of
    0.001 drops nothing, and a rate of 0.01 drops 0.0117.

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
    None: a product with float32 noise is float32.

    ## References
    - The rates are measured. `x.new_empty(shape).bernoulli_(1 - p)` compares in float32 and is correct
    """

    code = "THN405"
    words = ("torch.rand", ".dtype", "drop")

    def check(self, node: cst.Call, tree: Tree) -> Iterator[Report]:
        if tree.name(node.func) != "torch.rand":
            return
        dtype, function = keyword(node, "dtype"), tree.above(node, cst.FunctionDef)
        is_of_input = dtype is not None and isinstance(dtype.value, cst.Attribute) and dtype.value.attr.value == "dtype"
        if is_of_input and function is not None and self._drops(tree, function, node):
            problem = "a mask drawn in the dtype of the input has a wrong rate in bfloat16"
            yield Report(node, f"{problem}; draw in float32 and compare")

    def _drops(self, tree: Tree, function: cst.FunctionDef, draw: cst.Call) -> bool:
        owner = tree.owner(draw)
        names = [function.name.value, owner.name.value if owner else ""]
        return any("drop" in name.lower() for name in names)
