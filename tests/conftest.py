"""Options and fixtures of all tests. A run is the same each time; `--fresh-seed` draws another one and prints it."""

import contextlib
import os
import random

import pytest
import torch

with contextlib.suppress(ImportError):
    from hypothesis import settings

    settings.register_profile("thinnet", deadline=None)  # no test measures time
    settings.load_profile("thinnet")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fresh-seed", action="store_true", help="draw the seed of the statistical tests anew")


def pytest_configure(config: pytest.Config) -> None:
    config.thinnet_seed = random.SystemRandom().getrandbits(31) if config.getoption("--fresh-seed") else 20140101


def pytest_report_header(config: pytest.Config) -> str:
    from thinnet import ops

    return f"thinnet: seed {config.thinnet_seed}, paths {ops.backends()}"


@pytest.fixture(autouse=True)
def seed(request: pytest.FixtureRequest) -> int:
    """Seeds torch before each test; returns the seed."""
    torch.manual_seed(request.config.thinnet_seed)
    torch._dynamo.reset()
    return request.config.thinnet_seed


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On a machine that builds (CI), the compiled kernels have to be there: a run without them would test less in silence."""
    from thinnet import ops

    if os.environ.get("CI") and ops.backends()["cpu"] == "reference":
        raise pytest.UsageError("the C++ kernels are missing; run `make setup`")
