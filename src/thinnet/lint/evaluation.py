"""Where code evaluates a model, and where it trains one."""

import re
from collections.abc import Iterator

import libcst as cst

from thinnet.lint.calls import called
from thinnet.lint.layers import module_class
from thinnet.lint.literals import called_name
from thinnet.lint.model_modes import SHAKEN, unit
from thinnet.lint.modes import is_before, is_in_no_grad, last_name, method_calls, receiver
from thinnet.lint.paths import backward
from thinnet.lint.sequences import is_sequential
from thinnet.lint.tree import Tree

MODELS = re.compile(
    r"(?:.*_)?(?:model|net|network|classifier|mlp|cnn|rnn|lstm|gru|transformer|bert|resnet|vgg|unet|gnn|gcn|gat)(?:_?\w{1,2}|_ema)?",
    re.IGNORECASE,
)
EVALUATIONS = re.compile(
    r"(?:.*_)?(?:eval\w*|valid\w*|val|test\w*|infer\w*|predict\w*|accuracy|estimate_loss|score|benchmark)(?:_.*)?",
    re.IGNORECASE,
)
# functions that need training mode, or that are named for sampling
OTHERS = re.compile(
    r"(?:.*_)?(?:train\w*|fit\w*|update|bn|calibrat\w*|warm\w*|mc\w*|monte\w*|uncertain\w*|bayes\w*|dropout|stochastic|sampl\w*|adv\w*|"
    r"attack|pretrain\w*|finetune)(?:_.*)?",
    re.IGNORECASE,
)
VERBS = re.compile(
    r"(?:load|build|create|get|save|make|init|initialize|setup|set|train|test|eval|evaluate|fit|run|compile|reset|update|print|plot|count|"
    r"select|log|predict|export|convert|unwrap|copy|register|download|prepare|define|construct|instantiate|wrap|freeze|unfreeze)_.*"
)
# models that are made elsewhere, in training mode; `from_pretrained` gives them in eval mode
ZOO = re.compile(r"torchvision\.models|torchvision import .*\bmodels\b|\btimm\b|hub\.load")
METRICS = re.compile(
    r"argmax|topk|accuracy\w*|\w*_score|correct\w*|acc|hits|n_?correct|top1|preds?|predictions|eq|recall|f1|auc|iou"
)


def is_model(tree: Tree, call: cst.Call) -> bool:
    """Returns whether a call calls a model, by its name or because the file shows its class."""
    func = call.func
    if isinstance(func, cst.Attribute) and func.attr.value == "forward" and not isinstance(func.value, cst.Call):
        func = func.value
    if (
        not (isinstance(func, cst.Name) or (isinstance(func, cst.Attribute) and _is_path(func)))
        or called(tree, call) is not None
    ):
        return False
    if isinstance(func, cst.Attribute) and _is_part(tree, func):
        return False
    if any(MODELS.fullmatch(last_name(arg.value)) for arg in call.args):  # `unwrap_model(model)`
        return False
    if MODELS.fullmatch(last_name(func)) and not VERBS.match(last_name(func)):
        return tree.name(func) is None
    made = tree.value(func)
    return isinstance(made, cst.Call) and (
        module_class(tree, func) is not None or tree.name(made.func) == "torch.nn.Sequential"
    )


SWITCHED = ("switched", 0)
"""Where a tree remembers whose mode its file sets."""


def is_switched(tree: Tree, call: cst.Call) -> bool:
    """Returns whether the file sets the mode of what a call calls: then it is a model, whatever its name."""
    if SWITCHED not in tree.memory:
        calls = method_calls(tree, tree.module, "train")
        tree.memory[SWITCHED] = {tree.code(receiver(each)) for each in calls if not each.args}
    return tree.code(model_of(call)) in tree.memory[SWITCHED]


def _is_part(tree: Tree, func: cst.Attribute) -> bool:
    """Returns whether a call calls a part of the module around it, whose mode is that of the whole module."""
    return tree.code(func).startswith("self.") and tree.module_method(func) is not None


def _is_path(node: cst.BaseExpression) -> bool:
    return isinstance(node, cst.Name) or (isinstance(node, cst.Attribute) and _is_path(node.value))


def model_of(call: cst.Call) -> cst.BaseExpression:
    """Returns the model that a call calls."""
    func = call.func
    return func.value if isinstance(func, cst.Attribute) and func.attr.value == "forward" else func


