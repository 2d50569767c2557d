"""What `thinnet methods` shows: a list of all methods, or the card of one with a picture."""

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import groupby
from textwrap import indent
from typing import Any

import torch
from rich.console import Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text
from torch import Tensor

from thinnet.methods import other_names
from thinnet.methods.cards import SECTIONS, read, used_by
from thinnet.methods.facts import Method
from thinnet.methods.other_names import Topic
from thinnet.methods.registry import FOLDERS, REGISTRY
from thinnet.report.table import Table

SHADES = " ░▒▓█"
SIZE = 24, 64  # of the picture: rows and columns, one character each


def scene(height: int = SIZE[0], width: int = SIZE[1]) -> Tensor:
    """Returns the picture that every method is applied to: rings between 0.25 and 1, so that zeros stand out.

    >>> scene(2, 4).shape
    torch.Size([2, 4])
    """
    down, across = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1.6, 1.6, width)
    return 0.625 + 0.375 * torch.cos(9 * (down**2 + across**2).sqrt())


def masked(method: Method, height: int = SIZE[0], width: int = SIZE[1], seed: int = 1) -> Tensor | None:
    """Returns the picture after one training step of a method with a fixed seed; None where the method has no picture."""
    if method.picture is None:
        return None
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return method.picture(scene(height, width)).detach().float()


def find(name: str) -> Method | Topic:
    """Returns a method by its class, its function, its name in prose or another usual name; or a topic that is no method.

    Case, spaces and hyphens do not matter, and "dropout" at the end may be left out.

    Raises:
        ValueError: there is no such method; the message suggests similar names.
    """
    known = names()
    for key in (other_names.plain(name), f"{other_names.plain(name)}dropout"):
        if key in known:
            return known[key][1]
    close = {known[match][1]: known[match][0] for match in reversed(get_close_matches(other_names.plain(name), known, n=3))}
    hint = f"Did you mean {' or '.join(reversed(close.values()))}?" if close else "`thinnet methods` lists them."
    raise ValueError(f"thinnet methods: NAME must be a method; got {name!r}. {hint}")


def names() -> dict[str, tuple[str, Method | Topic]]:
    """Returns every name in its plain form, as it is written, and what it names. A name of the code comes first."""
    methods = {method.name: method for method in REGISTRY}
    found: dict[str, tuple[str, Method | Topic]] = {}
    for topic, others in other_names.TOPICS.items():
        found |= {other_names.plain(other): (other, topic) for other in (*other_names.split(others), topic.title, topic.use)}
    for method in reversed(REGISTRY):
        found |= {other_names.plain(alias): (alias, method) for alias in reversed(aliases(method))}
    for method, others in other_names.METHODS.items():
        found |= {other_names.plain(other): (other, methods[method]) for other in other_names.split(others)}
    return found


def aliases(method: Method) -> list[str]:
    """Returns the names of a method: of its class, of its function, and in prose."""
    return [thing.__name__ for thing in (method.module, method.function) if thing is not None] + [read(method).title]


def plain(method: Method | Topic) -> dict[str, Any]:
    """Returns the card of a method and the names of its class and function, as JSON can hold them."""
    if isinstance(method, Topic):
        return {"module": None, "function": None, "name": method.title, **method._asdict()}
    module, function = (thing.__name__ if thing is not None else None for thing in (method.module, method.function))
    found = read(first(method))
    words = {name.lower().replace(" ", "_"): found.sections.get(name, "") for name in SECTIONS}
    uses = {"used_by": [use._asdict() for use in method.facts.used_by]}
    names = {"module": module, "function": function, "name": found.title}
    return names | {"summary": found.summary, "equation": found.equation, "domain": method.facts.domain} | words | uses


def first(method: Method) -> Method:
    """Returns the member of a family whose docstring has all words."""
    return next(other for other in REGISTRY if other.facts is method.facts)


def families(methods: Iterable[Method]) -> list[tuple[Method, ...]]:
    """Returns the methods in groups that share their facts: each group is one method for inputs of several shapes."""
    return [tuple(family) for _, family in groupby(methods, key=lambda method: id(method.facts))]


def listing() -> Table:
    """Returns a table of all methods, folder by folder."""
    rows, marks = [], {}
    for folder, methods in FOLDERS.items():
        marks[len(rows)] = "strong"
        rows.append((folder, "", ""))
        for family in families(methods):
            found = read(family[0])
            names = "\n".join(method.name for method in family)
            rows.append((names, found.summary, found.sections.get("Start with", "")))
    return Table(("method", "what it does", "start with"), rows, marks=marks)


def card(method: Method | Topic) -> RenderableType:
    """Returns the card of a method for the terminal, with its equation and a picture; or what to use for a topic."""
    if isinstance(method, Topic):
        rows = "\n".join(f"{name}  {text}" for name, text in (("use ", method.call), ("read", method.page)))
        return Group(Text(method.title, style="bold cyan"), method.summary, "", Text(rows))
    found = read(first(method))
    grid = Grid.grid(padding=(0, 2))
    grid.add_row("use", Text("\n".join(f"thinnet.{name}" for name in public_names(method))))
    rows = found.sections | {"Used in practice by": used_by(method), "p in": method.facts.domain}
    for heading, text in ((heading, text) for heading, text in rows.items() if text):
        grid.add_row(Text(heading.lower(), style="bold"), Text(text))
    title = Text(found.title, style="bold cyan")
    return Group(title, found.summary, "", Text(indent(found.equation, "    "), style="italic"), "", grid, *_picture(method))


def public_names(method: Method) -> list[str]:
    """Returns where a method is public: `nn.Dropout` and `functional.dropout`, for example."""
    functions = "losses" if method in FOLDERS["losses"] else "functional"
    places = (("nn", method.module), (functions, method.function))
    return [f"{place}.{thing.__name__}" for place, thing in places if thing is not None]


def _picture(method: Method) -> list[RenderableType]:
    after = masked(method)
    if after is None:
        return []
    before = scene()
    lines = [f"{one}  {other}" for one, other in zip(shaded(before[::2, ::2]), shaded(after[::2, ::2]), strict=True)]
    note = "left: the input; right: the output of one training step; '·' is zero"
    return ["", Text("\n".join(lines)), Text(note, style="dim")]


def shaded(picture: Tensor) -> list[str]:
    """Returns a picture as lines of text: darker is larger, '·' is zero, '-' is negative.

    >>> shaded(torch.tensor([[0.0, 0.3, 1.0, -0.5]]))
    ['·▒█-']
    """
    top = max(float(picture.quantile(0.98)), 1e-9)
    return ["".join(_shade(value / top) for value in row) for row in picture.tolist()]


def _shade(value: float) -> str:
    if value == 0:
        return "·"
    return "-" if value < 0 else SHADES[min(len(SHADES) - 1, 1 + int(value * (len(SHADES) - 1.01)))]
