"""Code that Inductor makes for a GPU, without one: its instructions, and its results in the interpreter of Triton."""

import os
import re
import subprocess
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
import torch._dynamo.device_interface
import torch._inductor.scheduler
import triton
from torch import Tensor
from torch._inductor import compile_fx, config
from torch._inductor.async_compile import AsyncCompile
from torch._inductor.decomposition import select_decomp_table
from torch._inductor.graph import GraphLowering
from torch._inductor.runtime.hints import DeviceProperties
from torch._inductor.virtualized import V
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime import driver

HOPPER = GPUTarget("cuda", 90, 32)
SIZES = dict(multi_processor_count=132, regs_per_multiprocessor=65536, max_threads_per_multi_processor=2048, warp_size=32)
HINTS = DeviceProperties(type="cuda", index=0, cc=90, major=9, **SIZES)
CARD = SimpleNamespace(name="H100", major=9, minor=0, total_memory=80 << 30, gcnArchName="", L2_cache_size=50 << 20, **SIZES)
SILENT = SimpleNamespace(_DeviceGuard=lambda index: nullcontext(), set_device=lambda index: None)
DTYPES = "bool", "uint8", "int32", "int64", "float16", "bfloat16", "float32", "float64"
KERNEL = re.compile(r"async_compile\.triton\('(\w+)', '''(.*?)'''", re.S)


class Driver:
    """As much of a GPU as Triton asks for to compile."""

    def get_current_device(self) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return HOPPER

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cpu")

    def __getattr__(self, name: str) -> Any:
        return lambda *args: 0


class Generated(BaseException):
    """Carries the code out of the compiler before it calls a GPU. No handler of errors stops it."""


@contextmanager
def pretended() -> Iterator[None]:
    """A GPU as far as Inductor asks for one. Nothing is cached: another process would take the code for its own."""

    def stop(code: str) -> None:
        raise Generated(code)

    def number(seeds: Any, index: int) -> Any:
        return torch._prims.TensorMeta(shape=(), strides=(), dtype=torch.int64, device=torch.device("cuda:0"))

    interface = torch._dynamo.device_interface.CudaInterface
    driver.set_active(Driver())
    with (
        config.patch(force_disable_caches=True),
        patch.object(DeviceProperties, "create", lambda device: HINTS),
        patch.object(interface, "get_device_properties", lambda *args: CARD),
        patch.object(interface, "is_bf16_supported", lambda *args, **kwargs: True),
        patch.object(torch.cuda, "get_device_properties", lambda *args: CARD),
        patch.object(torch.cuda, "get_device_capability", lambda *args: (9, 0)),
        patch.object(torch.cuda, "current_device", lambda: 0),
        patch.object(torch._inductor.scheduler, "has_triton", lambda *args, **kwargs: True),
        patch.object(torch.ops.prims.inductor_lookup_seed.default, "prim_meta_impl", number),
        patch.object(AsyncCompile, "triton", lambda *args, **kwargs: None),
        patch.object(GraphLowering, "save_output_code", staticmethod(stop)),
    ):
        yield


def generated(function: Callable[..., Any], *inputs: Tensor) -> str:
    """Returns the code that Inductor makes of a function of GPU tensors with the shapes, strides and dtypes of `inputs`."""
    with pretended(), FakeTensorMode(allow_non_fake_inputs=True) as mode:
        there = [torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="cuda") for x in inputs]
        graph = make_fx(lambda *args: pytree.tree_leaves(function(*args)), decomposition_table=select_decomp_table())(*there)
        with V.set_fake_mode(mode):
            compile_fx.joint_graph_passes(graph)
            try:
                compile_fx.compile_fx_inner(graph, there)
            except Generated as end:
                return str(end)
    raise AssertionError("the compiler made no code")


def kernels(code: str, folder: Path) -> dict[str, Any]:
    """Returns the kernels of generated code, as Triton functions."""
    found = {}
    for name, text in KERNEL.findall(code):
        text = re.sub(r"@triton_heuristics\..*?@triton\.jit", "@triton.jit", text, flags=re.S)
        path = folder / f"{name}.py"
        path.write_text(text.replace("triton_helpers.set_driver_to_gpu()", ""))
        spec = spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        found[name] = getattr(module, name)
    return found


def instructions(code: str, folder: Path) -> dict[str, tuple[float, Any]]:
    """Returns the instructions an element of each kernel of one axis, compiled for Hopper, and what Triton compiled."""
    found, block, warps = {}, 1024, 4
    texts = dict(KERNEL.findall(code))
    for name, kernel in kernels(code, folder).items():
        meta = eval(re.search(r"triton_meta=(\{.*?\}),\n", texts[name]).group(1), {"DeviceProperties": DeviceProperties})
        source = ASTSource(kernel, meta["signature"], {(kernel.arg_names.index("XBLOCK"),): block}, meta["configs"][0])
        compiled = triton.compile(source, target=HOPPER, options={"num_warps": warps})
        (folder / "code.cubin").write_bytes(compiled.asm["cubin"])
        tool = Path(triton.__file__).parent / "backends/nvidia/bin/nvdisasm"
        listing = subprocess.run([tool, "-c", folder / "code.cubin"], capture_output=True, text=True, check=True).stdout
        names = re.findall(r"^\s+/\*[0-9a-f]{4}\*/\s+(?:@!?U?P\d+ )?([A-Z][A-Z0-9_.]+)", listing, re.M)
        found[name] = sum(name not in ("NOP", "BRA") for name in names) / (block / (32 * warps)), compiled
    return found


def run(code: str, folder: Path, *inputs: Tensor, block: int = 256) -> tuple[Any, ...]:
    """Returns the results of generated code for CPU tensors, in Triton's interpreter: TRITON_INTERPRET must be set."""
    assert os.environ.get("TRITON_INTERPRET") == "1"
    namespace: dict[str, Any] = {
        "torch": SimpleNamespace(**{name: getattr(torch, name) for name in DTYPES}, cuda=SILENT),
        "empty_strided_cuda": lambda size, stride, dtype: torch.empty_strided(size, stride, dtype=dtype),
        "get_raw_stream": lambda index: None,
        "copy_if_misaligned": lambda x: x,
        "reinterpret_tensor": torch.ops.inductor._reinterpret_tensor,
    }
    for name, kernel in kernels(code, folder).items():

        def launch(*args: Any, stream: Any, kernel: Any = kernel) -> None:
            kernel[(-(-args[-1] // block),)](*args, XBLOCK=block)

        namespace[name] = SimpleNamespace(run=launch)
    body = re.search(r"    def call\(self, args\):.*?\n        return [^\n]*\n", code, re.S)
    assert body is not None
    namespace |= {name: lambda *args: None for name in re.findall(r"\bassert_\w+(?=\()", body.group(0))}
    exec(textwrap.dedent(body.group(0)), namespace)
    return namespace["call"](None, list(inputs))
