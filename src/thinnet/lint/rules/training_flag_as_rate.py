from collections.abc import Iterator

import libcst as cst

from thinnet.lint.arguments import is_false, is_true, keyword
from thinnet.lint.fixes import Fix, insert_before
from thinnet.lint.modes import last_name
from thinnet.lint.rule import Report
from thinnet.lint.rule_bases import RateRule
from thinnet.lint.tree import Tree


class TrainingFlagAsRate(RateRule):
    """## What it does
    Finds `training`, `True` or `False` passed as the rate.

    ## Why is this bad?
    The second argument of `F.dropout` is the rate. In training, `self.training` is a rate of 1: every unit is dropped, and
    the network cannot learn. In eval mode it is a rate of 0, which hides the mistake.

    ## Example
    ```python
    x = F.dropout(x, self.training)
    ```

    ## Use instead
    ```python
    x = F.dropout(x, training=self.training)
    ```

    ## Fix safety
    Unsafe: training then uses the default rate.

    ## References
    - <https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.dropout.html>
    """

    code = "THN304"

    def check_rate(self, p: cst.BaseExpression, call: cst.Call, tree: Tree) -> Iterator[Report]:
        if not (last_name(p) in ("training", "is_training", "train") or is_true(p) or is_false(p)):
            return
        is_function = (tree.name(call.func) or "").startswith("torch.nn.functional.dropout")
        is_fixable = is_function and len(call.args) == 2 and keyword(call, "p") is None
        fix = Fix((insert_before(p, "training="),), safe=False) if is_fixable else None
        yield Report(p, f"`{tree.code(p)}` is passed as the rate; pass the rate here, and `training=` by name", fix)
