"""THN302."""

from collections.abc import Iterator

import libcst as cst

from thinnet.lint.changes import replace
from thinnet.lint.modes import expects_error
from thinnet.lint.rates import rate
from thinnet.lint.rule import Fix, Report, Rule
from thinnet.lint.tree import Tree


class RateAsPercentage(Rule):
    """## What it does
    Finds a rate above 1, such as `nn.Dropout(20)`.

    ## Why is this bad?
    A rate is a probability. PyTorch's layers raise an error when they are made, its functions when they are called, and
    attention on a GPU may do neither.

    ## Example
    ```python
    self.drop = nn.Dropout(20)
    ```

    ## Use instead
    ```python
    self.drop = nn.Dropout(0.2)
    ```

    ## Fix safety
    Unsafe: what the number meant is a guess.

    ## References
    - <https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout.html>
    """

    code = "THN302"

    def check(self, node: cst.CSTNode, tree: Tree) -> Iterator[Report]:
        """Yields the rates that are no probability."""
        p = rate(tree, node) if isinstance(node, cst.Call) else None
        number = tree.number(p)
        if p is None or number is None or number <= 1 or expects_error(tree, p):
            return
        written = isinstance(p, cst.Integer) and number <= 100
        fix = Fix((replace(p, f"{number / 100:g}"),), safe=False) if written else None
        guess = f"for {number:g} % write `{number / 100:g}`" if fix else "pass a number between 0 and 1"
        yield Report(p, f"a rate is a probability, and {number:g} is above 1; {guess}", fix)
