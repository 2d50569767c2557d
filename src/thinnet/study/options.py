"""From the options of `thinnet study` to its plan and its folder."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thinnet.study.design.plan import Plan, parse_names, parse_numbers
from thinnet.study.design.problems import DIGITS

if TYPE_CHECKING:
    import pandas as pd

NAMES = ("methods", "places", "schedules", "against")
NUMBERS = {"rates": float, "hidden": int}


def plan_of(settings: Mapping[str, Any], given: Mapping[str, Any], **more: Any) -> Plan:
    """Returns the plan of a study.

    Args:
        settings: those that suit the problem.
        given: options whose default depends on the problem; None is not given.
        more: the other settings of the plan. Numbers and names may be text, separated by commas.

    Raises:
        StudyError: a setting breaks its rule.

    >>> plan_of({"epochs": 9, "batch": 32}, {"epochs": 5, "rates": "0.2,0.5", "batch": None}, hidden="8").rates
    (0.0, 0.2, 0.5)
    """
    named = {option: value for option, value in given.items() if value is not None}
    return Plan(**{name: _parsed(name, value) for name, value in {**settings, **named, **more}.items()})


def _parsed(name: str, value: Any) -> Any:
    if name in NUMBERS:
        return parse_numbers(f"--{name}", value, NUMBERS[name]) if isinstance(value, str) else tuple(value)
    if name in NAMES:
        return parse_names(value) if isinstance(value, str) else tuple(value)
    return value


def folder_of(file: "Path | pd.DataFrame | None") -> Path:
    """Returns the output folder of a study that names none.

    >>> str(folder_of(None)), str(folder_of(Path("data/patients.csv.gz")))
    ('report', 'patients-report')
    """
    if not isinstance(file, Path):
        return Path("report" if file is None else "table-report")
    return Path("report" if str(file) == DIGITS else f"{file.resolve().name.split('.')[0]}-report")


def rank_and_ranks(where: str = "") -> tuple[int, int]:
    """Returns the rank of this process and the number of ranks that `torchrun` has started: 0 and 1 without it.

    Args:
        where: `LOCAL_` for those of this machine.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return 0, 1
    return int(os.environ[f"{where}RANK"]), int(os.environ[f"{where}WORLD_SIZE"])
