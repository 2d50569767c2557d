"""Base classes of rules that share a pattern."""

from collections.abc import Iterator
from typing import ClassVar

import libcst as cst

from thinnet.lint.arguments import argument, has_no_unpacking
from thinnet.lint.dataflow import ACTIVATIONS, NORMS, POOLS, RESHAPES, Operation, before, operations
from thinnet.lint.fixes import Fix, set_keyword
from thinnet.lint.modes import depends_on_caller, depends_on_mode, is_zero_here, varies_with_mode
from thinnet.lint.names import DROPOUT_LAYERS, TRAINING_ARGUMENT
from thinnet.lint.rates import is_active, number, numbers, rate
from thinnet.lint.rule import LintRule, Report
from thinnet.lint.sequences import in_sequence
from thinnet.lint.tree import Tree

SEED_FUNCTIONS = frozenset(
    "torch.manual_seed torch.cuda.manual_seed torch.cuda.manual_seed_all lightning.seed_everything "
    "pytorch_lightning.seed_everything transformers.set_seed accelerate.utils.set_seed".split()
)


class RateRule(LintRule[cst.Call]):
    """A rule about the rate of a dropout call."""

    def check(self, node: cst.Call, tree: Tree) -> Iterator[Report]:
        p = rate(tree, node)
        if p is not None:
            yield from self.check_rate(p, node, tree)

    def check_rate(self, p: cst.BaseExpression, call: cst.Call, tree: Tree) -> Iterator[Report]:
        """Yields what is wrong with the rate `p` of a call."""
        raise NotImplementedError


class OperationRule(LintRule[cst.Call]):
    """A rule about operations with certain names. Dropout with a rate of 0 is skipped."""

    operations: ClassVar[frozenset[str]]

    def check(self, node: cst.Call, tree: Tree) -> Iterator[Report]:
        elements = [arg.value for arg in node.args if not isinstance(arg.value, cst.Call) and in_sequence(tree, arg.value)]
        for place in (node, *elements):
            for op in operations(tree, place):
                if is_active(tree, op, self.operations):
                    yield from self.check_operation(op, tree)

    def check_operation(self, op: Operation, tree: Tree) -> Iterator[Report]:
        """Yields what is wrong with an operation or with what comes before it."""
        raise NotImplementedError


def follows_norm(tree: Tree, dropout: Operation) -> bool:
    """Returns whether dropout comes after batch normalisation, as recommended: another block may follow it."""
    return any(prior.name in NORMS for prior in before(tree, dropout, RESHAPES | ACTIVATIONS | POOLS))


class MissingTrainingRule(LintRule[cst.Call]):
    """A rule about functions that are called without `training`, and whose `training` has a certain default."""

    default: ClassVar[bool]
    effect: ClassVar[str]
    safe: ClassVar[bool]

    def check(self, node: cst.Call, tree: Tree) -> Iterator[Report]:
        position, default = TRAINING_ARGUMENT.get(tree.name(node.func) or "", (0, not self.default))
        if default != self.default or not has_no_unpacking(node) or argument(node, "training", position) is not None:
            return
        p = rate(tree, node)
        if number(tree, p) == 0 or depends_on_mode(tree, node):
            return
        if tree.module_method(node) is None and any(size == 1 for size, _ in numbers(tree, p)):
            return  # a part that is removed, such as a layer that inference skips
        if p is not None and (depends_on_caller(tree, p) or varies_with_mode(tree, p) or is_zero_here(tree, node, p)):
            return
        in_module = tree.module_method(node) is not None
        if not in_module and not (tree.name(node.func) or "").startswith("torch."):
            return  # outside of a module, `dropout_edge` also prepares data
        fix = Fix((set_keyword(node, "training", "self.training"),), self.safe) if in_module else None
        remedy = f"pass `training={'self.training' if in_module else '...'}`"
        yield Report(node, f"`{tree.code(node.func)}` without `training` {self.effect}; {remedy}", fix)


class IsinstanceRule(LintRule[cst.If]):
    """A rule about `if isinstance(m, nn.Dropout):`, where the classes are all dropout layers of PyTorch."""

    kinds = (cst.If,)

    def check(self, node: cst.If, tree: Tree) -> Iterator[Report]:
        test = node.test
        if not (isinstance(test, cst.Call) and isinstance(test.func, cst.Name) and test.func.value == "isinstance"):
            return
        if len(test.args) != 2 or not isinstance(test.args[0].value, cst.Name):
            return
        kinds = tree.value(test.args[1].value)
        classes = [element.value for element in kinds.elements] if isinstance(kinds, cst.Tuple) else [kinds]
        if all(tree.name(kind) in DROPOUT_LAYERS for kind in classes):
            yield from self.check_branch(test.args[0].value.value, node, tree)

    def check_branch(self, name: str, branch: cst.If, tree: Tree) -> Iterator[Report]:
        """Yields what is wrong in a branch where the variable `name` is a dropout layer."""
        raise NotImplementedError


class ConstantSeedRule(LintRule[cst.Call]):
    """A rule about calls that set a constant seed."""

    def check(self, node: cst.Call, tree: Tree) -> Iterator[Report]:
        if tree.name(node.func) in SEED_FUNCTIONS and node.args and number(tree, node.args[0].value) is not None:
            yield from self.check_seed(node, tree)

    def check_seed(self, call: cst.Call, tree: Tree) -> Iterator[Report]:
        """Yields what is wrong with a call that sets a constant seed."""
        raise NotImplementedError
