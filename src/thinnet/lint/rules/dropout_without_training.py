"""THN101."""

from collections.abc import Iterator

import libcst as cst

from thinnet.lint.calls import argument, is_plain
from thinnet.lint.changes import set_keyword
from thinnet.lint.modes import is_guarded, speaks_of_training
from thinnet.lint.rates import rate
from thinnet.lint.rule import Fix, Report, Rule
from thinnet.lint.spelling import TRAINING
from thinnet.lint.tree import Tree


def forgets_training(node: cst.CSTNode, tree: Tree, default: bool) -> bool:
    """Says whether a call leaves `training` to a default, and nothing else in sight ties it to the mode.

    Args:
        node: the call.
        tree: the file.
        default: whether functions are meant that drop, or that do not drop, when nothing is said.
    """
    if not isinstance(node, cst.Call):
        return False
    place = TRAINING.get(tree.name(node.func) or "")
    if place is None or place[1] != default or not is_plain(node) or argument(node, "training", place[0]) is not None:
        return False
    p = rate(tree, node)
    unknown = isinstance(p, cst.Name) and isinstance(tree.value(p), cst.Name)  # the caller decides, or a branch
    off = tree.number(p) == 0
    return not (unknown or off or is_guarded(tree, node) or (p is not None and speaks_of_training(tree, p)))


class DropoutWithoutTraining(Rule):
    """## What it does
    Finds functions that drop unless told not to, such as `F.dropout`, called without `training`.

    ## Why is this bad?
    `training` is `True` by default there: `model.eval()` does not reach the call, and predictions stay random. Losses look
    right in training, so nobody notices.

    ## Example
    ```python
    x = F.dropout(x, p=0.5)
    ```

    ## Use instead
    ```python
    x = F.dropout(x, p=0.5, training=self.training)
    ```

    ## Fix safety
    Safe: training computes what it did, and eval becomes deterministic. Where dropout in eval is meant, write
    `training=True`. There is no fix outside of a module.

    ## References
    - pytorch/pytorch#26338, facebookresearch/DME#3
    """

    code = "THN101"

    def check(self, node: cst.CSTNode, tree: Tree) -> Iterator[Report]:
        """Yields the calls that drop in eval."""
        if isinstance(node, cst.Call) and forgets_training(node, tree, default=True):
            inside = tree.module_method(node) is not None
            fix = Fix((set_keyword(node, "training", "self.training"),), safe=True) if inside else None
            what = f"`{tree.code(node.func)}` without `training` drops in eval mode too"
            yield Report(node, f"{what}; pass `training={'self.training' if inside else '...'}`", fix)
