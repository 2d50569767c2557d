import re
from collections.abc import Iterator

import libcst as cst

from thinnet.lint.fixes import Fix, replace
from thinnet.lint.modes import expects_error, name_of
from thinnet.lint.rates import number, numbers
from thinnet.lint.rule import Report
from thinnet.lint.rule_bases import RateRule
from thinnet.lint.tree import Tree
from thinnet.lint.values import values


class RateAsPercentage(RateRule):
    """## What it does
    Finds a rate above 1, such as `nn.Dropout(20)` or `nn.Dropout(2 * rate)`.

    ## Why is this bad?
    A rate is a probability. PyTorch's layers raise an error when they are created, its functions when they are called.
    Attention on a GPU may raise no error.

    ## Example
    ```python
    self.drop = nn.Dropout(20)
    ```

    ## Use instead
    ```python
    self.drop = nn.Dropout(0.2)
    ```

    ## Fix safety
    Unsafe: the intended rate is a guess.

    ## References
    - <https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout.html>
    """

    code = "THN302"

    def check_rate(self, p: cst.BaseExpression, call: cst.Call, tree: Tree) -> Iterator[Report]:
        if expects_error(tree, p):
            return
        large = next(((size, origin) for size, origin in numbers(tree, p) if size > 1), None)
        if large is None:
            if self._is_multiple(tree, p):
                yield Report(p, f"`{tree.code(p)}` is above 1 for rates that are allowed; pass a number between 0 and 1")
            return
        size, origin = large
        is_percentage = isinstance(p, cst.Integer) and size <= 100
        fix = Fix((replace(p, f"{size / 100:g}"),), safe=False) if is_percentage else None
        remedy = f"for {size:g} % write `{size / 100:g}`" if fix else "pass a number between 0 and 1"
        yield Report(p, f"a rate is a probability, and {size:g} is above 1; {remedy}", fix, origin)

    def _is_multiple(self, tree: Tree, p: cst.BaseExpression) -> bool:
        """Returns whether a rate is multiplied by 2 or more, and no value of it is shown."""
        leaf = values(tree, p)[0]
        if not (isinstance(leaf, cst.BinaryOperation) and isinstance(leaf.operator, cst.Multiply)) or numbers(tree, leaf):
            return False
        factors = [number(tree, side) or 0 for side in (leaf.left, leaf.right)]
        names = [name_of(side) for side in (leaf.left, leaf.right)]
        return max(factors) >= 2 and any(re.search("drop|rate|^p$|prob", name) for name in names)
