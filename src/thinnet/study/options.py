"""From the options of `thinnet study` to its plan and its folder."""

from pathlib import Path
from typing import Any

from thinnet.study.plan import Plan, parse_names, parse_numbers
from thinnet.study.problems import DIGITS, PROBLEMS, file_of

NAMES = ("methods", "places", "schedules", "against")


def plan_of(file: Path | None, given: dict[str, Any], *, hidden: str, **more: Any) -> Plan:
    """Return the plan of a study.

    Args:
        file: the table, the user's Python file, or the name of a built-in problem.
        given: options whose default depends on the file; None is not given. `rates` are numbers separated by commas.
        hidden: widths separated by commas.
        more: the other settings of the plan; those of NAMES are separated by commas.

    Raises:
        StudyError: a setting breaks its rule.

    >>> plan_of(None, {"epochs": 5, "batch": None}, hidden="8").epochs
    5
    """
    named = {option: value for option, value in given.items() if value is not None}
    if "rates" in named:
        named["rates"] = parse_numbers("--rates", named["rates"])
    more |= {name: parse_names(more[name]) for name in NAMES if name in more}
    return Plan(**_defaults(file) | named, hidden=parse_numbers("--hidden", hidden, int), **more)


def _defaults(file: Path | None) -> dict[str, Any]:
    name = DIGITS if file is None else str(file)
    source = file_of(name)
    if source is None:
        return dict(PROBLEMS[name].settings) if name in PROBLEMS else {}
    from thinnet.study.user_file import open_file, settings_of

    return settings_of(open_file(source))


def folder_of(file: Path | None) -> Path:
    """Return the output folder of a study that names none.

    >>> str(folder_of(None)), str(folder_of(Path("data/patients.csv.gz")))
    ('report', 'patients-report')
    """
    return Path("report" if file is None or str(file) == DIGITS else f"{file.name.split('.')[0]}-report")
