from collections.abc import Iterator

import libcst as cst

from thinnet.lint.modes import depends_on_mode, method_calls
from thinnet.lint.rule import Report
from thinnet.lint.rule_bases import ConstantSeedRule
from thinnet.lint.tree import Tree


class SeedInTrainingStep(ConstantSeedRule):
    """## What it does
    Finds a constant seed that is set in `forward` or in each step of a training loop.

    ## Why is this bad?
    Every step draws the same masks, so training updates a single sub-network.

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
    None: training then draws different masks.

    ## References
    - <https://docs.pytorch.org/docs/stable/notes/randomness.html>
    """

    code = "THN403"
    words = ("seed", ".backward(|def forward")

    def check_seed(self, call: cst.Call, tree: Tree) -> Iterator[Report]:
        loop = tree.above(call, cst.For, cst.While, cst.FunctionDef)
        in_training = isinstance(loop, (cst.For, cst.While)) and self._trains(tree, loop)
        if in_training or (tree.is_in_forward(call) and not depends_on_mode(tree, call)):
            yield Report(call, "every step draws the same masks; set the seed once, before training")

    def _trains(self, tree: Tree, loop: cst.For | cst.While) -> bool:
        """Returns whether a loop trains one model: it steps an optimizer that it does not create."""
        creates = any((tree.name(call.func) or "").startswith("torch.optim.") for call in tree.under(loop, cst.Call))
        return bool(method_calls(tree, loop, "backward")) and bool(method_calls(tree, loop, "step")) and not creates
