import re
from collections.abc import Iterator

import libcst as cst

from thinnet.lint.modes import is_in_no_grad, method_calls
from thinnet.lint.rule import LintRule, Report
from thinnet.lint.tree import Tree

NAMES = re.compile(r"(?:.*_)?(?:eval|evaluate|evaluation|validate|validation|predict|infer|inference)(?:_.*)?")


class EvaluationWithoutEval(LintRule[cst.FunctionDef]):
    """## What it does
    Finds functions that evaluate a model in a loop without gradients, in files that never call `eval()`.

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
    words = ("no_grad|inference_mode", "def ")
    kinds = (cst.FunctionDef,)
    preview = True

    def check(self, node: cst.FunctionDef, tree: Tree) -> Iterator[Report]:
        if not NAMES.fullmatch(node.name.value):
            return
        if method_calls(tree, tree.module, "eval") or method_calls(tree, tree.module, "train"):
            return
        models = {param.name.value for param in node.params.params if re.search("model|net", param.name.value)}
        for call in tree.under(node, cst.Call):
            in_loop = tree.above(call, cst.For, cst.CompFor, cst.GeneratorExp, cst.ListComp) is not None
            name = call.func.value if isinstance(call.func, cst.Name) else None
            if name in models and in_loop and is_in_no_grad(tree, call):
                yield Report(call, f"`{name}` may be in training mode here; call `{name}.eval()` first")
                return
