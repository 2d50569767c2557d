from collections.abc import Iterator

import libcst as cst

from thinnet.lint.arguments import argument
from thinnet.lint.dataflow import DROPOUTS, RESHAPES, Operation, before, is_attention
from thinnet.lint.literals import called_name
from thinnet.lint.rates import number
from thinnet.lint.rule import Report
from thinnet.lint.rule_bases import OperationRule
from thinnet.lint.tree import Tree

PRODUCTS = frozenset("matmul bmm einsum mul mm baddbmm dot spmm scatter_add index_add weighted_sum".split())


class DropoutAfterSoftmax(OperationRule):
    """## What it does
    Finds dropout on the probabilities of an output layer. Attention weights are not reported.

    ## Why is this bad?
    The result is not a distribution: it does not sum to 1, and a dropped class has probability 0 and an infinite log
    loss.

    ## Example
    ```python
    nn.Sequential(nn.Linear(64, 10), nn.Softmax(dim=-1), nn.Dropout(0.5))
    ```

    ## Use instead
    ```python
    nn.Sequential(nn.Dropout(0.5), nn.Linear(64, 10), nn.Softmax(dim=-1))
    ```

    ## Fix safety
    None: another order of layers is another network.

    ## References
    - Srivastava et al. 2014, JMLR 15:1929, who drop inputs and hidden units
    """

    code = "THN203"
    words = ("ropout", "oftmax")
    operations = DROPOUTS

    def check_operation(self, op: Operation, tree: Tree) -> Iterator[Report]:
        for source in before(tree, op, RESHAPES):
            linear = [
                prior for prior in before(tree, source, RESHAPES) if prior.name == "linear" and not self._scores(tree, prior)
            ]
            is_output = source.name == "logsoftmax" or (source.name == "softmax" and bool(linear))
            if is_output and not is_attention(tree, op) and not self._weighs(tree, op.node):
                message = "after dropout the probabilities do not sum to 1; drop before the last linear layer"
                yield Report(op.node, message, cause=op.options)
                return

    def _scores(self, tree: Tree, linear: Operation) -> bool:
        """Returns whether a linear layer gives one score for each item, as additive attention does."""
        return number(tree, argument(linear.options, "out_features", 1)) == 1

    def _weighs(self, tree: Tree, node: cst.BaseExpression) -> bool:
        """Returns whether a result is a factor of a product: then it is a weight, and not an output."""
        uses: list[cst.CSTNode] = [node]
        statement = tree.parent(node)
        function = tree.above(node, cst.FunctionDef)
        if isinstance(statement, cst.Assign) and isinstance(statement.targets[0].target, cst.Name) and function is not None:
            name = statement.targets[0].target.value
            uses = [use for use in tree.under(function.body, cst.Name) if use.value == name]
        return any(self._is_factor(tree, use) for use in uses)

    def _is_factor(self, tree: Tree, node: cst.CSTNode) -> bool:
        around = tree.parent(node)
        while isinstance(around, (cst.Arg, cst.Attribute, cst.Call)):
            if isinstance(around, cst.Call) and called_name(around) in PRODUCTS:
                return True
            around = tree.parent(around)
        is_product = isinstance(around, cst.BinaryOperation)
        return is_product and isinstance(around.operator, (cst.Multiply, cst.MatrixMultiply))
