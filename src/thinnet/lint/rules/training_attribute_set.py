"""THN112."""

import re
from collections.abc import Iterator

import libcst as cst

from thinnet.lint.calls import is_false, is_true
from thinnet.lint.changes import replace
from thinnet.lint.modes import is_loop_variable, last_name
from thinnet.lint.rule import Fix, Report, Rule
from thinnet.lint.tree import Tree

MODELS = re.compile(r"(?:.*_)?(?:model|net|network)")


class TrainingAttributeSet(Rule):
    """## What it does
    Finds `model.training = False` and `model.training = True`.

    ## Why is this bad?
    The attribute belongs to one module. Its children, dropout layers among them, keep the mode that they are in.

    ## Example
    ```python
    model.training = False
    ```

    ## Use instead
    ```python
    model.eval()
    ```

    ## Fix safety
    Unsafe: the children change their mode, too.

    ## References
    - <https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.train>
    """

    code = "THN112"
    words = (".training =|.training=",)
    kinds = (cst.Assign,)

    def check(self, node: cst.CSTNode, tree: Tree) -> Iterator[Report]:
        """Yields the assignments that reach one module only."""
        if not isinstance(node, cst.Assign) or not (is_true(node.value) or is_false(node.value)) or len(node.targets) != 1:
            return
        target = node.targets[0].target
        if not isinstance(target, cst.Attribute) or target.attr.value != "training" or is_loop_variable(tree, target.value):
            return
        model = target.value
        if MODELS.fullmatch(last_name(model)):
            text = f"{tree.code(model)}.{'train' if is_true(node.value) else 'eval'}()"
            what = f"this does not reach the children of `{tree.code(model)}`"
            yield Report(node, f"{what}; call `{text}`", Fix((replace(node, text),), safe=False))
