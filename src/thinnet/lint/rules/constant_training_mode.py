"""THN103."""

from collections.abc import Iterator

import libcst as cst

from thinnet.lint.calls import argument, is_false, is_plain, is_true
from thinnet.lint.changes import replace
from thinnet.lint.modes import is_guarded
from thinnet.lint.rates import rate
from thinnet.lint.rule import Fix, Report, Rule
from thinnet.lint.spelling import TRAINING
from thinnet.lint.tree import Tree


class ConstantTrainingMode(Rule):
    """## What it does
    Finds `training=True` and `training=False` at a dropout function inside of a module.

    ## Why is this bad?
    The module has a mode of its own, and the call does not follow it: with `True` it drops in eval, with `False` it never
    drops.

    ## Example
    ```python
    x = F.dropout(x, 0.5, training=True)
    ```

    ## Use instead
    ```python
    x = F.dropout(x, 0.5, training=self.training)
    ```

    ## Fix safety
    Unsafe: a constant can be meant, for Monte-Carlo dropout. Then silence the line with `# noqa: THN103`.

    ## References
    - Gal and Ghahramani 2016, arXiv:1506.02142, for when dropout at test time is meant
    """

    code = "THN103"
    preview = True

    def check(self, node: cst.CSTNode, tree: Tree) -> Iterator[Report]:
        """Yields the calls with a constant mode."""
        place = TRAINING.get(tree.name(node.func) or "") if isinstance(node, cst.Call) else None
        if not isinstance(node, cst.Call) or place is None or not is_plain(node):
            return
        given = argument(node, "training", place[0])
        if given is None or not (is_true(given) or is_false(given)) or tree.number(rate(tree, node)) == 0:
            return
        if tree.module_method(node) is not None and not is_guarded(tree, node):
            what = "drops in eval mode too" if is_true(given) else "never drops"
            fix = Fix((replace(given, "self.training"),), safe=False)
            yield Report(node, f"`training={tree.code(given)}` {what}; pass `training=self.training`", fix)
