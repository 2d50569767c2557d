"""THN305."""

from collections.abc import Iterator

import libcst as cst

from thinnet.lint.calls import argument, is_plain
from thinnet.lint.modes import expects_error
from thinnet.lint.rates import rate
from thinnet.lint.rule import Report, Rule
from thinnet.lint.spelling import RECURRENT
from thinnet.lint.tree import Tree


class RecurrentDropoutWithOneLayer(Rule):
    """## What it does
    Finds `dropout` at an `nn.LSTM`, `nn.GRU` or `nn.RNN` of one layer.

    ## Why is this bad?
    It is dropout between layers. With one layer there is no between, and nothing is dropped; PyTorch warns, once.

    ## Example
    ```python
    self.rnn = nn.LSTM(64, 64, dropout=0.5)
    ```

    ## Use instead
    ```python
    self.rnn = nn.LSTM(64, 64, num_layers=2, dropout=0.5)
    ```

    ## Fix safety
    None: a second layer, or dropout on the output, is another network.

    ## References
    - pytorch/pytorch#5985, pyro-ppl/pyro#1415
    """

    code = "THN305"
    words = ("dropout", "LSTM|GRU|RNN")

    def check(self, node: cst.CSTNode, tree: Tree) -> Iterator[Report]:
        """Yields the rates that do nothing."""
        if not isinstance(node, cst.Call) or tree.name(node.func) not in RECURRENT or not is_plain(node):
            return
        p, layers = rate(tree, node), argument(node, "num_layers", 2)
        if p is None or (layers is not None and tree.number(layers) != 1) or expects_error(tree, node):
            return
        number = tree.number(p)
        if number == 0 or isinstance(tree.value(p), (cst.IfExp, cst.BooleanOperation)):
            return
        yield Report(p, "dropout of a recurrent layer is between its layers, and there is one; use more, or drop its output")
