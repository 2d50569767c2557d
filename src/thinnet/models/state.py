"""Restores a model and every random generator: tensors, gradients, modes, attributes."""

import copy
import random
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from operator import is_
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from thinnet.models.reached import Reached, content, reached
from thinnet.rng import Site
from thinnet.rng.context import RNGContext, model_context

STEPS = 1 << 32


class State:
    """The tensors, gradients and attributes of a model, and the random generators, at one time.

    Args:
        model: any module.
        seed: as in `preserve_state`.
        values: whether values and attributes are saved; else only the memory that each tensor uses, and the generators.
    """

    def __init__(self, model: nn.Module, seed: int | None = None, values: bool = True) -> None:
        found = reached(model)
        self._seed = seed
        self._content = [_content_of(found)] if values else []
        self._tensors = {id(tensor): _Saved(tensor, values) for tensor in found.tensors if _holds_values(tensor)}
        devices = {saved.tensor.device.index for saved in self._tensors.values() if saved.tensor.device.type == "cuda"}
        self.generators = found.generators
        self._contexts = _contexts(model)
        generators = (*_global_generators(sorted(devices)), *found.generators, *self._contexts)
        self._generators = [_restorer(each) for each in generators]

    def begin(self) -> None:
        """Seeds the global generators, and sets a bound model to the step of the seed."""
        if self._seed is not None:
            seed_all(self._seed)
            self._move_to(self._seed)

    def restore(self) -> None:
        """Puts everything back, in place; the random generators go on, and a bound model goes to its next step if seeded."""
        self._put_back()
        if self._seed is not None:
            self._move_to(self._step + 1)

    def _move_to(self, step: int) -> None:
        self._step = step % STEPS
        for context in self._contexts:
            context.move_to(self._step)

    def _put_back(self) -> None:
        for put_back in self._content:
            put_back()
        self.restore_tensors()

    def restore_tensors(self) -> bool:
        """Puts the tensors back alone; returns whether any had changed."""
        with torch.no_grad():
            return any([saved.restore() for saved in self._tensors.values()])

    def rewind(self, seeded: bool = True) -> None:
        """Puts everything back, and the random generators to their state of the start; `seeded` seeds the global ones."""
        self._put_back()
        for put_back in self._generators:
            put_back()
        if seeded:
            self.begin()

    def changed(self, tensors: Iterable[Tensor]) -> bool:
        """Returns whether one of the tensors has other memory or other values."""
        return any(self._tensors[id(tensor)].changed() for tensor in tensors if id(tensor) in self._tensors)


@contextmanager
def preserve_state(model: nn.Module, seed: int | None = None, values: bool = True) -> Iterator[State]:
    """Restores on exit the parameters, buffers, gradients, modes, attributes and random generators of a model.

    Tensors are restored in place: the same objects with the same memory and the old values, whatever wrote to them. So are the
    containers, objects and arrays that a module holds, up to three steps away. The generators are those of PyTorch, Python and
    NumPy, and every `torch.Generator`, `random.Random`, `numpy.random.RandomState` and `numpy.random.Generator` that a module
    reaches through attributes, containers, objects, closures, or global variables that its methods read.

    Values are copied before anything runs: a write through `.data`, through NumPy or in a kernel leaves no trace to copy at.

    Args:
        model: what may run, and change, in the context.
        seed: seeds the global generators of PyTorch, Python and NumPy in the context. The masks of a bound model are those of
            steps of their own, for any number of rows.
        values: whether values and attributes are restored. Without, only tensors that get other memory and the generators are:
            enough, and faster, for a copy that shares its parameters and does not write to them in place.

    >>> layer = nn.Linear(2, 2)
    >>> with preserve_state(layer):
    ...     layer.weight.data = torch.zeros(2, 2)
    >>> bool(layer.weight.any())
    True
    """
    state = State(model, seed, values)
    try:
        state.begin()
        yield state
    finally:
        state.rewind(seeded=False)


def seed_all(seed: int) -> None:
    """Seeds the global generators of PyTorch, Python and NumPy."""
    torch.manual_seed(seed)
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed % (1 << 32))


def _contexts(model: nn.Module) -> list[RNGContext]:
    """Returns the RNG contexts of the bound sites of a model, each once."""
    found = [model_context(module.context) for module in model.modules() if isinstance(module, Site)]
    return list(dict.fromkeys(context for context in found if context is not None))


def _holds_values(tensor: Tensor) -> bool:
    return not tensor.is_meta and not is_lazy(tensor)


