from collections.abc import Iterator

import libcst as cst

from thinnet.lint.arguments import argument, has_no_unpacking, keyword
from thinnet.lint.calls import called
from thinnet.lint.fixes import Fix, insert_after
from thinnet.lint.layers import constructor
from thinnet.lint.literals import called_name
from thinnet.lint.modes import depends_on_caller, depends_on_mode, is_zero_here, varies_with_mode
from thinnet.lint.rates import ATTENTION, RATE_ARGUMENT, number
from thinnet.lint.rule import LintRule, Report
from thinnet.lint.tree import Tree, is_self, methods
from thinnet.lint.values import route, values

CONDITION = " if self.training else 0.0"


class AttentionDropoutInEval(LintRule[cst.Call]):
    """## What it does
    Finds a rate of `scaled_dot_product_attention`, or of a function of flash-attn or xformers, that does not depend on the
    mode.

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
    may_be_intended = True
    words = (
        "ropout|memory_efficient_attention",
        "scaled_dot_product_attention|flash_attn|memory_efficient_attention|dropout_p",
    )

    def check(self, node: cst.Call, tree: Tree) -> Iterator[Report]:
        if not has_no_unpacking(node) or tree.module_method(node) is None:
            return
        p = self._rate(tree, node)
        if p is None or depends_on_mode(tree, node) or is_zero_here(tree, node, p) or not self._is_fixed(tree, p):
            return
        problem = f"`{tree.code(node.func)}` drops in eval mode too"
        fix = Fix((insert_after(p, CONDITION),), safe=True)
        argument_name = next((arg.keyword.value for arg in node.args if arg.value is p and arg.keyword), "dropout_p")
        yield Report(node, f"{problem}; pass `{argument_name}={tree.code(p)}{CONDITION}`", fix)

    def _rate(self, tree: Tree, call: cst.Call) -> cst.BaseExpression | None:
        """Returns the rate of an attention function, or the `dropout_p` of a function of another file."""
        name = tree.name(call.func) or next(filter(None, map(tree.name, values(tree, call.func))), "")
        if name in ATTENTION:
            return argument(call, *RATE_ARGUMENT[name])
        given = keyword(call, "dropout_p")
        is_function = called(tree, call) is None and not called_name(call)[:1].isupper() and called_name(call) != "partial"
        return given.value if given is not None and is_function else None

    def _is_fixed(self, tree: Tree, p: cst.BaseExpression) -> bool:
        if number(tree, p) is not None:
            return number(tree, p) != 0
        owner = tree.owner(p)
        if owner is None or depends_on_caller(tree, p) or varies_with_mode(tree, p):
            return False
        if isinstance(p, cst.Attribute) and not is_self(p):
            return (p.attr.value == "p" and constructor(tree, p.value) is not None) or is_self(p.value)
        origin = next((part for part in route(tree, p) if is_self(part)), None)
        if origin is None or not tree.attribute(owner, origin.attr.value) or constructor(tree, origin) is not None:
            return False
        return all(method.name.value != origin.attr.value for method in methods(owner))
