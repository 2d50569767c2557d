import re
from collections.abc import Iterator

import libcst as cst

from thinnet.lint.arguments import argument
from thinnet.lint.evaluation import is_by_mode
from thinnet.lint.literals import called_name
from thinnet.lint.modes import mentions_training
from thinnet.lint.rule import LintRule, Report
from thinnet.lint.tree import Tree, is_self
from thinnet.lint.values import route

MASKS = re.compile("drop|mask|keep|noise|zoneout", re.IGNORECASE)


class MaskWithoutTraining(LintRule[cst.Call]):
    """## What it does
    Finds masks that are drawn with `bernoulli` in a `forward` that does not check the mode.

    ## Why is this bad?
    `model.eval()` does not switch off dropout that is written by hand. This mask drops in eval mode too.

    ## Example
    ```python
    def forward(self, x):
        return x * torch.bernoulli(torch.full_like(x, 0.5)) / 0.5
    ```

    ## Use instead
    ```python
    def forward(self, x):
        return F.dropout(x, 0.5, training=self.training)
    ```

    ## Fix safety
    None: the author has to decide what the mask is for.

    ## References
    - <https://docs.pytorch.org/docs/stable/generated/torch.bernoulli.html>
    """

    code = "THN406"
    may_be_intended = True
    words = ("bernoulli", "def forward")
    preview = True

    def check(self, node: cst.Call, tree: Tree) -> Iterator[Report]:
        is_method = isinstance(node.func, cst.Attribute) and node.func.attr.value == "bernoulli_"
        if not (is_method or tree.name(node.func) == "torch.bernoulli"):
            return
        around = tree.parent(node)
        while isinstance(around, (cst.Element, cst.Tuple)):
            around = tree.parent(around)
        if isinstance(around, cst.Return):  # a sampler: its caller decides what the sample is for
            return
        if not isinstance(around, cst.BinaryOperation) or isinstance(around.operator, (cst.Add, cst.Subtract)):
            statement = tree.above(node, cst.SimpleStatementLine)
            if statement is None or not any(MASKS.search(name.value) for name in tree.under(statement, cst.Name)):
                return
        if self._is_computed(tree, node):
            return
        method = tree.module_method(node)
        if method is None or method.name.value != "forward" or is_by_mode(tree, node, method):
            return
        if not mentions_training(tree, method.body):
            yield Report(node, "this mask is drawn in eval mode too; use `F.dropout`, or check `self.training`")

    def _is_computed(self, tree: Tree, node: cst.Call) -> bool:
        """Returns whether a layer computes the probability: then the network decides something, such as when to stop."""
        p = argument(node, "p" if called_name(node) == "bernoulli_" else "input", 0)
        calls = [call for part in (route(tree, p) if p is not None else ()) for call in tree.under(part, cst.Call)]
        return any(is_self(call.func) for call in calls)
