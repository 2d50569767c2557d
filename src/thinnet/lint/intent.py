"""What a name, a docstring, a comment or a test says is deliberate."""

import re
from collections.abc import Sequence

import libcst as cst

from thinnet.lint.tree import Tree

ALWAYS_ON = re.compile(
    r"always[- ](?:on|active|activated|applied|apply|applies|enabled|use|using|drop)|(?:is|are|be) always|always \w* ?dropout"
    r"|even (?:in|during|at|when|while|if) \w* ?(?:eval|evaluat|infer|test|predict|not|the model)"
    r"|(?:both|training) (?:training )?and (?:during |at |in )?(?:test|eval|infer|predict|generation)"
    r"|monte[- ]?carlo|\bmc[-_ ]?drop|(?:at|during|in|for) (?:test|inference|eval|evaluation|generation|prediction)\b"
    r"|on purpose|intention|deliberate|keep(?:s|ing)? dropout|regardless of|independent(?:ly)? of \w* ?(?:mode|training)"
    r"|under `*(?:model\.)?eval|in `*eval(?:\(\))?`* (?:mode )?(?:as well|too)"
    r"|not only (?:in|during|at) train|stochastic (?:forward|inference|prediction)|bayesian|uncertainty|noqa",
    re.IGNORECASE,
)
SAYS_DROPOUT = re.compile(r"drop|stochastic|monte|mask", re.IGNORECASE)
PRENET = re.compile("pre_?net", re.IGNORECASE)
TEST_CLASS = re.compile(r"Test(?:[A-Z0-9_]\w*)?|\w+Tests?|\w+TestCase")
SAMPLING = re.compile(r"monte[- ]?carlo|\bmc[-_ ]?drop|uncertaint|bayesian|stochastic (?:forward|pass|infer)", re.IGNORECASE)
SAMPLING_NAMES = re.compile(
    r"pre_?net|epistemic|monte_?carlo|mc_?drop|(?:^|_)mc(?:_|$)|^MC(?=[A-Z_])|(?:^|[a-z_])MC$|bayes|uncertain|always_?on|variational|stochastic_?forward",
    re.IGNORECASE,
)


def is_intended(tree: Tree, node: cst.CSTNode, lines: Sequence[str], first: int, last: int) -> bool:
    """Returns whether dropout that ignores the mode is deliberate.

    Args:
        tree: the file.
        node: the dropout.
        lines: the lines of the file.
        first: the line of its first character, from 1.
        last: the line of its last character.
    """
    comments = [line.partition("#")[2] for line in lines[max(first - 3, 0) : last] if "#" in line]
    if any(ALWAYS_ON.search(comment) for comment in comments):
        return True
    statement = tree.above(node, cst.SimpleStatementLine)
    if statement is not None and any(PRENET.search(name.value) for name in tree.under(statement, cst.Name)):
        return True
    around = tree.above(node, cst.FunctionDef, cst.ClassDef)
    while around is not None:
        text = around.get_docstring() or ""
        if SAMPLING_NAMES.search(around.name.value) or (ALWAYS_ON.search(text) and SAYS_DROPOUT.search(text)):
            return True
        around = tree.above(around, cst.FunctionDef, cst.ClassDef)
    return False


def is_sampling(tree: Tree, node: cst.CSTNode) -> bool:
    """Returns whether a name or a docstring around a node says that it samples with dropout."""
    around = tree.above(node, cst.FunctionDef, cst.ClassDef)
    while around is not None:
        if SAMPLING_NAMES.search(around.name.value) or SAMPLING.search(around.get_docstring() or ""):
            return True
        around = tree.above(around, cst.FunctionDef, cst.ClassDef)
    return False


def is_in_test(tree: Tree, node: cst.CSTNode) -> bool:
    """Returns whether a node stands in a test: a function `test_...` that asserts something or is in a class of tests."""
    around = tree.above(node, cst.FunctionDef)
    while around is not None:
        owner = tree.scope(around)
        in_tests = isinstance(owner, cst.ClassDef) and TEST_CLASS.fullmatch(owner.name.value) is not None
        if around.name.value.startswith("test_") and (in_tests or _asserts(tree, around)):
            return True
        around = tree.above(around, cst.FunctionDef)
    return False


def _asserts(tree: Tree, function: cst.FunctionDef) -> bool:
    if any(True for _ in tree.under(function.body, cst.Assert)):
        return True
    return any("assert" in name.value.lower() or "raises" in name.value for name in tree.under(function.body, cst.Name))
