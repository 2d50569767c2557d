from collections.abc import Iterator

import libcst as cst

from thinnet.lint.rates import numbers
from thinnet.lint.rule import Report
from thinnet.lint.rule_bases import RateRule
from thinnet.lint.tree import Tree


class RateOfOne(RateRule):
    """## What it does
    Finds a rate of 1 in a module.

    ## Why is this bad?
    In training, the output and the gradients are always zero. The number is usually a keep probability.

    ## Example
    ```python
    self.drop = nn.Dropout(1.0)
    ```

    ## Use instead
    ```python
    self.drop = nn.Dropout(0.0)
    ```

    ## Fix safety
    None: the intended rate is a guess.

    ## References
    - <https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout.html>
    """

    code = "THN303"
    preview = True

    def check_rate(self, p: cst.BaseExpression, call: cst.Call, tree: Tree) -> Iterator[Report]:
        found = numbers(tree, p)
        if found and all(size == 1 for size, _ in found) and tree.module_method(p) is not None:
            yield Report(p, "a rate of 1 drops everything; if this is a keep probability, the rate is 0", cause=found[0][1])
