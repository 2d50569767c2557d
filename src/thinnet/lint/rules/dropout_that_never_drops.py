"""THN102."""

from collections.abc import Iterator

import libcst as cst

from thinnet.lint.changes import set_keyword
from thinnet.lint.rule import Fix, Report, Rule
from thinnet.lint.rules.dropout_without_training import forgets_training
from thinnet.lint.tree import Tree


class DropoutThatNeverDrops(Rule):
    """## What it does
    Finds functions that drop only when told to, such as `F.alpha_dropout`, called without `training`.

    ## Why is this bad?
    `training` is `False` by default there, the other way round than in `F.dropout`: the call returns its input, always.

    ## Example
    ```python
    x = F.alpha_dropout(x, p=0.1)
    ```

    ## Use instead
    ```python
    x = F.alpha_dropout(x, p=0.1, training=self.training)
    ```

    ## Fix safety
    Unsafe: training begins to drop. There is no fix outside of a module.

    ## References
    - <https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.alpha_dropout.html>
    """

    code = "THN102"
    words = ("alpha_dropout|drop_path",)

    def check(self, node: cst.CSTNode, tree: Tree) -> Iterator[Report]:
        """Yields the calls that do nothing."""
        if isinstance(node, cst.Call) and forgets_training(node, tree, default=False):
            inside = tree.module_method(node) is not None
            fix = Fix((set_keyword(node, "training", "self.training"),), safe=False) if inside else None
            what = f"`{tree.code(node.func)}` without `training` never drops"
            yield Report(node, f"{what}; pass `training={'self.training' if inside else '...'}`", fix)
