"""A full disk and a folder that cannot be written: one sentence, exit code 2, and nothing finished is lost."""

import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from thinnet.study.design.plan import StudyError
from thinnet.study.disk import disk_errors


def full(*arguments: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_full_disk_while_training_keeps_what_is_finished(study: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    out, written, fsync = tmp_path / "out", [], os.fsync

    def filling(file: int) -> None:
        written.append(file)
        full() if len(written) == 4 else fsync(file)

    monkeypatch.setattr("thinnet.study.training.weights.os.fsync", filling)
    stopped = study("wine", "--out", out)
    monkeypatch.undo()
    assert (stopped.code, "Traceback" in stopped.err) == (2, False)
    assert stopped.err.splitlines()[-1] == (
        f"--out: the folder must be writable, with space; got {str(out)!r} (No space left on device). "
        "Free some space, or choose another --out. Finished trials are kept."
    )
    resumed = study("wine", "--json", "--out", out)
    assert (resumed.code, "3 trials already finished" in resumed.err) == (0, True)
    assert resumed.result() == study("wine", "--json", "--out", tmp_path / "whole").result()


def test_full_disk_at_the_end_keeps_the_older_report(study: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert study("wine", "--out", tmp_path).code == 0
    page = (tmp_path / "index.html").read_bytes()
    monkeypatch.setattr("thinnet.report.page.os.replace", full)
    assert study("wine", "--seeds", 4, "--out", tmp_path).code == 2
    assert (tmp_path / "index.html").read_bytes() == page


@pytest.mark.parametrize("name", ["out", "."])
def test_folder_that_cannot_be_made(name: str, study: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refused(path: Path, *arguments: object, **named: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(Path, "mkdir", refused)
    outcome = study("wine", "--out", tmp_path / name)
    assert outcome.code == 2
    assert "(Read-only file system). Make it writable" in outcome.err


def test_errors_of_a_database_are_the_disk_and_others_pass(tmp_path: Path):
    with pytest.raises(StudyError, match=r"\(database or disk is full\)\. Free some space"), disk_errors(tmp_path):
        try:
            raise sqlite3.OperationalError("database or disk is full")
        except sqlite3.OperationalError as error:
            raise RuntimeError("the storage failed") from error
    with pytest.raises(StudyError, match="another rule"), disk_errors(tmp_path):
        try:
            raise sqlite3.OperationalError("database is locked")
        except sqlite3.OperationalError:
            raise StudyError("--out", "another rule", "x", "Wait.") from None
    with pytest.raises(FileNotFoundError, match="elsewhere"), disk_errors(tmp_path / "out"):
        (tmp_path / "elsewhere").read_bytes()
