"""THN109."""

from collections.abc import Iterator

import libcst as cst

from thinnet.lint.modes import calls_of, is_without_gradients, receiver
from thinnet.lint.rule import Report, Rule
from thinnet.lint.tree import Tree


class TrainingLeftInEval(Rule):
    """## What it does
    Finds training loops that call `model.eval()` and never `model.train()`.

    ## Why is this bad?
    After the first evaluation the model is trained in eval mode: without dropout, and with frozen batch normalisation. The
    loss falls faster than before, which looks like good news.

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
    None: where training begins is for the author to say.

    ## References
    - Lightning-AI/pytorch-lightning#20105, NVIDIA/Megatron-LM#411
    """

    code = "THN109"
    words = (".eval(", ".backward(")
    kinds = (cst.For, cst.While)

    def check(self, node: cst.CSTNode, tree: Tree) -> Iterator[Report]:
        """Yields the switches to eval that nothing takes back."""
        if tree.above(node, cst.For, cst.While) is not None or not calls_of(tree, node, "backward"):
            return
        if calls_of(tree, node, "train"):
            return
        trained = {tree.code(call.func) for call in tree.under(node, cst.Call) if not is_without_gradients(tree, call)}
        for call in calls_of(tree, node, "eval"):
            model = tree.code(receiver(call))
            if not call.args and model in trained:
                yield Report(call, f"`{model}` is trained in eval mode from here on; call `{model}.train()` in the loop, too")
