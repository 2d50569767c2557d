"""THN403."""

from collections.abc import Iterator

import libcst as cst

from thinnet.lint.modes import calls_of
from thinnet.lint.rule import Report, Rule
from thinnet.lint.rules.same_seed_on_all_ranks import SEEDERS
from thinnet.lint.tree import Tree


class SeedInTrainingStep(Rule):
    """## What it does
    Finds a constant seed that is set in `forward`, or at each step of a training loop.

    ## Why is this bad?
    Each step draws the same masks: a single thinned network is trained, and never the others.

    ## Example
    ```python
    for x, y in loader:
        torch.manual_seed(0)
        loss(model(x), y).backward()
        optimizer.step()
    ```

    ## Use instead
    ```python
    torch.manual_seed(0)
    for x, y in loader:
        loss(model(x), y).backward()
        optimizer.step()
    ```

    ## Fix safety
    None: training begins to draw different masks.

    ## References
    - <https://docs.pytorch.org/docs/stable/notes/randomness.html>
    """

    code = "THN403"
    words = ("seed", ".backward(|def forward")

    def check(self, node: cst.CSTNode, tree: Tree) -> Iterator[Report]:
        """Yields the seeds that make every step the same."""
        if not isinstance(node, cst.Call) or tree.name(node.func) not in SEEDERS or not node.args:
            return
        if tree.number(node.args[0].value) is None:
            return
        method, loop = tree.module_method(node), tree.above(node, cst.For, cst.While, cst.FunctionDef)
        in_forward = method is not None and method.name.value == "forward"
        in_loop = isinstance(loop, (cst.For, cst.While)) and self._trains(tree, loop)
        if in_forward or in_loop:
            yield Report(node, "each step draws the same masks; seed once, before training")

    def _trains(self, tree: Tree, loop: cst.For | cst.While) -> bool:
        """Says whether a loop goes on with the same model: it steps an optimizer that it does not make."""
        makes = any((tree.name(call.func) or "").startswith("torch.optim.") for call in tree.under(loop, cst.Call))
        return bool(calls_of(tree, loop, "backward")) and bool(calls_of(tree, loop, "step")) and not makes
