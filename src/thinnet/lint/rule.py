"""The base class of the rules, and what a rule reports."""

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Generic, TypeVar

import libcst as cst

from thinnet.lint.fixes import Fix
from thinnet.lint.tree import Tree
from thinnet.report.findings import Rule

Node = TypeVar("Node", bound=cst.CSTNode)


@dataclass(frozen=True)
class Report:
    """What a rule reports at a syntax node.

    Args:
        node: the node to point at.
        message: what is wrong, then what to do.
        fix: the edit that fixes it, if there is one.
        cause: the node that makes it wrong, such as the constructor of a layer or the assignment of a rate.
        preview: it is less certain than the rule, and reported only with the rules in preview.
    """

    node: cst.CSTNode
    message: str
    fix: Fix | None = None
    cause: cst.CSTNode | None = None
    preview: bool = False


class LintRule(Generic[Node]):
    """One mistake in source code. The docstring of a rule is its documentation.

    The name of a rule says what it finds. A rule reports only what is certain.
    """

    code: ClassVar[str]
    # A file is parsed for this rule only if it contains all of these; `a|b` is one or the other.
    words: ClassVar[tuple[str, ...]] = ("ropout",)
    kinds: ClassVar[tuple[type[cst.CSTNode], ...]] = (cst.Call,)
    preview: ClassVar[bool] = False
    may_be_intended: ClassVar[bool] = False  # silent where a name, a docstring or a comment says that dropout is always on
    holds_in_tests: ClassVar[bool] = False  # also reported in test functions

    @classmethod
    def name(cls) -> str:
        """Returns the name, such as `dropout-without-training`."""
        return re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower()

    @cached_property
    def definition(self) -> Rule:
        """The code, name, severity and summary that findings carry."""
        return Rule(self.code, self.name(), "warning", self.summary())

    @classmethod
    def summary(cls) -> str:
        """Returns what the rule finds, in one sentence."""
        first, _, _ = " ".join(cls.sections()["What it does"].split()).partition(". ")
        return first.removesuffix(".").removeprefix("Finds ")

    @classmethod
    def sections(cls) -> dict[str, str]:
        """Returns the text below each heading of the docstring."""
        found: dict[str, list[str]] = {}
        heading = ""
        for line in (inspect.getdoc(cls) or "").splitlines():
            if line.startswith("## "):
                heading = line[3:]
                found[heading] = []
            else:
                found[heading].append(line)
        return {name: "\n".join(lines).strip("\n") for name, lines in found.items()}

    def check(self, node: Node, tree: Tree) -> Iterator[Report]:
        """Yields what is wrong with a node of one of the rule's kinds."""
        raise NotImplementedError
