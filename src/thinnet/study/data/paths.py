"""Checks the path of a study: its form, and whether it exists. Nothing here imports more than the standard library."""

import bz2
import difflib
import gzip
import lzma
import re
from collections.abc import Callable
from pathlib import Path

from thinnet.study.design.plan import COMMAND, StudyError
from thinnet.study.design.problems import PROBLEMS

PACKED: dict[str, Callable] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
ADDRESSES = ("http", "https", "ftp", "s3", "gs", "hf")
ARRAYS = ".npz"
TABLES = (".csv", ".tsv", ".txt", ".parquet", ARRAYS)
FORMS = (*TABLES, ".py")
ADVICE = {
    ".xlsx": "Save the sheet as CSV.",
    ".xls": "Save the sheet as CSV.",
    ".zip": "Unpack it.",
    ".tar": "Unpack it, then name the folder.",
    ".tgz": "Unpack it, then name the folder.",
    ".json": "Convert it: pandas.read_json(...).to_csv(...).",
    ".jsonl": "Convert it: pandas.read_json(..., lines=True).to_csv(...).",
    ".feather": "Convert it: pandas.read_feather(...).to_parquet(...).",
    ".pkl": "Save it as Parquet.",
    ".npy": "Save inputs and targets together: numpy.savez('data.npz', X=..., y=...).",
    ".ipynb": "Save model() and data() in a .py file.",
    **dict.fromkeys((".png", ".jpg", ".jpeg"), "Name the folder that has one folder of pictures for each class."),
}


def suffix_of(path: Path) -> str:
    """Returns the suffix without that of the compression.

    >>> suffix_of(Path("table.CSV.gz"))
    '.csv'
    """
    return (Path(path.stem) if path.suffix.lower() in PACKED else path).suffix.lower()


def check_address(path: Path) -> None:
    """Refuses an address.

    Raises:
        StudyError: with the next step.
    """
    if str(path).split(":")[0] in ADDRESSES:
        address, advice = re.sub(":/+", "://", str(path)), "Download it first, then name the file."
        raise StudyError(COMMAND, "FILE must be a file on this machine", f"the address {address!r}", advice)


def check_path(path: Path) -> None:
    """Refuses an address, a form that is not known, and a path where there is nothing.

    Raises:
        StudyError: with the path or the built-in problem that was probably meant.
    """
    check_address(path)
    if (advice := ADVICE.get(suffix_of(path))) and not path.is_dir():
        raise StudyError(COMMAND, f"FILE must end in {', '.join(FORMS)}", repr(str(path)), advice)
    if path.exists():
        return
    beside = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, [*beside, *(PROBLEMS if path.parent == Path(".") else ())], 1)
    advice = f"Did you mean {str(path.with_name(near[0]))!r}?" if near else "Check the path."
    more = "" if path.suffix else ", a folder or a built-in problem"
    raise StudyError(COMMAND, f"FILE must be a file that exists{more}", repr(str(path)), advice)


def check_table(path: Path) -> None:
    """Refuses a path that is not that of a table.

    Raises:
        StudyError: there is no such file, or its form is not known.
    """
    check_path(path)
    if path.is_dir():
        raise StudyError(COMMAND, "FILE must be a file that exists", f"the folder {str(path)!r}", "Name a file in it.")
    if suffix_of(path) not in TABLES:
        rule, got = f"FILE must end in {', '.join(TABLES)}", repr(str(path))
        raise StudyError(COMMAND, rule, got, "Convert it to one of them.")
