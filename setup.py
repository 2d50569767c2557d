"""Adds the compiled kernels to a wheel where PyTorch is there at build time; the rest about the package is in pyproject.toml.

`pip install` builds in an environment without PyTorch. It makes a package of pure Python, and `thinnet build` compiles later.
"""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

spec = spec_from_file_location("thinnet_build", Path(__file__).parent / "src/thinnet/ops/build.py")
build = module_from_spec(spec)
spec.loader.exec_module(build)


class BuildKernels(build_ext):
    """Compiles as `thinnet build` does. Where that fails, it prints why and the package has no kernels."""

    def build_extension(self, extension: Extension) -> None:
        try:
            build.compile_to(Path(self.get_ext_fullpath(extension.name)).absolute())
        except build.BuildError as error:
            print(f"thinnet: the package has no C++ kernels, and plain PyTorch serves the CPU. {error}", file=sys.stderr)


kernels = Extension(
    "thinnet.ops._C",
    [path.relative_to(Path(__file__).parent.absolute()).as_posix() for path in build.sources()],
    py_limited_api=True,
    optional=True,
)

setup(
    ext_modules=[kernels] if build.torch_folder() and build.compiler() else [],
    cmdclass={"build_ext": BuildKernels},
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
