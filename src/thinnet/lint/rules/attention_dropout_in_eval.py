"""THN104."""

from collections.abc import Iterator

import libcst as cst

from thinnet.lint.calls import argument, is_plain
from thinnet.lint.changes import insert_after
from thinnet.lint.flow import layer
from thinnet.lint.modes import is_guarded, speaks_of_training
from thinnet.lint.rates import ATTENTION
from thinnet.lint.rule import Fix, Report, Rule
from thinnet.lint.tree import Tree, is_self, methods

SWITCH = " if self.training else 0.0"


class AttentionDropoutInEval(Rule):
    """## What it does
    Finds `dropout_p` of `scaled_dot_product_attention` and of flash-attn's functions that does not depend on the mode.

    ## Why is this bad?
    These functions know nothing of `model.eval()`: they drop whenever `dropout_p` is above 0.

    ## Example
    ```python
    y = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout)
    ```

    ## Use instead
    ```python
    y = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout if self.training else 0.0)
    ```

    ## Fix safety
    Safe: training computes what it did, and eval becomes deterministic.

    ## References
    - pytorch/pytorch#124464, karpathy/nanoGPT#240, huggingface/pytorch-image-models#1978
    """

    code = "THN104"
    words = ("ropout", "scaled_dot_product_attention|flash_attn")

    def check(self, node: cst.CSTNode, tree: Tree) -> Iterator[Report]:
        """Yields the calls whose rate is the same in both modes."""
        place = ATTENTION.get(tree.name(node.func) or "") if isinstance(node, cst.Call) else None
        if not isinstance(node, cst.Call) or place is None or not is_plain(node) or tree.module_method(node) is None:
            return
        p = argument(node, "dropout_p", place)
        if p is None or is_guarded(tree, node) or not self._is_fixed(tree, p):
            return
        what = f"`{tree.code(node.func)}` drops in eval mode too"
        yield Report(node, f"{what}; pass `dropout_p={tree.code(p)}{SWITCH}`", Fix((insert_after(p, SWITCH),), safe=True))

    def _is_fixed(self, tree: Tree, p: cst.BaseExpression) -> bool:
        number = tree.number(p)
        if number is not None:
            return number != 0
        owner = tree.owner(p)
        if not isinstance(p, cst.Attribute) or owner is None or speaks_of_training(tree, p):
            return False
        if not is_self(p):  # `self.drop.p`
            return p.attr.value == "p" and layer(tree, p.value) is not None
        assigned = tree.attribute(owner, p.attr.value)
        known = bool(assigned) and all(value is not None and not speaks_of_training(tree, value) for value in assigned)
        return known and layer(tree, p) is None and all(method.name.value != p.attr.value for method in methods(owner))
