"""THN404."""

import re
from collections.abc import Iterator

import libcst as cst

from thinnet.lint.rule import Report, Rule
from thinnet.lint.tree import Tree

FIXED = frozenset({"random.Random", "random.seed", "numpy.random.seed", "numpy.random.default_rng", "numpy.random.RandomState"})


class ForeignRandomnessInForward(Rule):
    """## What it does
    Finds `random` and `numpy.random` where the `forward` of a module decides what to drop.

    ## Why is this bad?
    `torch.manual_seed` does not reach them, activation checkpointing does not restore them, `torch.compile` freezes or
    breaks at them, and workers that are forked share their state. A dropped layer is then another one in the backward
    pass than in the forward pass.

    ## Example
    ```python
    if self.training and random.random() < self.layerdrop:
        return x
    ```

    ## Use instead
    ```python
    if self.training and torch.rand(()) < self.layerdrop:
        return x
    ```

    ## Fix safety
    None: another generator draws other numbers.

    ## References
    - <https://docs.pytorch.org/docs/stable/notes/randomness.html>
    """

    code = "THN404"
    words = ("random", "def forward", "drop|mask|skip")

    def check(self, node: cst.CSTNode, tree: Tree) -> Iterator[Report]:
        """Yields the draws that torch knows nothing of."""
        name = tree.name(node.func) if isinstance(node, cst.Call) else None
        if name is None or not name.startswith(("random.", "numpy.random.")) or name in FIXED:
            return
        method, statement = tree.module_method(node), tree.above(node, cst.SimpleStatementLine, cst.If)
        decides = statement.test if isinstance(statement, cst.If) else statement
        if method is None or method.name.value != "forward" or decides is None:
            return
        if any(re.search("drop|mask|skip", name.value) for name in tree.under(decides, cst.Name)):
            what = f"`{name}` follows neither `torch.manual_seed` nor checkpointing"
            yield Report(node, f"{what}; draw with `torch.rand`")
