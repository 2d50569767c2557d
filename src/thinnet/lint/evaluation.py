"""The mode of a model at a call: what constructors, `train()` and `eval()` before it leave, also in other functions."""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import libcst as cst

from thinnet.lint.arguments import argument, is_false
from thinnet.lint.calls import called, callers
from thinnet.lint.layers import layers, module_class
from thinnet.lint.modes import is_in_no_grad, last_name, method_calls
from thinnet.lint.paths import backward, exits
from thinnet.lint.tree import Tree, is_self
from thinnet.lint.values import called_name

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
    r"select|log|predict|export|convert|copy|register|download|prepare|define|construct|instantiate|wrap|freeze|unfreeze)_.*"
)
METRICS = re.compile(
    r"argmax|topk|accuracy\w*|\w*_score|correct\w*|acc|hits|n_?correct|top1|preds?|predictions|eq|recall|f1|auc|iou"
)
SHAKEN = re.compile(r"ropout|BatchNorm|batch_norm|DropPath|drop_path|InstanceNorm|StochasticDepth|LayerDrop")
MAX_CALLERS = 3
Unit = cst.FunctionDef | cst.Module


@dataclass(frozen=True)
class Mode:
    """The mode of a model on a path.

    Args:
        state: "train", "eval", "new" (made in this file, and so in training mode), "unknown", or "start" (nothing before).
        node: what sets the mode.
    """

    state: str
    node: cst.CSTNode


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
    if MODELS.fullmatch(last_name(func)) and not VERBS.match(last_name(func)):
        return tree.name(func) is None
    made = tree.value(func)
    return isinstance(made, cst.Call) and (
        module_class(tree, func) is not None or tree.name(made.func) == "torch.nn.Sequential"
    )


def _is_path(node: cst.BaseExpression) -> bool:
    return isinstance(node, cst.Name) or (isinstance(node, cst.Attribute) and _is_path(node.value))


def model_of(call: cst.Call) -> cst.BaseExpression:
    """Returns the model that a call calls."""
    func = call.func
    return func.value if isinstance(func, cst.Attribute) and func.attr.value == "forward" else func


def unit(tree: Tree, node: cst.CSTNode) -> Unit:
    """Returns the function that contains a node, or the module."""
    return tree.above(node, cst.FunctionDef) or tree.module


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
        return around if around is not None and not trains(tree, around) else None
    if isinstance(here, cst.FunctionDef) and EVALUATIONS.fullmatch(here.name.value) and not trains(tree, here):
        names = {name.value for name in tree.under(here.body, cst.Name)}
        is_measured = any(METRICS.fullmatch(name) for name in names)
        return here if is_measured and loop_around(tree, call) is not None else None
    return None


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


def modes(tree: Tree, node: cst.CSTNode, model: str, depth: int = 0) -> list[Mode]:
    """Returns the modes that a model may have at a node, one for each path."""
    if depth > MAX_CALLERS:
        return [Mode("unknown", node)]
    here = unit(tree, node)
    reached = backward(tree, node, lambda statement: _set_by(tree, statement, model, depth))
    found = list(reached.results)
    if reached.start:
        found += _at_start(tree, here, model, depth)
    return found


def _at_start(tree: Tree, here: Unit, model: str, depth: int) -> list[Mode]:
    """Returns the modes that the callers of a function leave."""
    if isinstance(here, cst.Module):
        return [Mode("start", here)]
    names = [param.name.value for param in here.params.params]
    found = []
    for call in callers(tree, here):
        if unit(tree, call) is here:
            continue
        passed: str | None = model
        if model in names:
            offset = 1 if names and names[0] in ("self", "cls") else 0
            value = argument(call, model, names.index(model) - offset)
            passed = tree.code(value) if value is not None else None
        elif tree.owner(here) is None and _is_bound_in(tree, here, model):
            passed = None
        if passed is not None:
            found += modes(tree, call, passed, depth + 1)
    return found or [Mode("start", here)]


def _is_bound_in(tree: Tree, here: cst.FunctionDef, model: str) -> bool:
    return any(
        isinstance(one, cst.Assign) and tree.code(one.targets[0].target) == model for one in tree.under(here.body, cst.Assign)
    )


def _set_by(tree: Tree, statement: cst.BaseSmallStatement, model: str, depth: int) -> list[Mode] | None:
    """Returns the mode that a statement gives a model; None if it does not set it."""
    if isinstance(statement, (cst.Assign, cst.AnnAssign)):
        targets = [one.target for one in statement.targets] if isinstance(statement, cst.Assign) else [statement.target]
        if any(tree.code(target) == model for target in targets) and statement.value is not None:
            return _made(tree, statement.value, statement, model)
    for call in reversed(_mode_calls(tree).get(id(statement), [])):
        found = _by_call(tree, call, model, depth)
        if found is not None:
            return found
    return None


def _mode_calls(tree: Tree) -> dict[int, list[cst.Call]]:
    """Returns the calls that may set a mode, by their statement."""
    key = ("mode calls", 0)
    if key not in tree.memory:
        tree.memory[key] = found = defaultdict(list)
        for call in tree.kinds[cst.Call]:
            if isinstance(call, cst.Call) and (re.search("train|eval", called_name(call)) or called(tree, call) is not None):
                statement = tree.parent(call)
                while statement is not None and not isinstance(statement, (cst.BaseSmallStatement, cst.BaseCompoundStatement)):
                    statement = tree.parent(statement)
                if isinstance(statement, cst.With):  # `with evaluating(model):` counts for the first statement of its block
                    first = statement.body.body[0]
                    statement = first.body[0] if isinstance(first, cst.SimpleStatementLine) else first
                found[id(statement)].append(call)
    return tree.memory[key]


