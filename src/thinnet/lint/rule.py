"""What a rule is, and what it reports."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import libcst as cst

from thinnet.lint.changes import Change
from thinnet.lint.tree import Tree


@dataclass(frozen=True)
class Fix:
    """How a finding is mended.

    Args:
        changes: what to write where.
        safe: training computes what it computed before, or failed before; only then `--fix` applies it.
    """

    changes: tuple[Change, ...]
    safe: bool


@dataclass(frozen=True)
class Report:
    """One finding, at a node.

    Args:
        at: the node to point at.
        message: what was found, then what to do.
        fix: how it can be mended by machine.
    """

    at: cst.CSTNode
    message: str
    fix: Fix | None = None


class Rule:
    """One mistake that stands in the source; the docstring of a rule is its documentation.

    A rule is named after what it finds, so that "allow *name*" reads right. It reports only what is certain.
    """

    code: ClassVar[str]
    # All of these have to stand in a file for it to be parsed for this rule; `a|b` is one or the other.
    words: ClassVar[tuple[str, ...]] = ("ropout",)
    kinds: ClassVar[tuple[type[cst.CSTNode], ...]] = (cst.Call,)
    preview: ClassVar[bool] = False

    @classmethod
    def name(cls) -> str:
        """Returns the name, such as `dropout-without-training`."""
        return re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower()

    def check(self, node: cst.CSTNode, tree: Tree) -> Iterator[Report]:
        """Yields what is wrong with a node of one of the kinds of this rule.

        Args:
            node: the node.
            tree: the file that it stands in.
        """
        raise NotImplementedError
