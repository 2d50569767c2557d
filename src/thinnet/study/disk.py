"""Errors of the disk as one sentence."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from thinnet.study.design.plan import StudyError

FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turns an error of the disk on which a study is written into one that the caller can correct; others pass.

    Args:
        folder: the folder of the study.

    Raises:
        StudyError: the disk is full, or the folder cannot be made or written.
    """
    try:
        yield
    except Exception as error:
        reason = _reason(error, folder)
        if reason is None:
            raise
        full = "full" in reason or "space" in reason or "quota" in reason
        advice = f"{'Free some space' if full else 'Make it writable'}, or choose another --out. Finished trials are kept."
        raise StudyError("--out", "the folder must be writable, with space", f"{str(folder)!r} ({reason})", advice) from None


def _reason(error: BaseException | None, folder: Path) -> str | None:
    """Returns what the system says about the disk, from the error or its causes."""
    while error is not None:
        if isinstance(error, sqlite3.OperationalError):
            return str(error)
        if isinstance(error, OSError) and (error.errno in FULL or _within(error.filename, folder)):
            return error.strerror
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None


def _within(name: object, folder: Path) -> bool:
    """Returns whether a file is in the folder, or is one of the folders around it, which are made with it."""
    if not isinstance(name, str):
        return False
    path, whole = Path(name).absolute(), folder.absolute()
    return path.is_relative_to(whole) or whole.is_relative_to(path)
