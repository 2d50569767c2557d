"""THN110."""

import re
from collections.abc import Iterator

import libcst as cst

from thinnet.lint.calls import is_true
from thinnet.lint.modes import calls_of, is_loop_variable, receiver
from thinnet.lint.rule import Report, Rule
from thinnet.lint.tree import Tree

NAMES = re.compile(r"(?:.*_)?(?:mc|mcd|mcdropout|monte|montecarlo|uncertainty|bayesian|stochastic)(?:_.*)?", re.IGNORECASE)


class MonteCarloByTrainMode(Rule):
    """## What it does
    Finds functions named after Monte-Carlo sampling that call `train()` on a whole model.

    ## Why is this bad?
    Training mode is shared with batch normalisation: predictions then depend on what else is in the batch, and running
    statistics learn from the test data.

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
    None: which layers shall be random is for the author to say.

    ## References
    - lightning-uq-box/lightning-uq-box#173, NervanaSystems/neon#266
    """

    code = "THN110"
    words = (".train(", "mc_|mcd|monte|uncertainty|bayesian|stochastic|MC|Monte")
    kinds = (cst.FunctionDef,)

    def check(self, node: cst.CSTNode, tree: Tree) -> Iterator[Report]:
        """Yields the switches of whole models."""
        if not isinstance(node, cst.FunctionDef) or not NAMES.fullmatch(node.name.value):
            return
        if re.search("train|fit", node.name.value) or calls_of(tree, node, "backward"):
            return
        for call in calls_of(tree, node, "train"):
            whole = not is_loop_variable(tree, receiver(call)) and tree.above(call, cst.If) is None
            if whole and (not call.args or is_true(call.args[0].value)):
                model = tree.code(receiver(call))
                yield Report(call, f"`{model}.train()` switches batch normalisation, too; switch the dropout layers alone")
