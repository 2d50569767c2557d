"""Restores a model and every random generator: tensors, gradients, modes, attributes."""

import copy
import random
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from operator import is_
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

CONTAINERS = (list, dict, set, OrderedDict, defaultdict, Counter, deque)
PLAIN = frozenset((bool, int, float, str, type(None), torch.dtype, torch.device))
SIZED = frozenset((*CONTAINERS, tuple))
OPAQUE = (Tensor, str, bytes, complex, type, FunctionType, MethodType, ModuleType)
INTERNAL = frozenset(vars(nn.Module()))
DEPTH = 6  # how many attributes and containers away from a module a generator is looked for


class State:
    """The tensors, gradients and attributes of a model at one time.

    Args:
        model: any module.
        values: whether values and attributes are saved; else only the memory that each tensor uses.
    """

    def __init__(self, model: nn.Module, values: bool = True) -> None:
        modules = list(model.modules())
        self._attributes = [(module, _noted(module)) for module in modules] if values else []
        self._tensors = [_Saved(tensor, values) for tensor in _tensors(modules)]
        self.devices = sorted({saved.tensor.device for saved in self._tensors if saved.tensor.device.type == "cuda"}, key=str)

    def restore(self) -> None:
        """Puts everything back, in place; the random generators go on."""
        for module, attributes in self._attributes:
            _put_back(module, attributes)
        self.restore_tensors()

    def restore_tensors(self) -> bool:
        """Puts the tensors back alone; returns whether any had changed."""
        with torch.no_grad():
            return any([saved.restore() for saved in self._tensors])


@contextmanager
def preserve_state(model: nn.Module, seed: int | None = None, values: bool = True) -> Iterator[State]:
    """Restores on exit the parameters, buffers, gradients, modes, attributes and random generators of a model.

    Tensors are restored in place: the same objects with the same memory and the old values, whatever wrote to them. Lists,
    dicts and sets that a module holds are restored one level deep. The generators are those of PyTorch, Python and NumPy, and
    every `torch.Generator`, `random.Random`, `numpy.random.RandomState` and `numpy.random.Generator` reachable from a module.

    Args:
        model: what may run, and change, in the context.
        seed: seeds the global generators of PyTorch, Python and NumPy in the context.
        values: whether values and attributes are restored. Without, only tensors that get other memory and the generators are:
            enough, and faster, for a copy that shares its parameters and does not write to them in place.

    >>> layer = nn.Linear(2, 2)
    >>> with preserve_state(layer):
    ...     layer.weight.data = torch.zeros(2, 2)
    >>> bool(layer.weight.any())
    True
    """
    state = State(model, values)
    put_back = [_restorer(generator) for generator in (*_global_generators(), *generators(model))]
    try:
        with torch.random.fork_rng(devices=state.devices):
            if seed is not None:
                seed_all(seed)
            yield state
    finally:
        for each in put_back:
            each()
        state.restore()


def seed_all(seed: int) -> None:
    """Seeds the global generators of PyTorch, Python and NumPy."""
    torch.manual_seed(seed)
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed % (1 << 32))


def _tensors(modules: list[nn.Module]) -> list[Tensor]:
    """Returns parameters, buffers and tensors in attributes, each once; without those that hold no values."""
    found: dict[int, Tensor] = {}
    for module in modules:
        for value in (*module._parameters.values(), *module._buffers.values(), *_own(module)):
            if isinstance(value, Tensor) and not value.is_meta and not is_lazy(value):
                found[id(value)] = value
    return list(found.values())


class _Saved:
    """The memory and the values of a tensor, and its gradient; of a wrapper subclass those of the tensors that it holds."""

    def __init__(self, tensor: Tensor, values: bool = True) -> None:
        self.tensor = tensor
        with torch._C.DisableTorchFunctionSubclass():
            self.parts = {name: _Saved(getattr(tensor, name), values) for name in _part_names(tensor)}
            self.memory = None if self.parts else tensor.data.as_subclass(Tensor)
            self.values = self.memory.clone() if values and self.memory is not None else None
            self.grad = tensor.grad if tensor.is_leaf else None
        self.saved_grad = None if self.grad is None else _Saved(self.grad, values)

    def restore(self) -> bool:
        """Returns whether the tensor, or its gradient, had changed."""
        changed = False
        with torch._C.DisableTorchFunctionSubclass():
            for name, part in self.parts.items():
                if getattr(self.tensor, name) is not part.tensor:
                    setattr(self.tensor, name, part.tensor)
                    changed = True
                changed |= part.restore()
            if self.memory is not None and not _same_memory(self.tensor, self.memory):
                self.tensor.data = self.memory
                changed = True
            if self.memory is not None and self.values is not None and not _same_values(self.memory, self.values):
                self.memory.copy_(self.values)
                changed = True
            if self.tensor.is_leaf and self.tensor.grad is not self.grad:
                self.tensor.grad = self.grad
                changed = True
        return changed | (self.saved_grad is not None and self.saved_grad.restore())


def _part_names(tensor: Tensor) -> list[str]:
    """Returns the attributes in which a wrapper subclass holds its tensors; none for a tensor with memory of its own."""
    if type(tensor) is Tensor or type(tensor) is nn.Parameter:
        return []
    if is_traceable_wrapper_subclass(tensor):
        return list(tensor.__tensor_flatten__()[0])
    held = [name for name, value in getattr(tensor, "__dict__", {}).items() if isinstance(value, Tensor)]
    return [] if not held or _has_memory(tensor) else held


