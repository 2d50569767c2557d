from collections.abc import Iterator

import libcst as cst

from thinnet.lint.arguments import argument, has_no_unpacking
from thinnet.lint.dataflow import constructor
from thinnet.lint.fixes import Fix, insert_after
from thinnet.lint.modes import depends_on_mode, mentions_training
from thinnet.lint.rates import ATTENTION
from thinnet.lint.rule import LintRule, Report
from thinnet.lint.tree import Tree, is_self, methods

CONDITION = " if self.training else 0.0"


class AttentionDropoutInEval(LintRule[cst.Call]):
    """## What it does
    Finds a `dropout_p` of `scaled_dot_product_attention` or of a flash-attn function that does not depend on the mode.

    ## Why is this bad?
    These functions do not know about `model.eval()`. They drop whenever `dropout_p` is above 0.

    ## Example
    ```python
    y = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout)
    ```

    ## Use instead
    ```python
    y = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout if self.training else 0.0)
    ```

    ## Fix safety
    Safe: training is unchanged, and eval mode becomes deterministic.

    ## References
    - pytorch/pytorch#124464, karpathy/nanoGPT#240, huggingface/pytorch-image-models#1978
    """

    code = "THN104"
    words = ("ropout", "scaled_dot_product_attention|flash_attn")

    def check(self, node: cst.Call, tree: Tree) -> Iterator[Report]:
        position = ATTENTION.get(tree.name(node.func) or "")
        if position is None or not has_no_unpacking(node) or tree.module_method(node) is None:
            return
        p = argument(node, "dropout_p", position)
        if p is None or depends_on_mode(tree, node) or not self._is_fixed(tree, p):
            return
        problem = f"`{tree.code(node.func)}` drops in eval mode too"
        fix = Fix((insert_after(p, CONDITION),), safe=True)
        yield Report(node, f"{problem}; pass `dropout_p={tree.code(p)}{CONDITION}`", fix)

    def _is_fixed(self, tree: Tree, p: cst.BaseExpression) -> bool:
        number = tree.number(p)
        if number is not None:
            return number != 0
        owner = tree.owner(p)
        if not isinstance(p, cst.Attribute) or owner is None or mentions_training(tree, p):
            return False
        if not is_self(p):  # `self.drop.p`
            return p.attr.value == "p" and constructor(tree, p.value) is not None
        assigned = tree.attribute(owner, p.attr.value)
        known = bool(assigned) and all(value is not None and not mentions_training(tree, value) for value in assigned)
        is_method = any(method.name.value == p.attr.value for method in methods(owner))
        return known and constructor(tree, p) is None and not is_method
