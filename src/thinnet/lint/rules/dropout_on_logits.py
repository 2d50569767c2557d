import re
from collections.abc import Iterator

import libcst as cst

from thinnet.lint.arguments import argument
from thinnet.lint.dataflow import DROPOUTS, RESHAPES, Operation, before, is_attention, operations, predecessors, producers
from thinnet.lint.modes import last_name
from thinnet.lint.rates import is_active
from thinnet.lint.rule import LintRule, Report
from thinnet.lint.tree import Tree

SINKS = frozenset(
    "softmax logsoftmax crossentropy crossentropyloss nllloss binarycrossentropywithlogits bcewithlogitsloss mseloss l1loss "
    "smoothl1loss huberloss".split()
)
HEADS = re.compile(
    r"(?!.*Attention)(?!.*(?:Projection|Attn|Multi)Heads?$).*(?:Heads?|Classifier|Classification|Regressor|Predictor)"
)
CLASSES = re.compile(r"(?:.*_)?(?:n|num|nb|nr)_?(?:class|classes|label|labels|tags|categories|out_classes)|(?:.*_)?vocab_size")


class DropoutOnLogits(LintRule[cst.Call | cst.Return]):
    """## What it does
    Finds dropout between the last linear layer and the softmax, the loss or the result of an output layer.

    ## Why is this bad?
    A dropped logit is 0, which is a valid logit: the class gets an arbitrary probability. The loss becomes noisy, and no
    later layer can learn from the noise.

    ## Example
    ```python
    loss = F.cross_entropy(self.drop(self.output(x)), y)
    ```

    ## Use instead
    ```python
    loss = F.cross_entropy(self.output(self.drop(x)), y)
    ```

    ## Fix safety
    None: another order of layers is another network.

    ## References
    - Srivastava et al. 2014, JMLR 15:1929, who drop inputs and hidden units
    """

    code = "THN202"
    kinds = (cst.Call, cst.Return)

    def check(self, node: cst.Call | cst.Return, tree: Tree) -> Iterator[Report]:
        if isinstance(node, cst.Return):
            dropped = producers(tree, node.value) if tree.is_in_forward(node) else []
            is_head = HEADS.fullmatch(getattr(tree.owner(node), "name", cst.Name("x")).value) is not None
            yield from self._on_output(tree, dropped, is_head)
            return
        for op in operations(tree, node):
            if op.name in SINKS and not (op.name == "softmax" and is_attention(tree, op)):
                yield from self._on_output(tree, before(tree, op, RESHAPES), True)

    def _on_output(self, tree: Tree, dropped: list[Operation], is_output: bool) -> Iterator[Report]:
        """Yields the dropout whose input is the output of a linear layer that computes logits."""
        for dropout in dropped:
            is_output_dropout = is_active(tree, dropout, DROPOUTS) and not is_attention(tree, dropout)
            for source in predecessors(tree, dropout) if is_output_dropout else ():
                if source.name == "linear" and (is_output or self._counts_classes(source)):
                    message = "dropout on logits makes the loss noisy; drop before the last linear layer"
                    yield Report(dropout.node, message, cause=dropout.options)

    def _counts_classes(self, source: Operation) -> bool:
        size = argument(source.options, "out_features", 1)
        return size is not None and CLASSES.fullmatch(last_name(size)) is not None
