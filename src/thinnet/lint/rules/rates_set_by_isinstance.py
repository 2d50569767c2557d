"""THN308."""

from collections.abc import Iterator

import libcst as cst

from thinnet.lint.rule import Report, Rule
from thinnet.lint.rules.monte_carlo_by_isinstance import tested_layer
from thinnet.lint.tree import Tree


class RatesSetByIsinstance(Rule):
    """## What it does
    Finds rates that are set on the modules that are an `nn.Dropout`.

    ## Why is this bad?
    It misses rates that are no layer's: `nn.MultiheadAttention.dropout`, `nn.LSTM.dropout`, and the numbers that modules
    hand to `F.dropout` and `scaled_dot_product_attention`. A rate of 0 that is set for an evaluation outlasts it.

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
    None: which rates shall change is for the author to say.

    ## References
    - pytorch/torchtune#2378
    """

    code = "THN308"
    words = ("ropout", ".p =|.p=", "isinstance")
    kinds = (cst.If,)
    preview = True

    def check(self, node: cst.CSTNode, tree: Tree) -> Iterator[Report]:
        """Yields the conditions that choose too few."""
        name = tested_layer(tree, node.test) if isinstance(node, cst.If) else None
        if not isinstance(node, cst.If) or name is None or node.orelse is not None:
            return
        assigns = tree.under(node.body, cst.Assign)
        if any(tree.code(target.target) == f"{name}.p" for assign in assigns for target in assign.targets):
            yield Report(node.test, "this leaves the rates of attention, recurrent and functional dropout as they are")
