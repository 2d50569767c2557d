"""THN406."""

from collections.abc import Iterator

import libcst as cst

from thinnet.lint.modes import speaks_of_training
from thinnet.lint.rule import Report, Rule
from thinnet.lint.tree import Tree


class MaskWithoutTraining(Rule):
    """## What it does
    Finds masks drawn with `bernoulli` in a `forward` that never asks for the mode.

    ## Why is this bad?
    Dropout by hand has to be switched off by hand, too. This one drops in eval.

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
    None: what the mask is for is for the author to say.

    ## References
    - <https://docs.pytorch.org/docs/stable/generated/torch.bernoulli.html>
    """

    code = "THN406"
    words = ("bernoulli", "def forward")
    preview = True

    def check(self, node: cst.CSTNode, tree: Tree) -> Iterator[Report]:
        """Yields the masks that eval mode does not stop."""
        if not isinstance(node, cst.Call):
            return
        is_draw = tree.name(node.func) == "torch.bernoulli" or (
            isinstance(node.func, cst.Attribute) and node.func.attr.value == "bernoulli_"
        )
        method = tree.module_method(node) if is_draw else None
        if method is not None and method.name.value == "forward" and not speaks_of_training(tree, method.body):
            yield Report(node, "this mask is drawn in eval, too; use `F.dropout`, or ask for `self.training`")
