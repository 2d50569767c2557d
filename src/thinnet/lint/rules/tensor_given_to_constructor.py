"""THN504."""

from collections.abc import Iterator

import libcst as cst

from thinnet.lint.calls import is_plain
from thinnet.lint.modes import expects_error
from thinnet.lint.rule import Report, Rule
from thinnet.lint.spelling import DROPOUT_LAYERS
from thinnet.lint.tree import Tree


class TensorGivenToConstructor(Rule):
    """## What it does
    Finds `nn.Dropout(x, 0.5)`: the arguments of the function at the constructor of the layer.

    ## Why is this bad?
    The tensor is taken for the rate and 0.5 for `inplace`. It is an error, or a layer where a tensor is wanted.

    ## Example
    ```python
    x = nn.Dropout(x, 0.5)
    ```

    ## Use instead
    ```python
    x = F.dropout(x, 0.5, training=self.training)
    ```

    ## Fix safety
    None: the layer belongs into `__init__`.

    ## References
    - <https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout.html>
    """

    code = "THN504"

    def check(self, node: cst.CSTNode, tree: Tree) -> Iterator[Report]:
        """Yields the constructors that were taken for functions."""
        if not isinstance(node, cst.Call) or tree.name(node.func) not in DROPOUT_LAYERS or not is_plain(node):
            return
        if len(node.args) < 2 or any(arg.keyword for arg in node.args[:2]) or expects_error(tree, node):
            return
        second = tree.number(node.args[1].value)
        if second is not None and second not in (0, 1):
            name = tree.code(node.func)
            yield Report(node, f"`{name}` takes a rate and `inplace`, no tensor; make it in `__init__` and call it here")
