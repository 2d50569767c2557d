import re
from collections.abc import Iterator

import libcst as cst

from thinnet.lint.arguments import keyword
from thinnet.lint.fixes import Fix, replace
from thinnet.lint.modes import expects_error
from thinnet.lint.names import DROPOUT_LAYERS
from thinnet.lint.rates import FUNCTIONS
from thinnet.lint.rule import LintRule, Report
from thinnet.lint.tree import Tree

RATES = ("rate", "drop_rate", "dropout_rate", "drop_prob", "dropout_prob", "dropout")
KEEPS = ("keep_prob", "keep_probability")
TENSORFLOW_1 = re.compile(
    r"\b(?:tf|tensorflow)\.(?:placeholder|Session|contrib|get_variable|variable_scope|app\.|flags|global_variables|Graph\(|"
    r"nn\.rnn_cell|layers\.|InteractiveSession|truncated_normal)"
)
UNSUPPORTED = ("noise_shape", "seed")


class TensorflowArgument(LintRule[cst.Call]):
    """## What it does
    Finds TensorFlow's arguments `keep_prob`, `rate`, `noise_shape` and `seed` in calls of PyTorch's dropout, and
    `keep_prob` in calls of `tf.nn.dropout`, which takes `rate` since TensorFlow 2.

    ## Why is this bad?
    The line raises a `TypeError`. An argument named `rate` is sometimes the probability of keeping.

    ## Example
    ```python
    self.drop = nn.Dropout(keep_prob=0.8)
    ```

    ## Use instead
    ```python
    self.drop = nn.Dropout(p=1 - 0.8)
    ```

    ## Fix safety
    Safe: the line raises an error without it. `noise_shape` and `seed` have no fix, because PyTorch does not have them.

    ## References
    - <https://www.tensorflow.org/api_docs/python/tf/nn/dropout>
    """

    code = "THN501"

    def check(self, node: cst.Call, tree: Tree) -> Iterator[Report]:
        name = tree.name(node.func)
        if name is None or expects_error(tree, node):
            return
        if name in DROPOUT_LAYERS | FUNCTIONS:
            yield from self._renamed(tree, node, RATES, "p", "")
            yield from self._renamed(tree, node, KEEPS, "p", "1 - ")
            for word in UNSUPPORTED:
                if keyword(node, word) is not None:
                    yield Report(node, f"PyTorch's dropout has no argument `{word}`")
        elif name == "tensorflow.nn.dropout" and not TENSORFLOW_1.search(tree.text):
            yield from self._renamed(tree, node, KEEPS, "rate", "1 - ")

    def _renamed(self, tree: Tree, call: cst.Call, words: tuple[str, ...], name: str, before: str) -> Iterator[Report]:
        for word in words:
            arg = keyword(call, word)
            if arg is not None and arg.keyword is not None:
                text = f"{before}{self._operand(tree, arg.value) if before else tree.code(arg.value)}"
                fix = Fix((replace(arg.keyword, name), replace(arg.value, text)), safe=True)
                yield Report(call, f"there is no argument `{word}`; write `{name}={text}`", fix)

    def _operand(self, tree: Tree, node: cst.BaseExpression) -> str:
        simple = isinstance(node, (cst.Name, cst.Attribute, cst.Integer, cst.Float, cst.Call, cst.Subscript))
        return tree.code(node) if simple or node.lpar else f"({tree.code(node)})"  # pyright: ignore
