import re
from collections.abc import Iterator

import libcst as cst

from thinnet.lint.fixes import Fix, replace
from thinnet.lint.modes import name_of
from thinnet.lint.rates import number
from thinnet.lint.rule import Report
from thinnet.lint.rule_bases import RateRule
from thinnet.lint.tree import Tree
from thinnet.lint.values import route

KEEPS = re.compile(r"keep(?:s|p|prob\w*|ratio|rate)?|retain|survival|survive")
NO_KEEPS = frozenset("dim dims not no non tokens topk top k best last going".split())  # `keep_dim` is no probability
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
        for given in route(tree, p):
            text = None
            if is_keep(name_of(given)):
                text = f"1 - {tree.code(given)}"
            elif isinstance(given, cst.BinaryOperation) and isinstance(given.operator, cst.Subtract):
                is_rate = number(tree, given.left) == 1 and DROPS.fullmatch(name_of(given.right))
                text = tree.code(given.right) if is_rate else None
            if text is not None:
                problem = f"`{tree.code(given)}` is the probability of keeping, but the argument is the probability of dropping"
                fix = Fix((replace(p, text),), safe=False) if given is p else None
                yield Report(p, f"{problem}; pass `{text}`", fix, given)
                return


def is_keep(name: str) -> bool:
    """Returns whether a name is that of a keep probability: `keep_prob`, `dropout_keep`, `retain_rate`, `pKeep`."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().split("_")
    return any(KEEPS.fullmatch(word) for word in words) and not NO_KEEPS & set(words)
