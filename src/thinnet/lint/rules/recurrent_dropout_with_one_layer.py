from collections.abc import Iterator

import libcst as cst

from thinnet.lint.arguments import argument, has_no_unpacking
from thinnet.lint.modes import expects_error
from thinnet.lint.names import RECURRENT
from thinnet.lint.rates import number, numbers
from thinnet.lint.rule import Report
from thinnet.lint.rule_bases import RateRule
from thinnet.lint.tree import Tree


class RecurrentDropoutWithOneLayer(RateRule):
    """## What it does
    Finds `dropout` of an `nn.LSTM`, `nn.GRU` or `nn.RNN` with one layer.

    ## Why is this bad?
    This dropout is applied between layers. With one layer nothing is dropped, and PyTorch only warns once.

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

    def check_rate(self, p: cst.BaseExpression, call: cst.Call, tree: Tree) -> Iterator[Report]:
        if tree.name(call.func) not in RECURRENT or not has_no_unpacking(call):
            return
        layers = argument(call, "num_layers", 2)
        counts = [(1.0, call)] if layers is None else numbers(tree, layers)
        if not counts or any(count != 1 for count, _ in counts) or expects_error(tree, call):
            return
        if number(tree, p) == 0 or isinstance(tree.value(p), (cst.IfExp, cst.BooleanOperation)):
            return
        is_certain = layers is None or number(tree, layers) == 1
        if not is_certain and not any(size > 0 for size, _ in numbers(tree, p)):  # one layer and no dropout by default
            return
        message = "recurrent dropout applies between layers, and there is one layer; use more layers, or drop the output"
        cause = counts[0][1]
        is_default = isinstance(tree.parent(cause), cst.Param) and not is_certain  # other files may pass more layers
        yield Report(p, message, cause=cause, preview=is_default)
