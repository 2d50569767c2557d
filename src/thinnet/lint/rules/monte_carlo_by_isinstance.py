from collections.abc import Iterator

import libcst as cst

from thinnet.lint.arguments import is_true
from thinnet.lint.modes import method_calls, receiver
from thinnet.lint.rule import Report
from thinnet.lint.rule_bases import IsinstanceRule
from thinnet.lint.tree import Tree


class MonteCarloByIsinstance(IsinstanceRule):
    """## What it does
    Finds code that switches dropout on only for instances of `nn.Dropout`.

    ## Why is this bad?
    It misses all other dropout: in `nn.MultiheadAttention`, `nn.LSTM`, `scaled_dot_product_attention`, `F.dropout`, and in
    classes such as `DropPath`. The samples then vary too little, or not at all.

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
    None: the author has to decide which layers are random, and functional dropout needs a change of the model.

    ## References
    - Gal and Ghahramani 2016, arXiv:1506.02142
    """

    code = "THN111"
    words = ("ropout", ".train|.training", "isinstance")

    def check_branch(self, name: str, branch: cst.If, tree: Tree) -> Iterator[Report]:
        calls_train = any(
            isinstance(receiver(call), cst.Name) and tree.code(receiver(call)) == name
            for call in method_calls(tree, branch.body, "train")
            if not call.args or is_true(call.args[0].value)
        )
        sets_training = any(
            is_true(assign.value) and tree.code(target.target) == f"{name}.training"
            for assign in tree.under(branch.body, cst.Assign)
            for target in assign.targets
        )
        if calls_train or sets_training:
            message = "this misses attention, recurrent and functional dropout; select every module that drops"
            yield Report(branch.test, message)
