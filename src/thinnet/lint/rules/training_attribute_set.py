import re
from collections.abc import Iterator

import libcst as cst

from thinnet.lint.arguments import is_false, is_true
from thinnet.lint.fixes import Fix, replace
from thinnet.lint.layers import layers, module_class
from thinnet.lint.modes import is_loop_variable, last_name, method_calls, receiver
from thinnet.lint.names import DROPOUT_LAYERS
from thinnet.lint.rule import LintRule, Report
from thinnet.lint.tree import Tree

MODELS = re.compile(r"(?:.*_)?(?:model|net|network)")
METHODS = (
    "parameters named_parameters modules named_modules children state_dict load_state_dict eval train requires_grad_".split()
)


class TrainingAttributeSet(LintRule[cst.Assign]):
    """## What it does
    Finds `model.training = False` and `model.training = True`.

    ## Why is this bad?
    The assignment changes one module. Its children, such as dropout layers, keep their mode.

    ## Example
    ```python
    model.training = False
    ```

    ## Use instead
    ```python
    model.eval()
    ```

    ## Fix safety
    Unsafe: the children change their mode too.

    ## References
    - <https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.train>
    """

    code = "THN112"
    words = (".training =|.training=",)
    kinds = (cst.Assign,)

    def check(self, node: cst.Assign, tree: Tree) -> Iterator[Report]:
        if not (is_true(node.value) or is_false(node.value)) or len(node.targets) != 1:
            return
        target = node.targets[0].target
        if not isinstance(target, cst.Attribute) or target.attr.value != "training" or is_loop_variable(tree, target.value):
            return
        model = target.value
        if MODELS.fullmatch(last_name(model)) and not self._is_alone(tree, model):
            text = f"{tree.code(model)}.{'train' if is_true(node.value) else 'eval'}()"
            problem = f"this does not change the mode of the children of `{tree.code(model)}`"
            fix = Fix((replace(node, text),), safe=False)
            yield Report(node, f"{problem}; call `{text}`", fix, preview=not self._is_shown(tree, model))

    def _is_alone(self, tree: Tree, model: cst.BaseExpression) -> bool:
        """Returns whether the model may be a single layer, or the function also sets the mode of parts of the model."""
        if any(layer.name in DROPOUT_LAYERS for layer in layers(tree, model)):
            return True
        here = tree.above(model, cst.FunctionDef) or tree.module
        targets = [one.target for assign in tree.under(here, cst.Assign) for one in assign.targets]
        parts = [one.value for one in targets if isinstance(one, cst.Attribute) and one.attr.value == "training"]
        return any(tree.code(part).startswith(f"{tree.code(model)}.") for part in parts)

    def _is_shown(self, tree: Tree, model: cst.BaseExpression) -> bool:
        """Returns whether the file shows that the model is a module: by its class, or by a method of modules that it calls."""
        owner = module_class(tree, model)
        if owner is not None:
            return tree.is_module(owner)
        calls = [call for name in METHODS for call in method_calls(tree, tree.module, name)]
        return bool(layers(tree, model)) or any(tree.code(receiver(call)) == tree.code(model) for call in calls)
