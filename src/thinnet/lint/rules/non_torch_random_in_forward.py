import re
from collections.abc import Iterator

import libcst as cst

from thinnet.lint.rule import LintRule, Report
from thinnet.lint.tree import Tree

NOT_DRAWS = frozenset(
    {"random.Random", "random.seed", "numpy.random.seed", "numpy.random.default_rng", "numpy.random.RandomState"}
)


class NonTorchRandomInForward(LintRule[cst.Call]):
    """## What it does
    Finds `random` and `numpy.random` where the `forward` of a module decides what to drop.

    ## Why is this bad?
    `torch.manual_seed` does not set these generators, and activation checkpointing does not restore them. The backward
    pass can then drop another layer than the forward pass. `torch.compile` freezes the numbers or breaks the graph, and
    forked workers share the state.

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

    def check(self, node: cst.Call, tree: Tree) -> Iterator[Report]:
        name = tree.name(node.func)
        if name is None or not name.startswith(("random.", "numpy.random.")) or name in NOT_DRAWS:
            return
        statement = tree.above(node, cst.SimpleStatementLine, cst.If)
        decision = statement.test if isinstance(statement, cst.If) else statement
        if decision is None or not tree.is_in_forward(node):
            return
        if any(re.search("drop|mask|skip", name.value) for name in tree.under(decision, cst.Name)):
            yield Report(node, f"`{name}` ignores `torch.manual_seed` and checkpointing; use `torch.rand`")