def _has_memory(tensor: Tensor) -> bool:
    try:
        return tensor.layout != torch.strided or tensor.numel() == 0 or tensor.data_ptr() != 0
    except (RuntimeError, NotImplementedError):
        return False


def _same_memory(tensor: Tensor, memory: Tensor) -> bool:
    kind = tensor.shape, tensor.dtype, tensor.device, tensor.layout
    if kind != (memory.shape, memory.dtype, memory.device, memory.layout):
        return False
    return tensor.layout != torch.strided or (tensor.data_ptr(), tensor.stride()) == (memory.data_ptr(), memory.stride())


def _same_values(one: Tensor, other: Tensor) -> bool:
    try:
        return one.layout == torch.strided and torch.equal(one, other)
    except (RuntimeError, NotImplementedError):  # a dtype that PyTorch does not compare
        return False


def _noted(module: nn.Module) -> dict[str, tuple[Any, Any]]:
    """Returns each attribute, and a copy of what it holds."""
    return {name: (value, value.copy() if type(value) in CONTAINERS else None) for name, value in vars(module).items()}


def _put_back(module: nn.Module, attributes: dict[str, tuple[Any, Any]]) -> None:
    now = vars(module)
    for name in now.keys() - attributes.keys():
        del now[name]
    for name, (held, content) in attributes.items():
        now[name] = held
        if content is not None and not _same_content(held, content):
            held.clear()
            held.extend(content) if isinstance(held, (list, deque)) else held.update(content)


def _same_content(held: Any, content: Any) -> bool:
    """Returns whether a container holds the very same objects; tensors have no truth value to compare them by."""
    if not held or not content:
        return len(held) == len(content)
    if isinstance(held, dict):
        return held.keys() == content.keys() and all(map(is_, held.values(), (content[name] for name in held)))
    return len(held) == len(content) and all(map(is_, held, content))


def _global_generators() -> list[Any]:
    """Returns the global generators of Python and NumPy; `fork_rng` restores those of PyTorch."""
    numpy = sys.modules.get("numpy")
    return [random] if numpy is None else [random, numpy.random]


def generators(model: nn.Module) -> list[Any]:
    """Returns every generator that a module reaches through its attributes, containers, plain objects, closures and globals."""
    kinds = _kinds()
    found: dict[int, Any] = {}
    seen: set[int] = set()
    level: list[Any] = [*(_own(module) for module in model.modules()), _named_in_code(model)]
    for _ in range(DEPTH):
        following: list[Any] = []
        for value in (each for holder in level for each in _held(holder)):
            kind = type(value)
            if kind in PLAIN or (kind in SIZED and not value) or isinstance(value, OPAQUE) or id(value) in seen:
                continue
            seen.add(id(value))
            if kind is torch.Generator or isinstance(value, kinds):  # its metaclass makes `isinstance` slow
                found[id(value)] = value
            elif not isinstance(value, nn.Module):
                following.append(value)
        level = following
    return list(found.values())


def _named_in_code(model: nn.Module) -> list[Any]:
    """Returns what the methods of a model, and the functions beside them, name in closures and globals."""
    classes = {kind for module in model.modules() for kind in type(module).__mro__ if not _pytorch(kind.__module__)}
    waiting = [value for kind in classes for value in vars(kind).values() if type(value) is FunctionType]
    waiting += [value for module in model.modules() for value in vars(module).values() if type(value) is FunctionType]
    named: dict[int, Any] = {}
    while waiting:
        function = waiting.pop()
        names = function.__globals__
        values = [names[name] for name in _names_in(function.__code__) if name in names]
        values += [value for cell in function.__closure__ or () if (value := _content(cell)) is not None]
        for value in values:
            if id(value) not in named and not isinstance(value, (nn.Module, type, ModuleType)):
                named[id(value)] = value
                if type(value) is FunctionType and value.__globals__ is names:
                    waiting.append(value)
    return list(named.values())


def _names_in(code: CodeType) -> list[str]:
    """Returns the names in the code of a function, and of the functions and comprehensions inside of it."""
    inner = [name for value in code.co_consts if isinstance(value, CodeType) for name in _names_in(value)]
    return [*code.co_names, *inner]


def _pytorch(name: str) -> bool:
    return name == "builtins" or name.partition(".")[0] == "torch"


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is empty
        return None


def _own(module: nn.Module) -> list[Any]:
    """Returns the attributes of a module beside those of `nn.Module`; of these, the hooks."""
    return [value for name, value in vars(module).items() if name not in INTERNAL or (name.endswith("hooks") and value)]


def _kinds() -> tuple[type, ...]:
    numpy = sys.modules.get("numpy")
    own = () if numpy is None else (numpy.random.RandomState, numpy.random.Generator, numpy.random.BitGenerator)
    return (random.Random, *own)


def _held(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, (list, tuple, set, frozenset, deque)):
        return list(value)
    return list(getattr(value, "__dict__", {}).values())


def _restorer(generator: Any) -> Callable[[], None]:
    """Returns what sets a generator back to its state of now."""
    if hasattr(generator, "getstate"):
        state = generator.getstate()
        return lambda: generator.setstate(state)
    if hasattr(generator, "get_state"):
        state = generator.get_state()
        return lambda: generator.set_state(state)
    bits = getattr(generator, "bit_generator", generator)
    state = copy.deepcopy(bits.state)
    return lambda: setattr(bits, "state", state)
