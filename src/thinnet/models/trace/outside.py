"""Draws that PyTorch does not make, what Python reads of those it makes, and global seeds that a forward pass sets."""

import functools
import inspect
import random
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from thinnet.models.trace import uses
from thinnet.models.trace.drawn import Drawn
from thinnet.models.trace.lines import called_by_model
from thinnet.models.trace.noise import Noise
from thinnet.models.trace.objects import Objects
from thinnet.models.trace.operations import Draws
from thinnet.models.trace.record import Draw

NUMBERS = (
    "random uniform gauss normalvariate betavariate expovariate triangular rand randn normal binomial random_sample sample"
)
NUMBERS += " standard_normal beta gamma poisson exponential laplace gumbel ranf"
CHOICES = "randint randrange choice choices shuffle getrandbits randbytes permutation bytes multinomial"
UNIT = ("random", "random_sample", "rand", "ranf")  # uniform in [0, 1)
SEEDS = ("manual_seed", "manual_seed_all", "seed", "seed_all")
RATE, QUERIES = "dropout_p", ("q", "qkv", "query", "queries", "q_unpad", "query_states")  # arguments of attention functions
READS = ("tolist", "item", "numpy", "__array__")


class Outside:
    """Records draws of Python and NumPy, reads of drawn tensors, and seeds.

    Args:
        draws: of the pass; they also say which sites draw other numbers.
        objects: random generators that the model reaches.
    """

    def __init__(self, draws: Draws, objects: Iterable[Any]) -> None:
        self.draws, self._inside, self._thread = draws, False, threading.get_ident()
        self._objects = Objects(draws, objects)

    @contextmanager
    def observed(self) -> Iterator[None]:
        """Puts recording functions in the places of the original ones."""
        with ExitStack() as stack:
            for holder, name, recording in [*self._functions()]:
                stack.callback(_put(holder, name, recording))
            with self._objects.observed():
                yield

    def _functions(self) -> Iterator[tuple[Any, str, Any]]:
        numpy = sys.modules.get("numpy")
        holders: list[tuple[Any, str]] = [(random, "random"), (random.Random, "Random")]
        holders += [] if numpy is None else [(numpy.random, "numpy.random")]
        names = [*NUMBERS.split(), *CHOICES.split()]
        replaced = {}
        for holder, title in holders:
            for name in (name for name in names if callable(getattr(holder, name, None))):
                original = getattr(holder, name)
                replaced[id(original)] = recording = self._drawing(f"{title}.{name}", holder, original)
                yield holder, name, recording
        for holder, title in [*holders, (torch, "torch"), (torch.random, "torch"), (torch.cuda, "torch.cuda")]:
            for name in (name for name in SEEDS if callable(getattr(holder, name, None)) and holder is not random.Random):
                original = getattr(holder, name)
                replaced[id(original)] = recording = self._seeding(f"{title}.{name}", original)
                yield holder, name, recording
        for namespace in _namespaces(self.draws.modules.model):
            for name, value in list(namespace.items()):
                if id(value) in replaced and namespace.get("__name__") not in ("random", "torch", "torch.random"):
                    yield namespace, name, replaced[id(value)]
                elif type(value) is FunctionType and _is_attention(value):
                    yield namespace, name, self._attention(value)
        for name in READS:
            yield Tensor, name, self._reading(name, getattr(Tensor, name))

    def _drawing(self, title: str, holder: Any, function: Callable[..., Any]) -> Callable[..., Any]:
        name = title.rpartition(".")[2]

        @functools.wraps(function)
        def draw(*args: Any, **kwargs: Any) -> Any:
            if self._inside or self._elsewhere() or not called_by_model():  # one draw calls another
                return function(*args, **kwargs)
            made = self.draws.placed(Draw(title, use="chooses" if _chooses(title) else "decides"))
            noise = _distribution(name, made, args[1:] if holder is random.Random else args, kwargs)
            self._inside = True
            try:
                source = args[0] if holder is random.Random else holder
                value = self._drawn(made, noise, source, lambda: function(*args, **kwargs))
            finally:
                self._inside = False
            if noise.chance is not None:
                uses.decides(made, noise)
            return Drawn(value, made, noise) if type(value) is float and noise.uniform else value

        return draw

    def _elsewhere(self) -> bool:
        """Returns whether another thread calls than the one that runs the model."""
        return threading.get_ident() != self._thread

    def _drawn(self, made: Draw, noise: Noise, source: Any, function: Callable[[], Any]) -> Any:
        """Draws; where the site is to draw other numbers, it does and the generator goes on as if it had not."""
        redrawn = self.draws.redrawn
        if made.site not in redrawn.sites:
            return function()
        get, put = ("get_state", "set_state") if hasattr(source, "get_state") else ("getstate", "setstate")
        state = getattr(source, get)()
        source.seed(redrawn.seed)
        other = function()
        getattr(source, put)(state)
        function()
        ends = noise.ends if type(other) is float else None
        return ends[redrawn.end == "high"] if ends is not None and redrawn.end else other

    def _seeding(self, title: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def seed(*args: Any, **kwargs: Any) -> Any:
            if not self._inside and not self._elsewhere() and called_by_model():
                self.draws.placed(Draw(title, use="seeds"))
            outer, self._inside = self._inside, True
            try:
                return function(*args, **kwargs)
            finally:
                self._inside = outer

        return seed

    def _attention(self, function: FunctionType) -> Callable[..., Any]:
        """Records a call with a rate in which no operation drew: the function may be a kernel that draws on its own."""
        signature = inspect.signature(function)

        @functools.wraps(function)
        def attend(*args: Any, **kwargs: Any) -> Any:
            before = len(self.draws.draws)
            out = function(*args, **kwargs)
            given = signature.bind(*args, **kwargs)
            given.apply_defaults()
            p = given.arguments[RATE]
            if p and len(self.draws.draws) == before:
                self.draws.placed(Draw(function.__name__, use="calls", p=float(p)))
            return out

        return attend

    def _reading(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def read(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
            noise = None if self._elsewhere() else self.draws.noise_in(tensor)
            if noise is None:
                return function(tensor, *args, **kwargs)
            for draw in noise.draws:
                if not draw.use:
                    draw.use = uses.read_as(noise)
                    uses.decides(draw, noise)
            value = function(tensor, *args, **kwargs)
            return _told(value, noise) if name in ("tolist", "item") and noise.uniform else value

        return read


def _chooses(title: str) -> bool:
    """Returns whether a function returns one of several things, or an order; NumPy's `sample` returns numbers."""
    return title.rpartition(".")[2] in CHOICES.split() or title in ("random.sample", "Random.sample")


def _is_attention(function: FunctionType) -> bool:
    """Returns whether a function takes a rate and queries, as those of FlashAttention do."""
    code = function.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return RATE in names and any(name in names for name in QUERIES)


def _told(value: Any, noise: Noise) -> Any:
    """Returns numbers as ones that tell their draw what they are compared with."""
    if isinstance(value, list):
        return [_told(each, noise) for each in value]
    return Drawn(value, noise.draws[0], noise) if type(value) is float else value


def _distribution(name: str, draw: Draw, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Noise:
    if name in UNIT:
        return Noise((draw,), uniform=True)
    if name == "uniform":
        low, high = (*args, 0.0, 1.0)[:2] if len(args) != 1 else (args[0], 1.0)
        low, high = kwargs.get("a", kwargs.get("low", low)), kwargs.get("b", kwargs.get("high", high))
        if isinstance(low, (int, float)) and isinstance(high, (int, float)):
            return Noise((draw,), uniform=True, slope=high - low, shift=low)
    if name == "binomial" and (kwargs.get("n", args[0] if args else None)) == 1:
        p = kwargs.get("p", args[1] if len(args) > 1 else None)
        return Noise((draw,), chance=float(p) if isinstance(p, (int, float)) else None)
    return Noise((draw,))


def _namespaces(model: nn.Module) -> Iterable[dict[str, Any]]:
    """Returns the global names of the code of the model's modules."""
    classes = {kind for module in model.modules() for kind in type(module).__mro__}
    methods = (value for kind in classes for value in vars(kind).values() if isinstance(value, FunctionType))
    found = [method.__globals__ for method in methods if not str(method.__module__).startswith("torch.")]
    return {id(names): names for names in found}.values()


def _put(holder: Any, name: str, value: Any) -> Callable[[], None]:
    """Puts a function into a place, and returns what restores the place."""
    if isinstance(holder, dict):
        original = holder[name]
        holder[name] = value
        return lambda: holder.__setitem__(name, original)
    own, original = name in vars(holder), getattr(holder, name)
    setattr(holder, name, value)
    return lambda: setattr(holder, name, original) if own else delattr(holder, name)
