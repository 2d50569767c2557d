import re
from collections.abc import Iterator

import libcst as cst

from thinnet.lint.arguments import is_true
from thinnet.lint.evaluation import loop_around
from thinnet.lint.modes import method_calls, receiver
from thinnet.lint.rule import Report
from thinnet.lint.rule_bases import IsinstanceRule
from thinnet.lint.tree import Tree

CLASS_NAME = re.compile(
    r"(?:(?P<name>\w+)\.__class__|type\((?P<other>\w+)\))\.__name__(?:\.startswith\(['\"]Dropout['\"]\)| == ['\"]Dropout['\"])"
)
# what the selection misses, if the models of the file use it
OTHER_DROPOUT = re.compile(
    r"MultiheadAttention|nn\.Transformer|(?:LSTM|GRU|RNN)\([^()]*dropout|F\.dropout|functional\.dropout|dropout_p=|DropPath|DropBlock|"
    r"[Ss]tochasticDepth|drop_path"
)


class MonteCarloByIsinstance(IsinstanceRule):
    """## What it does
    Finds code that switches dropout on only for instances of `nn.Dropout`, in files that use other dropout, or for classes
    whose name starts with `Dropout`.

    ## Why is this bad?
    It misses all other dropout: in `nn.MultiheadAttention`, `nn.LSTM`, `scaled_dot_product_attention`, `F.dropout`, and in
    classes such as `DropPath`. The samples then vary too little, or not at all.

    ## Example
    ```python
    for module in model.modules():
        if module.__class__.__name__.startswith("Dropout"):
            module.train()
    ```

    ## Use instead
    ```python
    kinds = (nn.modules.dropout._DropoutNd, nn.MultiheadAttention, nn.RNNBase)
    for module in model.modules():
        if isinstance(module, kinds):
            module.train()
    ```

    ## Fix safety
    None: the author has to decide which layers are random, and functional dropout needs a change of the model.

    ## References
    - Gal and Ghahramani 2016, arXiv:1506.02142
    """

    code = "THN111"
    words = ("ropout", ".train|.training", "isinstance|__name__|type(")
    preview = True

    def check(self, node: cst.If, tree: Tree) -> Iterator[Report]:
        by_name = self._named(tree, node.test)
        if by_name is not None:
            yield from self.check_branch(by_name, node, tree)
        else:
            yield from (report for report in super().check(node, tree) if OTHER_DROPOUT.search(tree.text))

    def _named(self, tree: Tree, test: cst.BaseExpression) -> str | None:
        """Returns the module whose class name a test compares with the start of `Dropout`."""
        if not any(name.value == "__name__" for name in tree.under(test, cst.Name)):
            return None
        found = CLASS_NAME.fullmatch(tree.code(test))
        return (found["name"] or found["other"]) if found else None

    def check_branch(self, name: str, branch: cst.If, tree: Tree) -> Iterator[Report]:
        calls_train = any(
            isinstance(receiver(call), cst.Name) and tree.code(receiver(call)) == name
            for call in method_calls(tree, branch.body, "train")
            if not call.args or is_true(call.args[0].value)
        )
        sets_training = any(
            is_true(assign.value) and tree.code(target.target) == f"{name}.training"
            for assign in tree.under(branch.body, cst.Assign)
            for target in assign.targets
        )
        if calls_train or sets_training:
            message = "this misses attention, recurrent and functional dropout; select every module that drops"
            yield Report(loop_around(tree, branch) or branch.test, message, cause=branch.test)
