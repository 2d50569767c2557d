"""Everything that a model reaches: its modules, and the tensors, containers, objects and generators that these hold."""

import argparse
import random
import sys
import weakref
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from types import BuiltinMethodType, CodeType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.jit import ScriptModule

CONTAINERS = (list, dict, set, OrderedDict, defaultdict, Counter, deque)
SIMPLE = (bool, int, float, str, bytes, complex, type, type(None), torch.dtype, torch.device, torch.Size)
PLAIN = frozenset((*SIMPLE, weakref.ref, *weakref.ProxyTypes))
OPAQUE = (str, bytes, type, ModuleType, Enum)
NEAR = 3  # how many containers and objects away from a module values are restored
FAR = 6  # and how many a generator is looked for
MANY = 10_000  # the contents of larger containers are not looked at
FOREIGN = sys.stdlib_module_names | {"torch", "numpy"}  # whose objects are only searched for generators
NAMESPACES = (SimpleNamespace, argparse.Namespace)


@dataclass
class Reached:
    """What a model reaches, each thing once.

    Args:
        tensors: parameters, buffers, and tensors in attributes, containers and objects.
        arrays: NumPy arrays.
        containers: lists, dicts and sets; among them the attributes of modules and objects.
        slotted: objects with attributes in slots.
        scripted: scripted modules, which hold their attributes outside of Python.
        generators: random generators of PyTorch, NumPy and Python.
    """

    tensors: list[Tensor] = field(default_factory=list)
    arrays: list[Any] = field(default_factory=list)
    containers: list[Any] = field(default_factory=list)
    slotted: list[Any] = field(default_factory=list)
    scripted: list[Any] = field(default_factory=list)
    generators: list[Any] = field(default_factory=list)


def reached(model: nn.Module) -> Reached:
    """Returns everything that a model reaches within a few steps from one of its modules."""
    walk = _Walk()
    level, distance = [Held(model, True)], 0
    while level and distance <= FAR:
        following: list[Held] = []
        for value, kept in level:
            following += walk.met(value, kept and distance <= NEAR)
            while walk.modules:  # the distance counts from the nearest module
                following += walk.opened(walk.modules.pop())
        level, distance = following, distance + 1
    return walk.found


class Held(NamedTuple):
    """A value, and whether it is restored: what functions and other libraries hold is only searched for generators."""

    value: Any
    kept: bool


class _Walk:
    """Meets values and sorts them."""

    def __init__(self) -> None:
        self.found = Reached()
        self.seen: dict[int, Any] = {}  # holds the values, so that no other gets the id of one
        self.modules: list[nn.Module] = []
        numpy = sys.modules.get("numpy")
        kinds = () if numpy is None else (numpy.random.RandomState, numpy.random.Generator, numpy.random.BitGenerator)
        self.generators = (random.Random, *kinds)
        self.array: Any = () if numpy is None else numpy.ndarray

    def met(self, value: Any, kept: bool) -> Iterable[Held]:
        """Sorts a value, and returns what it holds."""
        kind = type(value)
        if kind in PLAIN or isinstance(value, OPAQUE) or id(value) in self.seen:
            return ()
        self.seen[id(value)] = value
        if kind is torch.Generator or isinstance(value, self.generators):  # its metaclass makes `isinstance` slow
            self.found.generators.append(value)
        elif isinstance(value, nn.Module):
            self.modules.append(value)
        elif isinstance(value, Tensor):
            self.found.tensors += [value] if kept else []
        elif isinstance(value, self.array):
            self.found.arrays += [value] if kept else []
        elif isinstance(value, (dict, list, tuple, set, frozenset, deque)):
            self.found.containers += [value] if kept and kind in CONTAINERS else []
            held = value.values() if isinstance(value, dict) else value
            return () if len(value) > MANY else [Held(each, kept) for each in held]
        else:
            return self._held_by_object(value, kept)
        return ()

    def opened(self, module: nn.Module) -> list[Held]:
        """Returns what a module holds; its attributes are a container."""
        self.found.containers.append(vars(module))
        self.found.scripted += [module] if isinstance(module, ScriptModule) else []
        held = [*module._parameters.values(), *module._buffers.values(), *module.children(), *vars(module).values()]
        found = [Held(value, False) for value in _globals_of(type(module))]
        for value in held:
            found += self.met(value, True)
        return found

    def _held_by_object(self, value: Any, kept: bool) -> list[Held]:
        own = kept and (type(value).__module__.partition(".")[0] not in FOREIGN or isinstance(value, NAMESPACES))
        attributes, slots = getattr(value, "__dict__", None), content(value)
        if isinstance(attributes, dict):
            self.found.containers += [attributes] if own else []
        self.found.slotted += [value] if own and slots else []
        inside = [*(attributes.values() if isinstance(attributes, dict) else ()), *slots.values()]
        return [*(Held(each, own) for each in inside), *(Held(each, False) for each in _called(value))]


def content(value: Any) -> dict[str, Any]:
    """Returns the attributes that an object holds in slots."""
    names = [slot for kind in type(value).__mro__ for slot in _names(vars(kind).get("__slots__", ()))]
    return {name: getattr(value, name) for name in names if name not in ("__dict__", "__weakref__") and hasattr(value, name)}


def _names(slots: Any) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _called(value: Any) -> list[Any]:
    """Returns what a function, a method or a partial call holds."""
    if isinstance(value, partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, MethodType):
        return [value.__self__, value.__func__]
    if isinstance(value, BuiltinMethodType):
        return [value.__self__]
    if isinstance(value, FunctionType):
        return [*_cells(value), *(value.__defaults__ or ()), *_read(value)]
    return []


def _cells(function: FunctionType) -> Iterator[Any]:
    """Yields what the closure of a function holds; a variable that is not assigned yet has no content."""
    for cell in function.__closure__ or ():
        with suppress(ValueError):
            yield cell.cell_contents


def _globals_of(kind: type) -> Iterator[Any]:
    """Yields what the methods of a class of the user read from closures and global variables."""
    for each in kind.__mro__:
        if each.__module__.partition(".")[0] not in FOREIGN:
            for function in vars(each).values():
                if isinstance(function, FunctionType):
                    yield from (*_cells(function), *_read(function))


def _read(function: FunctionType) -> Iterator[Any]:
    """Yields the global variables that a function reads, of the same file and without modules and classes."""
    for name in _names_in(function.__code__):
        value = function.__globals__.get(name)
        if isinstance(value, FunctionType) and value.__globals__ is not function.__globals__:
            continue
        if not isinstance(value, nn.Module):
            yield value


def _names_in(code: CodeType) -> Iterator[str]:
    """Yields the names in the code of a function, and of the functions and comprehensions inside of it."""
    yield from code.co_names
    for value in code.co_consts:
        if isinstance(value, CodeType):
            yield from _names_in(value)
