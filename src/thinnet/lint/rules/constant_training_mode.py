import re
from collections.abc import Iterator

import libcst as cst

from thinnet.lint.arguments import argument, has_no_unpacking, is_false, is_true
from thinnet.lint.fixes import Fix, replace
from thinnet.lint.modes import depends_on_mode
from thinnet.lint.names import TRAINING_ARGUMENT
from thinnet.lint.rates import number, rate
from thinnet.lint.rule import LintRule, Report
from thinnet.lint.tree import Tree

SAMPLING_FILE = re.compile(r"monte[- _]?carlo|mc[-_ ]?drop|uncertaint|bayesian|epistemic|aleatoric", re.IGNORECASE)

EXPORT_FILE = re.compile(r"onnx|tensorrt|\bFID\b|inception", re.IGNORECASE)  # models that only predict


class ConstantTrainingMode(LintRule[cst.Call]):
    """## What it does
    Finds `training=True` and `training=False` in calls of dropout functions in a module.

    ## Why is this bad?
    The call ignores the mode of the module. With `True` it drops in eval mode; with `False` it never drops.

    ## Example
    ```python
    x = F.dropout(x, 0.5, training=True)
    ```

    ## Use instead
    ```python
    x = F.dropout(x, 0.5, training=self.training)
    ```

    ## Fix safety
    Unsafe: the constant may be intended, as in Monte-Carlo dropout. Then silence the line with `# noqa: THN103`.

    ## References
    - Gal and Ghahramani 2016, arXiv:1506.02142, on dropout at test time
    """

    code = "THN103"
    may_be_intended = True
    preview = True

    def check(self, node: cst.Call, tree: Tree) -> Iterator[Report]:
        position_and_default = TRAINING_ARGUMENT.get(tree.name(node.func) or "")
        if position_and_default is None or not has_no_unpacking(node):
            return
        given = argument(node, "training", position_and_default[0])
        if given is None or not (is_true(given) or is_false(given)) or number(tree, rate(tree, node)) == 0:
            return
        if (SAMPLING_FILE if is_true(given) else EXPORT_FILE).search(tree.text):
            return
        if tree.module_method(node) is not None and not depends_on_mode(tree, node):
            effect = "drops in eval mode too" if is_true(given) else "never drops"
            fix = Fix((replace(given, "self.training"),), safe=False)
            yield Report(node, f"`training={tree.code(given)}` {effect}; pass `training=self.training`", fix)
