"""The methods for a reader: a list of all of them, and a card for one, with a picture of what its coins do."""

from collections.abc import Iterable
from dataclasses import fields
from difflib import get_close_matches
from itertools import groupby

import torch
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from torch import Tensor

from thinnet.methods import FOLDERS, REGISTRY
from thinnet.methods.facts import Facts, Method

SHADES = " ░▒▓█"
SIZE = 24, 64  # of the picture: rows and columns, one character each
WORDS = tuple(field.name for field in fields(Facts) if field.type is str or field.type == "str")


def scene(height: int = SIZE[0], width: int = SIZE[1]) -> Tensor:
    """Returns the picture that every method is shown on: rings, between 0.25 and 1, so that what is dropped stands out.

    >>> scene(2, 4).shape
    torch.Size([2, 4])
    """
    down, across = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1.6, 1.6, width)
    return 0.625 + 0.375 * torch.cos(9 * (down**2 + across**2).sqrt())


def masked(method: Method, height: int = SIZE[0], width: int = SIZE[1], seed: int = 1) -> Tensor | None:
    """Returns what a method makes of the picture in training, always with the same coins; None where it has no picture."""
    if method.picture is None:
        return None
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return method.picture(scene(height, width)).detach().float()


def find(name: str) -> Method:
    """Returns a method by the name of its module, of its function, or of the method itself, in any case.

    Raises:
        ValueError: there is none; the message names those that are like it.
    """
    named = {alias.lower(): method for method in reversed(REGISTRY) for alias in aliases(method)}
    if name.lower() in named:
        return named[name.lower()]
    names = {alias.lower(): alias for method in REGISTRY for alias in aliases(method)}
    close = [names[match] for match in get_close_matches(name.lower(), names, n=3)]
    hint = f"Did you mean {' or '.join(close)}?" if close else "`thinnet methods` lists them."
    raise ValueError(f"thinnet methods: NAME must be a method; got {name!r}. {hint}")


def aliases(method: Method) -> list[str]:
    """Returns the names that a method goes by."""
    return [thing.__name__ for thing in (method.module, method.function) if thing is not None] + [method.facts.name]


def plain(method: Method) -> dict[str, str | None]:
    """Returns what a method declares in words, and the names that it goes by, as data that JSON can hold."""
    module, function = (thing.__name__ if thing is not None else None for thing in (method.module, method.function))
    return {"module": module, "function": function} | {word: getattr(method.facts, word) for word in WORDS}


def families(methods: Iterable[Method]) -> list[tuple[Method, ...]]:
    """Returns the methods, those together that share their facts: one method for inputs of several shapes."""
    return [tuple(family) for _, family in groupby(methods, key=lambda method: id(method.facts))]


def listing() -> RenderableType:
    """Returns a table of all methods, folder by folder."""
    table = Table("method", "what it does", "rate to start with", box=None, pad_edge=False, title_justify="left")
    for folder, methods in FOLDERS.items():
        table.add_section()
        table.add_row(Text(folder, style="bold"))
        for family in families(methods):
            names = Text("\n".join(method.name for method in family), style="cyan")
            table.add_row(names, family[0].facts.summary, family[0].facts.default)
    return table


def card(method: Method) -> RenderableType:
    """Returns all that a method declares, with its equation and a picture."""
    facts = method.facts
    grid = Table.grid(padding=(0, 2))
    places = (("thinnet.nn", method.module), ("thinnet.functional", method.function))
    grid.add_row("use", Text("\n".join(f"{place}.{thing.__name__}" for place, thing in places if thing is not None)))
    labels = {"grain": "grain", "place": "take it", "avoid": "not", "default": "start with", "domain": "p in"}
    for word, label in (labels | {"cost": "cost", "elsewhere": "elsewhere", "paper": "paper"}).items():
        if getattr(facts, word):
            grid.add_row(Text(label, style="bold"), Text(getattr(facts, word)))
    title = Text(facts.name, style="bold cyan")
    return Group(title, facts.summary, "", Text(f"    {facts.equation}", style="italic"), "", grid, *_picture(method))


def _picture(method: Method) -> list[RenderableType]:
    after = masked(method)
    if after is None:
        return []
    before = scene()
    lines = [f"{one}  {other}" for one, other in zip(shaded(before[::2, ::2]), shaded(after[::2, ::2]), strict=True)]
    note = "a picture, and what one step of training sees of it; '·' is zero"
    return ["", Text("\n".join(lines)), Text(note, style="dim")]


def shaded(picture: Tensor) -> list[str]:
    """Returns a picture as lines of text: darker is larger, a zero is a dot, and what is below zero a minus.

    >>> shaded(torch.tensor([[0.0, 0.3, 1.0, -0.5]]))
    ['·▒█-']
    """
    top = max(float(picture.quantile(0.98)), 1e-9)
    return ["".join(_shade(value / top) for value in row) for row in picture.tolist()]


def _shade(value: float) -> str:
    if value == 0:
        return "·"
    return "-" if value < 0 else SHADES[min(len(SHADES) - 1, 1 + int(value * (len(SHADES) - 1.01)))]
