from collections.abc import Iterator

import libcst as cst

from thinnet.lint.modes import is_in_no_grad, method_calls, receiver
from thinnet.lint.rule import LintRule, Report
from thinnet.lint.tree import Tree


class TrainingInEvalMode(LintRule[cst.For | cst.While]):
    """## What it does
    Finds training loops that call `model.eval()` but never `model.train()`.

    ## Why is this bad?
    After the first evaluation the model trains in eval mode: without dropout, and with frozen batch normalisation. The
    training loss falls faster, which looks like progress.

    ## Example
    ```python
    for epoch in range(epochs):
        for x, y in loader:
            loss(model(x), y).backward()
        model.eval()
        report(model(test))
    ```

    ## Use instead
    ```python
    for epoch in range(epochs):
        model.train()
        for x, y in loader:
            loss(model(x), y).backward()
        model.eval()
        report(model(test))
    ```

    ## Fix safety
    None: the author has to decide where training mode starts.

    ## References
    - Lightning-AI/pytorch-lightning#20105, NVIDIA/Megatron-LM#411
    """

    code = "THN109"
    words = (".eval(", ".backward(")
    kinds = (cst.For, cst.While)

    def check(self, node: cst.For | cst.While, tree: Tree) -> Iterator[Report]:
        if tree.above(node, cst.For, cst.While) is not None or not method_calls(tree, node, "backward"):
            return
        if method_calls(tree, node, "train"):
            return
        trained = {tree.code(call.func) for call in tree.under(node, cst.Call) if not is_in_no_grad(tree, call)}
        for call in method_calls(tree, node, "eval"):
            model = tree.code(receiver(call))
            if not call.args and model in trained:
                yield Report(call, f"`{model}` trains in eval mode after this line; call `{model}.train()` in the loop")
