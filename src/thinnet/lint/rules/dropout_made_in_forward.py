"""THN105."""

from collections.abc import Iterator

import libcst as cst

from thinnet.lint.calls import is_plain
from thinnet.lint.changes import replace
from thinnet.lint.modes import is_guarded
from thinnet.lint.rates import rate
from thinnet.lint.rule import Fix, Report, Rule
from thinnet.lint.spelling import DROPOUT_LAYERS
from thinnet.lint.tree import Tree, is_self

FUNCTIONS = {
    "Dropout": "dropout",
    "Dropout1d": "dropout1d",
    "Dropout2d": "dropout2d",
    "Dropout3d": "dropout3d",
    "AlphaDropout": "alpha_dropout",
    "FeatureAlphaDropout": "feature_alpha_dropout",
}


class DropoutMadeInForward(Rule):
    """## What it does
    Finds dropout layers that `forward` makes.

    ## Why is this bad?
    A new layer is in training mode. It is no child of the module, so `model.eval()` never reaches it, and predictions stay
    random.

    ## Example
    ```python
    def forward(self, x):
        return nn.Dropout(0.5)(self.linear(x))
    ```

    ## Use instead
    ```python
    def forward(self, x):
        return nn.functional.dropout(self.linear(x), 0.5, training=self.training)
    ```

    ## Fix safety
    Safe: training draws the same mask, and eval becomes deterministic. There is a fix only where the layer is called on
    the spot.

    ## References
    - <https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.eval>
    """

    code = "THN105"
    words = ("ropout", "def forward")

    def check(self, node: cst.CSTNode, tree: Tree) -> Iterator[Report]:
        """Yields the constructors that stand in a `forward`."""
        if not isinstance(node, cst.Call) or tree.name(node.func) not in DROPOUT_LAYERS:
            return
        method = tree.module_method(node)
        if method is None or method.name.value != "forward" or is_guarded(tree, node) or tree.number(rate(tree, node)) == 0:
            return
        around = tree.parent(node)
        if isinstance(around, cst.Assign) and any(is_self(target.target) for target in around.targets):
            return
        what = "a dropout layer made in `forward` is always in training mode"
        yield Report(node, f"{what}; make it in `__init__`, or use the function and `self.training`", self._fix(tree, node))

    def _fix(self, tree: Tree, made: cst.Call) -> Fix | None:
        call, func = tree.parent(made), made.func
        if not (isinstance(call, cst.Call) and call.func is made and isinstance(func, cst.Attribute)):
            return None
        if tree.name(func.value) != "torch.nn" or len(call.args) != 1 or not is_plain(call) or len(made.args) > 1:
            return None
        p, x = rate(tree, made), call.args[0]
        if x.keyword is not None or bool(made.args) != (p is not None):
            return None
        given = "" if p is None else f" {tree.code(p)},"
        name = f"{tree.code(func.value)}.functional.{FUNCTIONS[func.attr.value]}"
        return Fix((replace(call, f"{name}({tree.code(x.value)},{given} training=self.training)"),), safe=True)
