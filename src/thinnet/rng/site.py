"""Base class of dropout modules. A site draws a seed for each call, or reads the address that `DropoutRNG` binds to it."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, fx, nn
from torch._C import _are_functorch_transforms_active
from torch.compiler import is_compiling

from thinnet import ops
from thinnet.ops import NoiseKind
from thinnet.ops.part import Part
from thinnet.rng import rates
from thinnet.rng.calls import Uses, mix, roots
from thinnet.rng.context import CPU, HIGH, LOW, capturing, draw_seed, model_context
from thinnet.rng.fake import faked, is_faking
from thinnet.rng.key import NoiseKey
from thinnet.rng.mapped import IN_VMAP, is_mapped
from thinnet.rng.names import check_rows, site_number

PRIVATE = ("_rates", "_numbers", "_captured", "uses")  # device memory and counts: a copy makes its own


class Site(nn.Module):
    """A dropout module: it has a rate, and an address once a model is bound.

    The Python number `p` is the truth. Kernels and compiled code read a device tensor of it, which is neither a buffer nor
    copied, so a checkpoint has the same keys as with PyTorch's classes. `site.p = 0.3` checks the rate and does not recompile.

    Attributes:
        one_rate: whether the method has one rate, `p`; if not, it is learned, or differs among units.
        kind: what the random bits do to a number.
        shared_axes: from the number of axes of `x` to those along which all elements have the same noise; None for no axis.
        part: which part of a tensor that ranks share the input is; None for a whole tensor, or a DTensor.
    """

    below_one = False
    one_rate: ClassVar[bool] = True
    kind: ClassVar[NoiseKind] = NoiseKind.INVERTED
    shared_axes: ClassVar[Callable[[int], tuple[int, ...]] | None] = None
    part: Part | None = None
    __jit_unused_properties__ = ("p",)

    def __init__(self, p: float | None = 0.5, inplace: bool = False) -> None:
        nn.Module.__init__(self)  # not that of PyTorch's class, which sets p without a check
        self.inplace = inplace
        self.context: Any = None  # the RNGContext of a bound model
        self.name: str | None = None
        self._p: float | None = None
        self._device = torch.empty(0).device
        self._make_tensors()
        if self.one_rate:
            self.p = p  # type: ignore[assignment]

    @property
    def p(self) -> float | None:
        """The probability of dropping; None where the method has no one rate: it is learned, or differs among units."""
        return self._p

    @p.setter
    def p(self, p: float) -> None:
        self._p = rates.check(type(self).__name__, p, below_one=self.below_one)
        self._fill({*self._rates})

    def plain_rate(self) -> Any:
        """Returns the rate, or several, as JSON can hold it."""
        return self.p

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """Checks a Parameter that is set as `p`, which nn.Module takes for itself."""
        if name == "p":
            type(self).p.fset(self, param)  # type: ignore[attr-defined]
        else:
            super().register_parameter(name, param)

    def forward(self, input: Tensor) -> Tensor:  # the name that PyTorch's classes give it
        """Returns `input` with noise in training, and `input` itself in eval."""
        # TorchScript compiles the first branch alone
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            return self.scripted(input)  # type: ignore[attr-defined]
        else:
            return self.drop(input) if isinstance(input, Tensor) else recorded(self, input)

    def __prepare_scriptable__(self) -> "Site":
        """Refuses what TorchScript cannot hold, before it compiles anything. A class that it can hold defines `scripted`."""
        if self.context is not None:
            raise RuntimeError(f"site {self.name!r}: TorchScript has no addressed masks. Call rng.unbind() first.")
        if not hasattr(self, "scripted"):
            kind = type(self).__name__
            raise TypeError(f"{kind}: torch.jit.script has no form of {kind}. Use thinnet.strip(model) first, or torch.export.")
        return self

    def drop(self, x: Tensor) -> Tensor:
        """Applies the method to `x`. A method that is more than noise of a kind overrides it."""
        shared: Any = self.shared_axes
        return self.apply_noise(x, () if shared is None else shared(x.ndim), self.kind)

    def apply_noise(self, x: Tensor, shared_axes: tuple[int, ...] = (), kind: NoiseKind = NoiseKind.INVERTED) -> Tensor:
        """Applies noise to `x` in training; returns `x` itself in eval."""
        if not self.training:
            return x
        if not is_compiling() and self._p == 0 and not capturing(x.device):  # those read the rate at run time
            return x
        rate, seed, step, site, samples = self._rate_and_address(x, 0)  # a NoiseKey would cost a tenth of a small call
        return ops.apply_noise(
            x,
            rate,
            seed,
            step=step,
            site=site,
            samples=samples,
            shared_axes=shared_axes,
            kind=kind,
            inplace=self.inplace,
            part=self.part,
            function=type(self).__name__,
        )

    def key(self, x: Tensor, batch: int | None = 0) -> NoiseKey | None:
        """Returns the key of this use; None in eval.

        Args:
            x: what the site was called with; it gives the device and the number of samples.
            batch: the axis of `x` that counts the samples; None where the samples of a batch share their noise.
        """
        return NoiseKey(type(self).__name__, *self._rate_and_address(x, batch), self.part) if self.training else None

    def _rate_and_address(
        self, x: Tensor, batch: int | None
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]:
        """Returns the rate, and seed, step, site and samples."""
        device = x.device
        rate = self._rates.get(device)
        if rate is None or type(x) is not Tensor or device.type == "cuda":
            rate = self._rate(device)
        if self.context is not None:
            return rate, *self._address(x, batch)
        if is_compiling():
            return rate, draw_seed(device), None, None, None
        if roots.running:
            for root in roots.running:
                self.check_bound(root)
        return rate, torch.randint(LOW, HIGH, (), device=device), None, None, None

    def _address(self, x: Tensor, batch: int | None) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Returns seed, step, site and samples."""
        context, device = self.context, x.device
        if not context.started:
            raise RuntimeError(
                f"site {self.name!r}: its RNG has no step yet. Call rng.at(step, samples=ids) first;"
                " thinnet.rng_of(model) is the rng of a bound model and of its copies."
            )
        seed, step, samples = context.tensors(device)
        if batch is not None and context.rows_given and (x.ndim <= batch or x.shape[batch] != samples.shape[0]):
            samples = context.other_rows(self.name, x, batch, samples)
        if batch is not None and x.ndim > batch and not is_compiling():
            place, rows = model_context(context).place, x.shape[batch]
            if rows == 1 and not place.ids_given and _are_functorch_transforms_active() and is_mapped(x):
                raise ValueError(f"site {self.name!r}: a row inside torch.func.vmap must have its id; got none. {IN_VMAP}")
            if type(place.samples) is int:
                check_rows(f"site {self.name!r}", place.samples, rows)
        call = context.calls.number(self)
        if call:
            seed = seed ^ mix(call)
        view = context.calls.view_key
        if view is not None:
            seed = seed ^ view
        number = self._numbers.get(device)
        if number is None or (type(x) is not Tensor and is_faking()):
            number = self._add(self._numbers, device, site_number(self.name or ""), torch.int64)
        return seed, step, number, samples if batch is not None else None

    def _rate(self, device: torch.device) -> Tensor:
        """Returns the rate in 65536ths on a device; while a CUDA graph captures, memory that `p =` writes into later."""
        rate = self._rates.get(device)
        if rate is None or is_faking():
            rate = self._add(self._rates, device, self._counted(), torch.int32)
        if capturing(device):
            rate = self._captured.setdefault(device, rate)
        return rate

    def _counted(self) -> int | Tensor:
        return 0 if self._p is None else rates.count(self._p)

    def _add(
        self, tensors: dict[torch.device, Tensor], device: torch.device, value: int | Tensor, dtype: torch.dtype
    ) -> Tensor:
        """Makes a number on a device that this site meets first. A trace moves it from the CPU, as it must not make it."""
        if is_compiling():
            return tensors[CPU].to(device)
        if capturing(device):
            raise RuntimeError(
                f"{type(self).__name__}: a CUDA graph must find the rate on its device. Run the model once before the capture."
            )
        made = number_on(device, value, dtype)
        if type(made) is Tensor:  # the fake tensor of a trace is not kept
            tensors[device] = made
        return made

    def _make_tensors(self) -> None:
        """Makes rate and number on the CPU and on the device of the module."""
        devices = {CPU} if self._device.type == "meta" else {CPU, self._device}
        self._rates: dict[torch.device, Tensor] = {}
        self._numbers: dict[torch.device, Tensor] = {}
        self._captured: dict[torch.device, Tensor] = {}
        self.uses = Uses()
        self._fill(devices)
        self._number(devices)

    def _fill(self, devices: set[torch.device]) -> None:
        self._rates = {device: number_on(device, self._counted(), torch.int32) for device in devices}
        for device, held in self._captured.items():
            held.copy_(self._rates[device])

    def _number(self, devices: set[torch.device]) -> None:
        number = site_number(self.name or "")
        self._numbers = {device: number_on(device, number, torch.int64) for device in devices}

    def bind(self, context: Any, name: str) -> None:
        """Gives the site an address."""
        self.context, self.name, self.uses = context, name, Uses()
        self._number({*self._rates})
        self._warm(context)

    def unbind(self) -> None:
        """Takes the address away."""
        self.context, self.name = None, None

    def _warm(self, context: Any) -> None:
        """Makes seed, step and samples before something is compiled."""
        for device in self._rates:
            context.tensors(device)

    def check_bound(self, model: nn.Module | None) -> None:
        """Refuses a site of a bound model that was added after `bind`."""
        if model is not None and any(module is self for module in model.modules()):
            raise RuntimeError(
                f"{type(self).__name__}: every site of a bound model must be bound; this one was added after bind."
                " Call rng.bind(model) again."
            )

    def _apply(self, fn, recurse=True):
        """Follows the module to its device."""
        super()._apply(fn, recurse)
        self._device = fn(torch.empty(0, device=CPU)).device
        if self._device.type != "meta" and self._device not in self._rates:
            devices = {*self._rates, self._device}
            self._fill(devices)
            self._number(devices)
            if self.context is not None:
                self._warm(self.context)
        return self

    def _replicate_for_data_parallel(self):
        """Refuses replicas in several threads with the same addresses."""
        if self.context is not None and self.training:
            raise RuntimeError(
                f"site {self.name!r}: addressed masks do not work under DataParallel on several GPUs."
                " Use torch.nn.parallel.DistributedDataParallel."
            )
        return super()._replicate_for_data_parallel()

    def __getstate__(self) -> dict[str, Any]:
        """Returns what a copy takes along: all but device memory and counts."""
        return {key: value for key, value in self.__dict__.items() if key not in PRIVATE}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Makes the device tensors of a copy, and enters it into its own DropoutRNG. Drops the buffers of old pickles."""
        state = {key: value for key, value in state.items() if key not in ("clock", "calls")}
        hidden = state.get("_non_persistent_buffers_set", set())
        old = {"rate", "site"} & hidden
        state["_buffers"] = {key: value for key, value in state["_buffers"].items() if key not in old}
        state["_non_persistent_buffers_set"] = hidden - old
        super().__setstate__({"context": None, "name": None, "_device": CPU} | state)
        self._make_tensors()
        context = model_context(self.context)
        if context is not None and context.rng is not None:
            context.rng.adopt(self)
            self._warm(context)

    def extra_repr(self) -> str:
        """Returns the rate as PyTorch's modules print it."""
        return "" if self.p is None else f"p={self.p}, inplace={self.inplace}"


def recorded(site: nn.Module, x: Any, *others: Any, **options: Any) -> Any:
    """Records a site as one call of a symbolic trace, as `torch.fx` does for PyTorch's; refuses anything but a tensor."""
    if isinstance(x, fx.Proxy):
        return x.tracer.create_proxy("call_module", x.tracer.path_of_module(site), (x, *others), options)  # type: ignore[attr-defined]
    raise TypeError(f"{type(site).__name__}: x must be a tensor; got {type(x).__name__}. Pass torch.as_tensor(x).")


def number_on(device: torch.device, value: int | Tensor, dtype: torch.dtype) -> Tensor:
    """Returns a 0-d tensor, or one for each of several. It is no inference tensor: those cannot be saved for backward later."""
    with torch.inference_mode(False):
        return (
            faked(value).to(device, dtype) if isinstance(value, Tensor) else torch.full((), value, dtype=dtype, device=device)
        )
