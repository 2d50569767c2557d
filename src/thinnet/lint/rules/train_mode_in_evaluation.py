from collections.abc import Iterator

import libcst as cst

from thinnet.lint.evaluation import (
    EVALUATIONS,
    OTHERS,
    is_by_mode,
    is_model,
    model_of,
    trains,
)
from thinnet.lint.intent import is_sampling
from thinnet.lint.model_modes import modes, unit
from thinnet.lint.modes import last_name
from thinnet.lint.rule import LintRule, Report
from thinnet.lint.tree import Tree


class TrainModeInEvaluation(LintRule[cst.Call]):
    """## What it does
    Finds functions that evaluate a model, by their name, and call `train()` on it first.

    ## Why is this bad?
    Dropout drops during the evaluation, and batch normalisation uses and updates its statistics with test data.

    ## Example
    ```python
    def evaluate(model, loader):
        model.train()
        return sum(accuracy(model(x), y) for x, y in loader)
    ```

    ## Use instead
    ```python
    def evaluate(model, loader):
        model.eval()
        return sum(accuracy(model(x), y) for x, y in loader)
    ```

    ## Fix safety
    None: it may be Monte-Carlo dropout, or a model that needs training mode to return its losses.

    ## References
    - <https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.train>
    """

    code = "THN113"
    words = (".train(", "eval|valid|val_|_val|def val|test|predict|infer")
    preview = True

    def check(self, node: cst.Call, tree: Tree) -> Iterator[Report]:
        here = unit(tree, node)
        if not (isinstance(here, cst.FunctionDef) and is_model(tree, node)) or trains(tree, here):
            return
        if not EVALUATIONS.fullmatch(here.name.value) or OTHERS.fullmatch(here.name.value) or is_sampling(tree, node):
            return
        if _gives_losses(tree, node):
            return
        model = tree.code(model_of(node))
        found = modes(tree, node, model)
        first = next((mode for mode in found if mode.state == "train"), None)
        if first is None or unit(tree, first.node) is not here or any(mode.state == "eval" for mode in found):
            return
        if not is_by_mode(tree, first.node, node):
            yield Report(first.node, f"`{model}` is evaluated in training mode; call `{model}.eval()`", cause=node)


def _gives_losses(tree: Tree, call: cst.Call) -> bool:
    """Returns whether a model returns its losses, as detectors of torchvision do in training mode."""
    statement = tree.parent(call)
    targets = statement.targets if isinstance(statement, cst.Assign) else ()
    return any(last_name(one.target).lower().endswith(("loss", "losses", "loss_dict")) for one in targets)
