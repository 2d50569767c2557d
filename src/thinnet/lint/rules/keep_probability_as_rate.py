"""THN301."""

import re
from collections.abc import Iterator

import libcst as cst

from thinnet.lint.changes import replace
from thinnet.lint.modes import last_name
from thinnet.lint.rates import rate
from thinnet.lint.rule import Fix, Report, Rule
from thinnet.lint.tree import Tree

KEEPS = re.compile(r"(?:.*_)?(?:keep_?prob(?:ability|s)?|keep_rate|p_keep|prob_keep|retain_prob)(?:_.*)?", re.IGNORECASE)
DROPS = re.compile(r"(?:.*_)?(?:p_?drop|drop_?p|drop_?(?:out)?(?:_?(?:rate|prob|p|ratio))?)", re.IGNORECASE)


class KeepProbabilityAsRate(Rule):
    """## What it does
    Finds a keep probability where PyTorch takes the probability of dropping: `keep_prob`, or `1 - dropout`.

    ## Why is this bad?
    The network drops what it should keep. With 0.8 it trains on a fifth of its units.

    ## Example
    ```python
    self.drop = nn.Dropout(keep_prob)
    ```

    ## Use instead
    ```python
    self.drop = nn.Dropout(1 - keep_prob)
    ```

    ## Fix safety
    Unsafe: the name may be wrong, and not the value.

    ## References
    - TensorFlow 1 `nn.dropout(x, keep_prob)`; papers before 2016 give the keep probability, too
    """

    code = "THN301"

    def check(self, node: cst.CSTNode, tree: Tree) -> Iterator[Report]:
        """Yields the rates that are the other way round."""
        p = rate(tree, node) if isinstance(node, cst.Call) else None
        if p is None:
            return
        text = None
        if KEEPS.fullmatch(last_name(p)):
            text = f"1 - {tree.code(p)}"
        elif isinstance(p, cst.BinaryOperation) and isinstance(p.operator, cst.Subtract) and tree.number(p.left) == 1:
            text = tree.code(p.right) if DROPS.fullmatch(last_name(p.right)) else None
        if text is not None:
            what = f"`{tree.code(p)}` is a probability of keeping, and the rate is that of dropping"
            yield Report(p, f"{what}; pass `{text}`", Fix((replace(p, text),), safe=False))
