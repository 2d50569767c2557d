import re
from collections.abc import Iterator

import libcst as cst

from thinnet.lint.arguments import is_false, is_true
from thinnet.lint.fixes import Fix, replace
from thinnet.lint.modes import is_loop_variable, last_name
from thinnet.lint.rule import LintRule, Report
from thinnet.lint.tree import Tree

MODELS = re.compile(r"(?:.*_)?(?:model|net|network)")


class TrainingAttributeSet(LintRule[cst.Assign]):
    """## What it does
    Finds `model.training = False` and `model.training = True`.

    ## Why is this bad?
    The assignment changes one module. Its children, such as dropout layers, keep their mode.

    ## Example
    ```python
    model.training = False
    ```

    ## Use instead
    ```python
    model.eval()
    ```

    ## Fix safety
    Unsafe: the children change their mode too.

    ## References
    - <https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.train>
    """

    code = "THN112"
    words = (".training =|.training=",)
    kinds = (cst.Assign,)

    def check(self, node: cst.Assign, tree: Tree) -> Iterator[Report]:
        if not (is_true(node.value) or is_false(node.value)) or len(node.targets) != 1:
            return
        target = node.targets[0].target
        if not isinstance(target, cst.Attribute) or target.attr.value != "training" or is_loop_variable(tree, target.value):
            return
        model = target.value
        if MODELS.fullmatch(last_name(model)):
            text = f"{tree.code(model)}.{'train' if is_true(node.value) else 'eval'}()"
            problem = f"this does not change the mode of the children of `{tree.code(model)}`"
            yield Report(node, f"{problem}; call `{text}`", Fix((replace(node, text),), safe=False))
