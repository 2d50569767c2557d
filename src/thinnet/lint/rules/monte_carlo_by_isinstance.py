"""THN111."""

from collections.abc import Iterator

import libcst as cst

from thinnet.lint.calls import is_true
from thinnet.lint.modes import calls_of, receiver
from thinnet.lint.rule import Report, Rule
from thinnet.lint.spelling import DROPOUT_LAYERS
from thinnet.lint.tree import Tree


def tested_layer(tree: Tree, test: cst.BaseExpression) -> str | None:
    """Returns the name `m` in a test `isinstance(m, nn.Dropout)`, where nothing but dropout layers is asked for."""
    if not (isinstance(test, cst.Call) and isinstance(test.func, cst.Name) and test.func.value == "isinstance"):
        return None
    if len(test.args) != 2 or not isinstance(test.args[0].value, cst.Name):
        return None
    kinds = tree.value(test.args[1].value)
    asked = [element.value for element in kinds.elements] if isinstance(kinds, cst.Tuple) else [kinds]
    return test.args[0].value.value if all(tree.name(kind) in DROPOUT_LAYERS for kind in asked) else None


class MonteCarloByIsinstance(Rule):
    """## What it does
    Finds dropout switched on for the modules that are an `nn.Dropout`.

    ## Why is this bad?
    It misses dropout that is no layer: in `nn.MultiheadAttention`, in `nn.LSTM`, in `scaled_dot_product_attention`, in
    `F.dropout`, and in classes such as `DropPath`. The samples then vary less than the method says, or not at all.

    ## Example
    ```python
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.train()
    ```

    ## Use instead
    ```python
    kinds = (nn.modules.dropout._DropoutNd, nn.MultiheadAttention, nn.RNNBase)
    for module in model.modules():
        if isinstance(module, kinds):
            module.train()
    ```

    ## Fix safety
    None: which layers shall be random is for the author to say, and functional dropout needs a change of the model.

    ## References
    - Gal and Ghahramani 2016, arXiv:1506.02142
    """

    code = "THN111"
    words = ("ropout", ".train|.training", "isinstance")
    kinds = (cst.If,)

    def check(self, node: cst.CSTNode, tree: Tree) -> Iterator[Report]:
        """Yields the conditions that choose too few."""
        name = tested_layer(tree, node.test) if isinstance(node, cst.If) else None
        if not isinstance(node, cst.If) or name is None:
            return
        called = any(
            isinstance(receiver(call), cst.Name) and tree.code(receiver(call)) == name
            for call in calls_of(tree, node.body, "train")
            if not call.args or is_true(call.args[0].value)
        )
        if called or self._sets(tree, node.body, name):
            yield Report(node.test, "this leaves attention, recurrent and functional dropout off; choose all that drops")

    def _sets(self, tree: Tree, body: cst.CSTNode, name: str) -> bool:
        return any(
            is_true(assign.value) and tree.code(target.target) == f"{name}.training"
            for assign in tree.under(body, cst.Assign)
            for target in assign.targets
        )
