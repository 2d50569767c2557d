from collections.abc import Iterator

import libcst as cst

from thinnet.lint.arguments import has_no_unpacking
from thinnet.lint.modes import expects_error
from thinnet.lint.names import DROPOUT_LAYERS
from thinnet.lint.rates import number
from thinnet.lint.rule import LintRule, Report
from thinnet.lint.tree import Tree


class TensorPassedToConstructor(LintRule[cst.Call]):
    """## What it does
    Finds `nn.Dropout(x, 0.5)`: the arguments of the function in a call of the layer's constructor.

    ## Why is this bad?
    The tensor becomes the rate, and 0.5 becomes `inplace`. The line raises an error, or returns a layer instead of a
    tensor.

    ## Example
    ```python
    x = nn.Dropout(x, 0.5)
    ```

    ## Use instead
    ```python
    x = F.dropout(x, 0.5, training=self.training)
    ```

    ## Fix safety
    None: the layer should be created in `__init__`.

    ## References
    - <https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout.html>
    """

    code = "THN504"

    def check(self, node: cst.Call, tree: Tree) -> Iterator[Report]:
        if tree.name(node.func) not in DROPOUT_LAYERS or not has_no_unpacking(node):
            return
        if len(node.args) < 2 or any(arg.keyword for arg in node.args[:2]) or expects_error(tree, node):
            return
        second = number(tree, node.args[1].value)
        if second is not None and second not in (0, 1):
            problem = f"`{tree.code(node.func)}` takes a rate and `inplace`, not a tensor"
            yield Report(node, f"{problem}; create it in `__init__` and call it here")
