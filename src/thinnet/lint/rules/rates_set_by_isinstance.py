import re
from collections.abc import Iterator

import libcst as cst

from thinnet.lint.rule import Report
from thinnet.lint.rule_bases import IsinstanceRule
from thinnet.lint.tree import Tree


class RatesSetByIsinstance(IsinstanceRule):
    """## What it does
    Finds code that sets the rate only on instances of `nn.Dropout`.

    ## Why is this bad?
    It misses all other rates: `nn.MultiheadAttention.dropout`, `nn.LSTM.dropout`, and the numbers that modules pass to
    `F.dropout` and `scaled_dot_product_attention`. A rate of 0 that is set for an evaluation also stays.

    ## Example
    ```python
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.1
    ```

    ## Use instead
    ```python
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.1
        elif isinstance(module, (nn.MultiheadAttention, nn.RNNBase)):
            module.dropout = 0.1
    ```

    ## Fix safety
    None: the author has to decide which rates change.

    ## References
    - pytorch/torchtune#2378
    """

    code = "THN308"
    words = ("ropout", ".p =|.p=", "isinstance")
    preview = True

    def check_branch(self, name: str, branch: cst.If, tree: Tree) -> Iterator[Report]:
        assigns = tree.under(branch.body, cst.Assign)
        given = [one.value for one in assigns for target in one.targets if tree.code(target.target) == f"{name}.p"]
        if not given or branch.orelse is not None or self._is_own(tree, branch):
            return
        statements = (*tree.under(branch.body, cst.Assign), *tree.under(branch.body, cst.AnnAssign))
        keeps = any(one.value is not None and tree.code(one.value) == f"{name}.p" for one in statements)
        if keeps or any(self._is_saved(tree, value, name) for value in given):
            return
        message = "this misses the rates of attention, recurrent and functional dropout; set those too"
        yield Report(branch.test, message)

    def _is_own(self, tree: Tree, branch: cst.If) -> bool:
        """Returns whether the loop runs over the layers of the class itself, which knows its layers."""
        loop = tree.above(branch, cst.For)
        return (
            loop is not None
            and re.match(r"self(?:\.\w+)*\.(?:named_)?(?:modules|children)\(", tree.code(loop.iter)) is not None
        )

    def _is_saved(self, tree: Tree, value: cst.BaseExpression, name: str) -> bool:
        """Returns whether a rate is put back: it is an attribute of the module, or an item of what was saved."""
        return isinstance(value, cst.Subscript) or any(
            isinstance(part.value, cst.Name) and part.value.value == name for part in tree.under(value, cst.Attribute)
        )
