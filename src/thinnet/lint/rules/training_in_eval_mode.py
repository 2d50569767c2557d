from collections.abc import Iterator

import libcst as cst

from thinnet.lint.evaluation import (
    is_by_mode,
    is_model,
    is_switched,
    model_of,
)
from thinnet.lint.model_modes import is_calm, modes, unit
from thinnet.lint.modes import is_before, is_in_no_grad, method_calls
from thinnet.lint.rule import LintRule, Report
from thinnet.lint.tree import Tree


class TrainingInEvalMode(LintRule[cst.Call]):
    """## What it does
    Finds training loops in which `eval()` is called, also by a called function, and `train()` is not called after it.

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

    def check(self, node: cst.Call, tree: Tree) -> Iterator[Report]:
        loop = tree.above(node, cst.For, cst.While)
        if loop is None or not (is_model(tree, node) or is_switched(tree, node)) or is_in_no_grad(tree, node):
            return
        if is_calm(tree, model_of(node)):
            return
        here = unit(tree, node)
        body = loop if tree.above(loop, cst.FunctionDef) is tree.above(node, cst.FunctionDef) else here
        if not method_calls(tree, body, "backward"):
            return
        model = tree.code(model_of(node))
        key = (f"trained {model}", id(here))
        if key in tree.memory:  # one finding for a model in a function
            return
        tree.memory[key] = True
        found = modes(tree, node, model)
        for mode in found:
            if mode.state == "eval" and self._comes_back(tree, mode.node, node) and not is_by_mode(tree, mode.node, node):
                message = f"`{model}` trains in eval mode after this line; call `{model}.train()` in the loop"
                yield Report(mode.node, message, cause=node)
                return

    def _comes_back(self, tree: Tree, eval_call: cst.CSTNode, training: cst.CSTNode) -> bool:
        """Returns whether a mode is set after the training call, or in another function: then a loop leads back to it."""
        if unit(tree, eval_call) is not unit(tree, training):
            return True
        made = next(tree.under(eval_call, cst.Call), eval_call)  # in an assignment, the call that makes the model
        return is_before(tree, training, made)
