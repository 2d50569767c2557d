"""Fixtures of the study: small data, and the command in this process."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from thinnet.cli import app
from thinnet.study.data.reading import open_problem
from thinnet.study.design.plan import Plan
from thinnet.study.request import Request

TINY = ("--rates", "0.3,0.6", "--seeds", "3", "--epochs", "3", "--hidden", "16", "--jobs", "1")


@dataclass(frozen=True)
class Outcome:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    def result(self) -> dict[str, Any]:
        """The JSON document without the times."""
        return {name: value for name, value in json.loads(self.out).items() if name != "seconds"}


@pytest.fixture(scope="session")
def study() -> Callable[..., Outcome]:
    """Run `thinnet study` in this process, with tiny settings where the arguments give none."""

    def run(*arguments: object) -> Outcome:
        result = CliRunner().invoke(app, ["study", *TINY, *map(str, arguments)], catch_exceptions=False)
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture(scope="session")
def request_of() -> Callable[..., Request]:
    """Return a request for a study of three seeds."""

    def ask(file: Path | None, target: str | None, plan: Plan, out: Path, seeds: int = 3, jobs: int = 1) -> Request:
        return Request(open_problem(file, target), plan, seeds, None, jobs, out, "thinnet study")

    return ask


@pytest.fixture(scope="session")
def mixed() -> pd.DataFrame:
    """120 rows with numbers, text, booleans, times and missing values; `label` has classes and `amount` numbers."""
    rng = np.random.default_rng(7)
    size, colour = rng.normal(size=120), rng.choice(["red", "green", "blue"], size=120)
    frame = pd.DataFrame(
        {
            "size": size,
            "colour": colour,
            "old": rng.random(120) < 0.5,
            "seen": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 900, size=120), unit="D"),
            "label": np.where(size + (colour == "red") + 0.3 * rng.normal(size=120) > 0.3, "high", "low"),
            "amount": 50 + 20 * size + 3 * rng.normal(size=120),
        }
    )
    frame.loc[::9, "size"] = np.nan
    frame.loc[::11, "colour"] = None
    return frame


@pytest.fixture
def csv(tmp_path: Path, mixed: pd.DataFrame) -> Path:
    """The mixed rows as a file."""
    path = tmp_path / "mixed.csv"
    mixed.to_csv(path, index=False)
    return path
