import re
from collections.abc import Iterator

import libcst as cst

from thinnet.lint.arguments import is_true
from thinnet.lint.modes import has_no_norm, is_loop_variable, method_calls, receiver
from thinnet.lint.rule import LintRule, Report
from thinnet.lint.tree import Tree

NAMES = re.compile(r"(?:.*_)?(?:mc|mcd|mcdropout|monte|montecarlo|uncertainty|bayesian|stochastic)(?:_.*)?", re.IGNORECASE)

SWITCHES_DROPOUT = re.compile(
    r"_*(?:activate|enable|turn_on|switch_on|set|keep|force|use|apply)_?(?:\w*_)?drop_?outs?(?:_\w*)?", re.IGNORECASE
)
SAMPLERS = re.compile(r"MC(?=[A-Z_]|$)|Monte|Bayes|Uncertain|mc_?drop", re.IGNORECASE)
SWITCHES = re.compile(r"drop|predict|sampl|forward|infer|eval", re.IGNORECASE)


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
    words = (".train(", "mc_|mcd|monte|uncertainty|bayesian|stochastic|MC|Monte|Bayes|Uncertain|drop")
    kinds = (cst.FunctionDef,)

    def check(self, node: cst.FunctionDef, tree: Tree) -> Iterator[Report]:
        owner = tree.owner(node)
        in_sampler = owner is not None and SAMPLERS.search(owner.name.value) and SWITCHES.search(node.name.value)
        if not (NAMES.fullmatch(node.name.value) or SWITCHES_DROPOUT.fullmatch(node.name.value) or in_sampler):
            return
        if re.search("train|fit", node.name.value) or method_calls(tree, node, "backward") or has_no_norm(tree):
            return
        for call in method_calls(tree, node, "train"):
            is_whole_model = not is_loop_variable(tree, receiver(call)) and tree.above(call, cst.If) is None
            if is_whole_model and (not call.args or is_true(call.args[0].value)) and not self._restores(tree, node):
                model = tree.code(receiver(call))
                yield Report(call, f"`{model}.train()` also switches batch normalisation; switch only the dropout layers")

    def _restores(self, tree: Tree, function: cst.FunctionDef) -> bool:
        """Returns whether a loop puts other modules than dropout back into eval mode."""
        stops = [call for call in method_calls(tree, function, "eval") if is_loop_variable(tree, receiver(call))]
        return any(not self._is_unreachable(tree, call) for call in stops)

    def _is_unreachable(self, tree: Tree, node: cst.CSTNode) -> bool:
        """Returns whether an earlier branch takes every module: `if isinstance(part, nn.Module): ... elif ...`."""
        branch = tree.parent(tree.above(node, cst.If))
        while isinstance(branch, cst.If):
            test = branch.test
            if isinstance(test, cst.Call) and tree.code(test.func) == "isinstance" and len(test.args) == 2:
                if tree.name(test.args[1].value) == "torch.nn.Module":
                    return True
            branch = tree.parent(branch)
        return False
