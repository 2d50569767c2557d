from collections.abc import Iterator

import libcst as cst

from thinnet.lint.fixes import Fix, replace
from thinnet.lint.modes import expects_error
from thinnet.lint.rule import Report
from thinnet.lint.rule_bases import RateRule
from thinnet.lint.tree import Tree


class RateAsPercentage(RateRule):
    """## What it does
    Finds a rate above 1, such as `nn.Dropout(20)`.

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
        number = tree.number(p)
        if number is None or number <= 1 or expects_error(tree, p):
            return
        is_percentage = isinstance(p, cst.Integer) and number <= 100
        fix = Fix((replace(p, f"{number / 100:g}"),), safe=False) if is_percentage else None
        remedy = f"for {number:g} % write `{number / 100:g}`" if fix else "pass a number between 0 and 1"
        yield Report(p, f"a rate is a probability, and {number:g} is above 1; {remedy}", fix)
