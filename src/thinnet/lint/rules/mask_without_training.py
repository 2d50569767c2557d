import re
from collections.abc import Iterator

import libcst as cst

from thinnet.lint.modes import mentions_training
from thinnet.lint.rule import LintRule, Report
from thinnet.lint.tree import Tree

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
        method = tree.module_method(node)
        if method is not None and method.name.value == "forward" and not mentions_training(tree, method.body):
            yield Report(node, "this mask is drawn in eval mode too; use `F.dropout`, or check `self.training`")
