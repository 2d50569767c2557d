"""THN503."""

from collections.abc import Iterator

import libcst as cst

from thinnet.lint.calls import argument, is_true, keyword
from thinnet.lint.changes import drop_keyword
from thinnet.lint.flow import DROPOUTS, before, operation
from thinnet.lint.modes import expects_error
from thinnet.lint.rates import drops
from thinnet.lint.rule import Fix, Report, Rule
from thinnet.lint.tree import Tree

SAVED = frozenset("relu sigmoid tanh softmax logsoftmax exp sqrt rsqrt reciprocal".split())


class InplaceDropoutAfterSavedOutput(Rule):
    """## What it does
    Finds dropout in place on the result of ReLU, sigmoid, tanh, softmax, exp and the like.

    ## Why is this bad?
    Their derivatives are computed from their results. Dropout in place overwrites these, and `backward()` raises an error.

    ## Example
    ```python
    nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Dropout(0.5, inplace=True))
    ```

    ## Use instead
    ```python
    nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Dropout(0.5))
    ```

    ## Fix safety
    Safe: training fails today.

    ## References
    - pytorch/pytorch#727, microsoft/nni#4614
    """

    code = "THN503"
    words = ("ropout", "inplace")

    def check(self, node: cst.CSTNode, tree: Tree) -> Iterator[Report]:
        """Yields the dropouts that overwrite what backward needs."""
        op = operation(tree, node) if isinstance(node, cst.Call) else None
        if op is None or not drops(tree, op, *DROPOUTS) or expects_error(tree, op.at):
            return
        inplace = argument(op.settings, "inplace", 3 if op.settings is op.at and op.input is not None else 1)
        source = before(tree, op)
        if source is None or source.name not in SAVED or inplace is None or not is_true(inplace):
            return
        fix = None
        if keyword(op.settings, "inplace") is not None:
            fix = Fix((drop_keyword(op.settings, "inplace"),), safe=True)
        what = f"in-place dropout overwrites the result of `{source.name}`, which its backward needs"
        yield Report(op.at, f"{what}; leave out `inplace=True`", fix)
