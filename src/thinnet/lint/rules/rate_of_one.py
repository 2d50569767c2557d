"""THN303."""

from collections.abc import Iterator

import libcst as cst

from thinnet.lint.rates import rate
from thinnet.lint.rule import Report, Rule
from thinnet.lint.tree import Tree


class RateOfOne(Rule):
    """## What it does
    Finds a rate of 1 in a module.

    ## Why is this bad?
    In training the output is zero, whatever comes in, and so are the gradients. Mostly a keep probability was meant.

    ## Example
    ```python
    self.drop = nn.Dropout(1.0)
    ```

    ## Use instead
    ```python
    self.drop = nn.Dropout(0.0)
    ```

    ## Fix safety
    None: what was meant is a guess.

    ## References
    - <https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout.html>
    """

    code = "THN303"

    def check(self, node: cst.CSTNode, tree: Tree) -> Iterator[Report]:
        """Yields the rates that drop everything."""
        p = rate(tree, node) if isinstance(node, cst.Call) else None
        if p is not None and tree.number(p) == 1 and tree.module_method(p) is not None:
            yield Report(p, "a rate of 1 drops everything; is it a keep probability? Then the rate is 0")
