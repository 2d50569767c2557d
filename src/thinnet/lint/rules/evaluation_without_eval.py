"""THN108."""

import re
from collections.abc import Iterator

import libcst as cst

from thinnet.lint.modes import calls_of, is_without_gradients
from thinnet.lint.rule import Report, Rule
from thinnet.lint.tree import Tree

NAMES = re.compile(r"(?:.*_)?(?:eval|evaluate|evaluation|validate|validation|predict|infer|inference)(?:_.*)?")


class EvaluationWithoutEval(Rule):
    """## What it does
    Finds functions that evaluate a model in a loop, without gradients, in files that never call `eval()`.

    ## Why is this bad?
    `torch.no_grad()` stops gradients and nothing else: dropout goes on, and batch normalisation learns from the test data.

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
    None: where to go back to training is for the author to say.

    ## References
    - d2l-ai/d2l-en#1093, pytorch/torchtune#1049
    """

    code = "THN108"
    words = ("no_grad|inference_mode", "def ")
    kinds = (cst.FunctionDef,)
    preview = True

    def check(self, node: cst.CSTNode, tree: Tree) -> Iterator[Report]:
        """Yields the functions that evaluate in whatever mode there is."""
        if not isinstance(node, cst.FunctionDef) or not NAMES.fullmatch(node.name.value):
            return
        if calls_of(tree, tree.module, "eval") or calls_of(tree, tree.module, "train"):
            return
        models = {param.name.value for param in node.params.params if re.search("model|net", param.name.value)}
        for call in tree.under(node, cst.Call):
            looped = tree.above(call, cst.For, cst.CompFor, cst.GeneratorExp, cst.ListComp) is not None
            name = call.func.value if isinstance(call.func, cst.Name) else None
            if name in models and looped and is_without_gradients(tree, call):
                yield Report(call, f"`{name}` is evaluated in whatever mode it is in; call `{name}.eval()` before")
                return
