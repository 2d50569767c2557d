import re
from collections.abc import Iterator

import libcst as cst

from thinnet.lint.fixes import Fix, replace
from thinnet.lint.modes import last_name
from thinnet.lint.rule import Report
from thinnet.lint.rule_bases import RateRule
from thinnet.lint.tree import Tree

KEEPS = re.compile(r"(?:.*_)?(?:keep_?prob(?:ability|s)?|keep_rate|p_keep|prob_keep|retain_prob)(?:_.*)?", re.IGNORECASE)
DROPS = re.compile(r"(?:.*_)?(?:p_?drop|drop_?p|drop_?(?:out)?(?:_?(?:rate|prob|p|ratio))?)", re.IGNORECASE)


class KeepProbabilityAsRate(RateRule):
    """## What it does
    Finds a keep probability, such as `keep_prob` or `1 - dropout`, passed as the probability of dropping.

    ## Why is this bad?
    The network drops what it should keep. With a keep probability of 0.8 it trains on a fifth of its units.

    ## Example
    ```python
    self.drop = nn.Dropout(keep_prob)
    ```

    ## Use instead
    ```python
    self.drop = nn.Dropout(1 - keep_prob)
    ```

    ## Fix safety
    Unsafe: the name may be wrong instead of the value.

    ## References
    - TensorFlow 1 `nn.dropout(x, keep_prob)`. Papers before 2016 also give the keep probability
    """

    code = "THN301"

    def check_rate(self, p: cst.BaseExpression, call: cst.Call, tree: Tree) -> Iterator[Report]:
        text = None
        if KEEPS.fullmatch(last_name(p)):
            text = f"1 - {tree.code(p)}"
        elif isinstance(p, cst.BinaryOperation) and isinstance(p.operator, cst.Subtract) and tree.number(p.left) == 1:
            text = tree.code(p.right) if DROPS.fullmatch(last_name(p.right)) else None
        if text is not None:
            problem = f"`{tree.code(p)}` is the probability of keeping, but the argument is the probability of dropping"
            yield Report(p, f"{problem}; pass `{text}`", Fix((replace(p, text),), safe=False))