def _by_call(tree: Tree, call: cst.Call, model: str, depth: int) -> list[Mode] | None:
    name, target = called_name(call), called(tree, call)
    if isinstance(call.func, cst.Attribute) and name in ("train", "eval") and target is None:
        receiver = tree.code(call.func.value)
        if receiver in (model, f"{model}.module") or model.startswith(f"{receiver}."):
            if name == "train" and call.args:
                if is_false(call.args[0].value):
                    return [Mode("eval", call)]
                is_true = tree.code(call.args[0].value) == "True"
                return [Mode("train" if is_true else "unknown", call)]
            return [Mode(name, call)]
    passed = [arg.value for arg in call.args if tree.code(arg.value) == model]
    if isinstance(target, cst.FunctionDef) and depth < MAX_CALLERS:
        inner = model if is_self(call.func) or model.startswith("self.") else ""
        if passed:
            inner = _parameter(target, call, passed[0])
        elif "." not in model and not _is_bound_in(tree, target, model):
            inner = model
        found = _left_by(tree, target, inner, depth) if inner else []
        return found or None
    is_told = passed or (isinstance(call.func, cst.Attribute) and tree.code(call.func.value) == model)
    return [Mode("unknown", call)] if is_told and re.search("train|eval", name) else None


def _parameter(target: cst.FunctionDef, call: cst.Call, value: cst.BaseExpression) -> str:
    """Returns the name of the parameter that takes an argument."""
    names = [param.name.value for param in target.params.params]
    names = names[1:] if names[:1] == ["self"] else names
    for index, arg in enumerate(call.args):
        if arg.value is value:
            return arg.keyword.value if arg.keyword is not None else (names[index] if index < len(names) else "")
    return ""


def _left_by(tree: Tree, function: cst.FunctionDef, model: str, depth: int) -> list[Mode]:
    """Returns the modes that a function leaves a model in; nothing if it does not set the mode."""
    key = (f"left {model}", id(function))
    if key not in tree.memory:
        tree.memory[key] = []
        tree.memory[key] = exits(function, lambda statement: _set_by(tree, statement, model, depth + 1)).results
    return tree.memory[key]


def _made(tree: Tree, value: cst.BaseExpression, statement: cst.CSTNode, model: str) -> list[Mode] | None:
    """Returns the mode of a model that an assignment makes; None if the assignment keeps the model."""
    methods = {called_name(call) for call in tree.under(value, cst.Call)}
    if "eval" in methods:
        return [Mode("eval", statement)]
    names = {tree.code(part) for part in tree.under(value, cst.BaseExpression) if isinstance(part, (cst.Name, cst.Attribute))}
    if model in names:  # `model = model.to(device)`
        return None
    if not isinstance(value, cst.Call):
        return [Mode("unknown", statement)]
    owner = module_class(tree, value)
    if owner is not None and tree.is_module(owner):
        return [Mode("new", statement)] if _is_shaken(tree, owner) else [Mode("unknown", statement)]
    made = layers(tree, value)
    if made and SHAKEN.search(tree.code(made[0].call)):
        return [Mode("new", statement)]
    is_zoo = (tree.name(value.func) or "").startswith("torchvision.models.")
    return [Mode("new" if is_zoo else "unknown", statement)]


def is_trained_before(tree: Tree, call: cst.Call) -> bool:
    """Returns whether statements before a call train or load a model. Otherwise the call may only initialise it."""

    def match(statement: cst.BaseSmallStatement) -> list[cst.CSTNode] | None:
        calls = [one for one in tree.under(statement, cst.Call) if called_name(one) in ("backward", "load_state_dict", "fit")]
        targets = [called(tree, one) for one in tree.under(statement, cst.Call)]
        trainers = [one for one in targets if isinstance(one, cst.FunctionDef) and trains(tree, one)]
        return [statement] if calls or trainers else None

    return bool(backward(tree, call, match).results) or isinstance(unit(tree, call), cst.FunctionDef)


def _is_shaken(tree: Tree, owner: cst.ClassDef, depth: int = 0) -> bool:
    """Returns whether a class of the file, or a class that it uses, has dropout or batch normalisation."""
    key = ("shaken", id(owner))
    if key not in tree.memory:
        tree.memory[key] = False
        text = tree.code(owner)
        used = (tree.definition(call.func) for call in tree.under(owner, cst.Call))
        bases = (tree.definition(base.value) for base in owner.bases)
        parts = {id(one): one for one in (*used, *bases) if isinstance(one, cst.ClassDef) and one is not owner}
        tree.memory[key] = bool(SHAKEN.search(text)) or any(
            _is_shaken(tree, one, depth + 1) for one in parts.values() if depth < MAX_CALLERS
        )
    return tree.memory[key]


def shows_calm_models(tree: Tree) -> bool:
    """Returns whether the file defines modules, and none of them has dropout or batch normalisation."""
    key = ("calm", 0)
    if key not in tree.memory:
        owners = [owner for owner in tree.kinds[cst.ClassDef] if isinstance(owner, cst.ClassDef) and tree.is_module(owner)]
        tree.memory[key] = bool(owners) and not SHAKEN.search(tree.text)
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