class _Saved:
    """The memory and the values of a tensor, and its gradient; of a wrapper subclass those of the tensors that it holds."""

    def __init__(self, tensor: Tensor, values: bool = True) -> None:
        self.tensor = tensor
        with torch._C.DisableTorchFunctionSubclass():
            self.parts = {name: _Saved(getattr(tensor, name), values) for name in _part_names(tensor)}
            self.memory = None if self.parts else _plain(tensor)
            self.values = self.memory.clone() if values and self.memory is not None else None
            self.grad = tensor.grad if tensor.is_leaf else None
            self.requires_grad = tensor.requires_grad
        self.saved_grad = None if self.grad is None else _Saved(self.grad, values)

    def changed(self) -> bool:
        """Returns whether the tensor has other memory or other values."""
        with torch._C.DisableTorchFunctionSubclass():
            if self.memory is None:
                return any(getattr(self.tensor, name) is not part.tensor or part.changed() for name, part in self.parts.items())
            return not _same_memory(self.tensor, self.memory) or not _same_values(self.memory, self.values)

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
            if self.tensor.is_leaf and self.tensor.requires_grad != self.requires_grad:
                self.tensor.requires_grad = self.requires_grad
                changed = True
            if self.tensor.is_leaf and self.tensor.grad is not self.grad:
                self.tensor.grad = self.grad
                changed = True
        return changed | (self.saved_grad is not None and self.saved_grad.restore())


def _same_values(memory: Tensor, values: Tensor | None) -> bool:
    try:
        return values is None or (memory.layout == torch.strided and torch.equal(memory, values))
    except (RuntimeError, NotImplementedError):  # a dtype that PyTorch does not compare
        return False


def _plain(tensor: Tensor) -> Tensor | None:
    """Returns a plain tensor with the memory of a tensor; None for a subclass that has no memory."""
    if type(tensor) is Tensor or type(tensor) is nn.Parameter or tensor.layout != torch.strided:
        return tensor.data
    if not _has_memory(tensor):
        return None
    plain = torch.empty(0, dtype=tensor.dtype, device=tensor.device)  # a subclass may refuse every operation
    return plain.set_(tensor.untyped_storage(), tensor.storage_offset(), tensor.size(), tensor.stride())


def _part_names(tensor: Tensor) -> list[str]:
    """Returns the attributes in which a wrapper subclass holds its tensors; none for a tensor with memory of its own."""
    if type(tensor) is Tensor or type(tensor) is nn.Parameter:
        return []
    if is_traceable_wrapper_subclass(tensor):
        return [name for name in tensor.__tensor_flatten__()[0] if isinstance(getattr(tensor, name), Tensor)]  # and no mesh
    held = {**getattr(tensor, "__dict__", {}), **content(tensor)}
    names = [name for name, value in held.items() if isinstance(value, Tensor)]
    return [] if not names or _has_memory(tensor) else names


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


def _content_of(found: Reached) -> Callable[[], None]:
    """Returns what puts the content of containers, objects and arrays back."""
    containers = [(held, held.copy()) for held in found.containers]
    slots = [(holder, content(holder)) for holder in found.slotted]
    scripted = [(module, _scripted_content(module)) for module in found.scripted]
    arrays = [(array, array.copy()) for array in found.arrays]

    def put_back() -> None:
        for held, saved in containers:
            if not _same_content(held, saved):
                _refill(held, saved)
        for holder, saved in slots:
            for name, value in saved.items():
                if getattr(holder, name, None) is not value:
                    setattr(holder, name, value)
        for module, saved in scripted:
            for name, value in saved.items():
                if getattr(module, name) != value:
                    setattr(module, name, value)
        for array, saved in arrays:
            if array.tobytes() != saved.tobytes():
                array[...] = saved

    return put_back


def _scripted_content(module: Any) -> dict[str, Any]:
    """Returns the attributes that a scripted module holds outside of Python; tensors are restored in place."""
    values = {name: getattr(module, name) for name in module._concrete_type.get_attributes()}
    return {name: copy.deepcopy(value) for name, value in values.items() if not isinstance(value, (Tensor, nn.Module))}


def _same_content(held: Any, saved: Any) -> bool:
    """Returns whether a container holds the very same objects; tensors have no truth value to compare them by."""
    same = len(held) == len(saved) and all(map(is_, held, saved))
    return same and (not isinstance(held, dict) or all(map(is_, held.values(), saved.values())))


def _refill(held: Any, saved: Any) -> None:
    if isinstance(held, dict) and list(held) == list(saved):  # no moment in which a module is without attributes
        held.update(saved)
        return
    held.clear()
    held.extend(saved) if isinstance(held, (list, deque)) else held.update(saved)


def _global_generators(devices: list[int]) -> list[Any]:
    """Returns the global generators of Python, NumPy and PyTorch."""
    numpy = sys.modules.get("numpy")
    graphics = [torch.cuda.default_generators[index] for index in devices]
    return [random, *([] if numpy is None else [numpy.random]), torch.default_generator, *graphics]


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
