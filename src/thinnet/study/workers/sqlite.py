"""SQLite for several processes of one machine: a write-ahead log, and row locks where Optuna asks for them.

With the log, a commit waits for no disk and readers wait for no writer. A process that is killed loses nothing that it has
committed. A power cut may lose the last commits, whose trials are trained again; the file stays intact.
"""

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import sqlalchemy as sql
from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, OperationalError

LOCAL = frozenset({"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "tmpfs", "xfs", "zfs"})
"""File systems of one machine. Others may be network file systems, where SQLite's log does not work."""

MOUNTS = Path("/proc/self/mountinfo")


class Connection(sqlite3.Connection):
    """A connection with a write-ahead log where the file system allows it, and a rollback journal elsewhere."""

    def __init__(self, database: str, *arguments: Any, **named: Any) -> None:
        super().__init__(database, *arguments, **named)
        with suppress(sqlite3.OperationalError):  # a file that cannot be written is still read
            ((_, _, file),) = self.execute("PRAGMA database_list").fetchall()  # `database` may be a URI
            if on_local_disk(Path(file).absolute().parent):
                self.execute("PRAGMA journal_mode = WAL")
                self.execute("PRAGMA synchronous = NORMAL")
            else:
                self.execute("PRAGMA journal_mode = DELETE")


def on_local_disk(folder: Path, mounts: Path | None = None) -> bool:
    """Returns whether a folder is on a file system that is known to belong to this machine alone; Linux only."""
    mounts = mounts or MOUNTS
    if not mounts.exists():
        return False
    device = os.stat(folder).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    lines = [line.split() for line in mounts.read_text().splitlines()]
    return any(line[2] == wanted and line[line.index("-") + 1] in LOCAL for line in lines)


def file_of(url: str) -> Path | None:
    """Returns the file of an SQLite database; None if the URL names none."""
    with suppress(ArgumentError):
        parts = make_url(url)
        name = parts.database or ":memory:"
        path = Path(unquote(urlsplit(name).path) if name.startswith("file:") else name)
        if parts.get_backend_name() == "sqlite" and str(path) != ":memory:":
            return path
    return None


def missing_file(url: str) -> Path | None:
    """Returns the file that SQLite would create for a URL; None if it is there, or the URL names no file."""
    path = file_of(url)
    return None if path is None or path.exists() else path


def read_only(url: str) -> str:
    """Returns a URL for reading, with which SQLite changes neither the file nor its folder; other databases keep theirs.

    Raises:
        OSError: the file cannot be read.
    """
    path = file_of(url)
    if path is None:
        return url
    with path.open("rb") as file:
        logged = file.read(20)[18:19] == b"\x02"  # its header asks for a write-ahead log
    unused = logged and not Path(f"{path}-wal").exists()  # without that flag, SQLite would create an empty log, and leave it
    query = {"immutable": "1"} if unused else {"mode": "ro"}
    return URL.create("sqlite", database=path.absolute().as_uri(), query=query | {"uri": "true"}).render_as_string()


def lock_rows(engine: sql.Engine) -> None:
    """Lets SELECT ... FOR UPDATE, which SQLite does not have, take its lock: or two workers could take one trial."""

    def lock(connection: sql.Connection, statement: Any, *_: object) -> None:
        free = not connection.connection.driver_connection.in_transaction  # type: ignore[union-attr]
        if free and getattr(statement, "_for_update_arg", None) is not None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine, "before_execute", lock)


def fold(engine: sql.Engine) -> None:
    """Writes the log back into the database if nobody else uses it: then one file holds everything, and may be read-only."""
    with suppress(OperationalError), engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode = DELETE")
    engine.dispose()
