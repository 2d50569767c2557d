import re
from collections.abc import Iterator

import libcst as cst

from thinnet.lint.arguments import is_true
from thinnet.lint.modes import is_loop_variable, method_calls, receiver
from thinnet.lint.rule import LintRule, Report
from thinnet.lint.tree import Tree

NAMES = re.compile(r"(?:.*_)?(?:mc|mcd|mcdropout|monte|montecarlo|uncertainty|bayesian|stochastic)(?:_.*)?", re.IGNORECASE)


class MonteCarloByTrainMode(LintRule[cst.FunctionDef]):
    """## What it does
    Finds functions for Monte-Carlo sampling, by their name, that call `train()` on a whole model.

    ## Why is this bad?
    Training mode also switches batch normalisation. Predictions then depend on the other samples of the batch, and the
    running statistics are updated with test data.

    ## Example
    ```python
    def mc_predict(model, x, samples):
        model.train()
        return torch.stack([model(x) for _ in range(samples)])
    ```

    ## Use instead
    ```python
    def mc_predict(model, x, samples):
        model.eval()
        for module in model.modules():
            if "drop" in type(module).__name__.lower():
                module.train()
        return torch.stack([model(x) for _ in range(samples)])
    ```

    ## Fix safety
    None: the author has to decide which layers are random.

    ## References
    - lightning-uq-box/lightning-uq-box#173, NervanaSystems/neon#266
    """

    code = "THN110"
    words = (".train(", "mc_|mcd|monte|uncertainty|bayesian|stochastic|MC|Monte")
    kinds = (cst.FunctionDef,)

    def check(self, node: cst.FunctionDef, tree: Tree) -> Iterator[Report]:
        if not NAMES.fullmatch(node.name.value):
            return
        if re.search("train|fit", node.name.value) or method_calls(tree, node, "backward"):
            return
        for call in method_calls(tree, node, "train"):
            is_whole_model = not is_loop_variable(tree, receiver(call)) and tree.above(call, cst.If) is None
            if is_whole_model and (not call.args or is_true(call.args[0].value)):
                model = tree.code(receiver(call))
                yield Report(call, f"`{model}.train()` also switches batch normalisation; switch only the dropout layers")
