from collections.abc import Iterator

import libcst as cst

from thinnet.lint.calls import callers
from thinnet.lint.evaluation import (
    EVALUATIONS,
    OTHERS,
    block_around,
    conditions,
    is_by_mode,
    is_model,
    is_trained_before,
    loop_around,
    model_of,
    region,
    shows_calm_models,
    trains,
)
from thinnet.lint.intent import is_sampling
from thinnet.lint.model_modes import SHAKEN, is_set_outside, modes, unit
from thinnet.lint.modes import is_in_no_grad
from thinnet.lint.rule import LintRule, Report
from thinnet.lint.tree import Tree


class EvaluationWithoutEval(LintRule[cst.Call]):
    """## What it does
    Finds models that are evaluated without gradients, or for a metric, and that may be in training mode there.

    ## Why is this bad?
    `torch.no_grad()` only stops gradients. Dropout still drops, and batch normalisation updates its statistics with test
    data.

    ## Example
    ```python
    def evaluate(model, loader):
        with torch.no_grad():
            return sum(loss(model(x), y) for x, y in loader)
    ```

    ## Use instead
    ```python
    def evaluate(model, loader):
        model.eval()
        with torch.no_grad():
            return sum(loss(model(x), y) for x, y in loader)
    ```

    ## Fix safety
    None: the author has to decide where training mode starts again.

    ## References
    - d2l-ai/d2l-en#1093, pytorch/torchtune#1049
    """

    code = "THN108"
    holds_in_tests = True
    words = ("no_grad|inference_mode|argmax|accuracy|topk|torch.max|.max(", "(")

    def check(self, node: cst.Call, tree: Tree) -> Iterator[Report]:
        if not is_model(tree, node) or region(tree, node) is None or shows_calm_models(tree) or is_sampling(tree, node):
            return
        model = tree.code(model_of(node))
        key = (f"evaluated {model}", id(unit(tree, node)))
        if key in tree.memory:  # one finding for a model in a function
            return
        tree.memory[key] = True
        cause = self._cause(tree, node, model)
        if cause is not None:
            message = f"`{model}` may be in training mode here; call `{model}.eval()` first"
            yield Report(block_around(tree, node), message, cause=cause, preview=cause is node)

    def _cause(self, tree: Tree, call: cst.Call, model: str) -> cst.CSTNode | None:
        """Returns what leaves the model in training mode; the call itself if nothing in the file sets the mode."""
        here = unit(tree, call)
        name = here.name.value if isinstance(here, cst.FunctionDef) else ""
        is_named = EVALUATIONS.fullmatch(name) is not None
        if (OTHERS.fullmatch(name) and not is_named) or not is_trained_before(tree, call):
            return None
        found = modes(tree, call, model)
        states = {mode.state for mode in found}
        in_training = [mode for mode in found if mode.state in ("train", "new") and not is_in_no_grad(tree, mode.node)]
        trained = [mode for mode in in_training if not is_by_mode(tree, mode.node, call)]
        if any(mode.state == "train" and unit(tree, mode.node) is here for mode in trained) and not trains(tree, here):
            return None  # THN113 reports it
        if trained and states <= {"train", "new", "start"}:
            is_sure = bool(SHAKEN.search(tree.text)) and (not name or loop_around(tree, call) is not None)
            return trained[0].node if is_named or is_sure else None
        if not is_named or not self._is_repeated(tree, call):
            return None
        if states == {"start"}:
            return None if is_set_outside(tree, call, model) else call
        evals = [mode.node for mode in found if mode.state == "eval"]
        is_half = states == {"start", "eval"} and all(any(True for _ in conditions(tree, one, call)) for one in evals)
        return evals[0] if is_half and not is_by_mode(tree, evals[0], call) else None

    def _is_repeated(self, tree: Tree, call: cst.Call) -> bool:
        """Returns whether a loop runs a call, in its function or around a call of the function."""
        here = unit(tree, call)
        calls = callers(tree, here) if isinstance(here, cst.FunctionDef) else []
        return any(loop_around(tree, one) is not None for one in (call, *calls))
