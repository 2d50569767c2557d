"""THN107."""

from collections.abc import Iterator

import libcst as cst

from thinnet.lint.changes import insert_after
from thinnet.lint.rule import Fix, Report, Rule
from thinnet.lint.tree import Tree


class ModeSwitchWithoutCall(Rule):
    """## What it does
    Finds `model.eval` and `model.train` without parentheses as a statement.

    ## Why is this bad?
    The line does nothing: the method is looked up and not called, and the model stays in the mode that it was in.

    ## Example
    ```python
    model.eval
    ```

    ## Use instead
    ```python
    model.eval()
    ```

    ## Fix safety
    Unsafe: the mode changes from that line on, and the switch back may be missing, too.

    ## References
    - <https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.eval>
    """

    code = "THN107"
    words = (".eval|.train",)
    kinds = (cst.Expr,)

    def check(self, node: cst.CSTNode, tree: Tree) -> Iterator[Report]:
        """Yields the statements that do nothing."""
        if isinstance(node, cst.Expr) and isinstance(node.value, cst.Attribute) and node.value.attr.value in ("eval", "train"):
            code = tree.code(node.value)
            yield Report(node, f"`{code}` is not called; write `{code}()`", Fix((insert_after(node.value, "()"),), safe=False))
