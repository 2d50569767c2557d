"""Builds the one C++ extension; everything else about the package is in pyproject.toml.

The extension uses PyTorch's stable ABI alone, so one build serves every later PyTorch release. Where it cannot be built
the package still installs: the plain-PyTorch reference gives the same masks, and `thinnet --version` says so.
"""

from pathlib import Path

from setuptools import setup
from torch.utils.cpp_extension import BuildExtension, CppExtension

CSRC = Path("src/thinnet/ops/csrc")


class OptionalBuild(BuildExtension):
    """Builds the extension. If that fails, prints why and installs the package without it."""

    def build_extensions(self) -> None:
        try:
            super().build_extensions()
        except Exception as error:
            print(f"thinnet: the C++ kernels were not built ({error}); the plain-PyTorch reference serves the CPU instead.")


extension = CppExtension(
    "thinnet.ops._C",
    sorted(str(source) for source in CSRC.glob("*.cpp")),
    depends=sorted(str(header) for header in CSRC.glob("*.h")),
    # -fno-trapping-math and -fno-math-errno let loops with a selection or a root become vector instructions; no value changes.
    # -ffp-contract=off: a fused multiply-add would round differently from the reference that defines the bits.
    extra_compile_args=[
        "-O3",
        "-std=c++20",
        "-ffp-contract=off",
        "-fno-trapping-math",
        "-fno-math-errno",
        "-fvisibility=hidden",
        "-DTORCH_TARGET_VERSION=0x020a000000000000",
    ],
    py_limited_api=True,
    optional=True,
)

setup(
    ext_modules=[extension],
    cmdclass={"build_ext": OptionalBuild.with_options(use_ninja=False)},
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