def trains(tree: Tree, node: cst.CSTNode) -> bool:
    """Returns whether code computes gradients or steps an optimizer."""
    key = ("trains", id(node))
    if key not in tree.memory:
        tree.memory[key] = bool(method_calls(tree, node, "backward")) or any(
            re.search("optim|opt$|scaler", tree.code(call.func).rpartition(".")[0]) for call in method_calls(tree, node, "step")
        )
    return tree.memory[key]


def region(tree: Tree, call: cst.Call) -> cst.CSTNode | None:
    """Returns the code that evaluates a model around a call: without gradients, or with metrics and without training."""
    here = unit(tree, call)
    if is_in_no_grad(tree, call):
        around = tree.above(call, cst.With, cst.FunctionDef)
        return around if around is not None and not trains(tree, around) and not _is_target(tree, call) else None
    if isinstance(here, cst.FunctionDef) and EVALUATIONS.fullmatch(here.name.value) and not trains(tree, here):
        names = {name.value for name in tree.under(here.body, cst.Name)}
        is_measured = any(METRICS.fullmatch(name) for name in names)
        return here if is_measured and loop_around(tree, call) is not None else None
    return None


def _is_target(tree: Tree, call: cst.Call) -> bool:
    """Returns whether a call comes before `backward()` in the same step: then it computes a target, or an input of the loss."""
    step = tree.above(call, cst.For, cst.While, cst.FunctionDef)
    while step is not None and is_in_no_grad(tree, step):
        step = tree.above(step, cst.For, cst.While, cst.FunctionDef)
    if step is None:
        return False
    backwards = [
        one for one in method_calls(tree, step, "backward") if tree.above(one, cst.For, cst.While, cst.FunctionDef) is step
    ]
    return any(is_before(tree, call, one) for one in backwards)


def loop_around(tree: Tree, node: cst.CSTNode) -> cst.CSTNode | None:
    """Returns the loop or comprehension around a node, within its function."""
    found = tree.above(node, cst.For, cst.While, cst.CompFor, cst.GeneratorExp, cst.ListComp, cst.FunctionDef)
    return None if isinstance(found, cst.FunctionDef) else found


def block_around(tree: Tree, node: cst.CSTNode) -> cst.CSTNode:
    """Returns the innermost loop or `with` around a node, or else its statement."""
    found = tree.above(node, cst.For, cst.While, cst.With, cst.FunctionDef)
    if found is None or isinstance(found, cst.FunctionDef):
        return tree.above(node, cst.SimpleStatementLine) or node
    return found


def is_trained_before(tree: Tree, call: cst.Call) -> bool:
    """Returns whether statements before a call train or load a model. Otherwise the call may only initialise it."""

    def match(statement: cst.BaseSmallStatement) -> list[cst.CSTNode] | None:
        calls = [one for one in tree.under(statement, cst.Call) if called_name(one) in ("backward", "load_state_dict", "fit")]
        targets = [called(tree, one) for one in tree.under(statement, cst.Call)]
        trainers = [one for one in targets if isinstance(one, cst.FunctionDef) and trains(tree, one)]
        return [statement] if calls or trainers else None

    return bool(backward(tree, call, match).results) or isinstance(unit(tree, call), cst.FunctionDef)


def shows_calm_models(tree: Tree) -> bool:
    """Returns whether the file makes its models itself, and none of them has dropout or batch normalisation."""
    key = ("calm", 0)
    if key not in tree.memory:
        owners = any(isinstance(owner, cst.ClassDef) and tree.is_module(owner) for owner in tree.kinds[cst.ClassDef])
        made = owners or any(is_sequential(tree, call) for call in tree.kinds[cst.Call])
        tree.memory[key] = made and not SHAKEN.search(tree.text) and not ZOO.search(tree.text)
    return tree.memory[key]


def conditions(tree: Tree, node: cst.CSTNode, outside: cst.CSTNode) -> Iterator[cst.If]:
    """Yields the `if` statements around a node that do not contain another node."""
    others: set[int] = set()
    around = tree.parent(outside)
    while around is not None:
        others.add(id(around))
        around = tree.parent(around)
    branch = tree.above(node, cst.If, cst.FunctionDef)
    while isinstance(branch, cst.If):
        if id(branch) not in others:
            yield branch
        branch = tree.above(branch, cst.If, cst.FunctionDef)


def is_by_mode(tree: Tree, node: cst.CSTNode, outside: cst.CSTNode) -> bool:
    """Returns whether a condition on a mode decides if a node runs."""
    pattern = re.compile(r"train|eval|phase|mode|mc|drop|stochastic|split|stage|bayes|is_test|test|valid|infer", re.IGNORECASE)
    return any(pattern.search(tree.code(branch.test)) for branch in conditions(tree, node, outside))
