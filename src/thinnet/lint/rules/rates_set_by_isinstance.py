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
        sets_rate = any(tree.code(target.target) == f"{name}.p" for assign in assigns for target in assign.targets)
        if sets_rate and branch.orelse is None:
            message = "this misses the rates of attention, recurrent and functional dropout; set those too"
            yield Report(branch.test, message)
