"""Databases of studies: open one to work on it, or look into one, which stays as it is."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import sqlalchemy as sql
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, ProgrammingError, SQLAlchemyError

from thinnet.study.design.plan import StudyError
from thinnet.study.workers.queue import Storage
from thinnet.study.workers.records import LOST, reason_of
from thinnet.study.workers.sqlite import missing_file, read_only

T = TypeVar("T")

NAME = "thinnet"
"""The name of a study in a folder, and how the name of a study in a database of many begins."""

STUDIES = sql.table("studies", sql.column("study_id"), sql.column("study_name"))
ATTRIBUTES = sql.table("study_user_attributes", sql.column("study_id"), sql.column("key"), sql.column("value_json"))
"""Tables of Optuna."""


RACES = 10
"""How often tables are created again: those of Optuna, its version and its revision are three races."""


class UnreachableError(StudyError):
    """The database cannot be reached, now."""


def shown(url: str) -> str:
    """Returns a URL without its password.

    Raises:
        StudyError: it is no URL.

    >>> shown("postgresql://me:secret@host/studies")
    'postgresql://me:***@host/studies'
    """
    try:
        return make_url(url).render_as_string()
    except ArgumentError:
        advice = "Write sqlite:///FILE or postgresql://USER@HOST/NAME."
        raise StudyError("--storage", "the database must be a URL", repr(url), advice) from None


def storage_at(url: str, joined: bool = False) -> Storage:
    """Opens a database.

    Args:
        url: of the database.
        joined: whether another process has created its tables, so that this one creates none.

    Raises:
        StudyError: it cannot be opened, or its driver is missing.
    """
    with _errors():
        return raced(lambda: Storage(url, skip_table_creation=joined))


def raced(create: Callable[[], T]) -> T:
    """Calls a function that creates tables; again, where another process has created one of them in the meantime."""
    for _ in range(RACES):
        with suppress(IntegrityError, ProgrammingError):
            return create()
    return create()


def studies_in(url: str) -> dict[str, dict[str, Any]]:
    """Returns the attributes of the studies of thinnet in a database by their names. The database stays as it is.

    Raises:
        StudyError: it has no file, cannot be read, or its driver is missing.
    """
    refuse_missing(url)
    query = sql.select(STUDIES.c.study_name, ATTRIBUTES.c.key, ATTRIBUTES.c.value_json)
    query = query.join_from(STUDIES, ATTRIBUTES, STUDIES.c.study_id == ATTRIBUTES.c.study_id)
    found: dict[str, dict[str, Any]] = {}
    with _errors():
        engine = sql.create_engine(read_only(url), poolclass=sql.NullPool)
        with engine.connect() as connection:
            if _has_studies(sql.inspect(connection)):
                for name, key, value in connection.execute(query.where(STUDIES.c.study_name.startswith(NAME))):
                    found.setdefault(name, {})[key] = json.loads(value)
    return found


def _has_studies(inspector: sql.Inspector) -> bool:
    """Returns whether a database has the tables of Optuna, and not others of the same names."""
    return all(_has_table(inspector, table) for table in (STUDIES, ATTRIBUTES))


def _has_table(inspector: sql.Inspector, table: sql.TableClause) -> bool:
    if not inspector.has_table(table.name):
        return False
    return {column.name for column in table.columns} <= {column["name"] for column in inspector.get_columns(table.name)}


def refuse_foreign(url: str) -> None:
    """Refuses the database of another program, before a study adds its tables. The database stays as it is.

    Raises:
        StudyError: it has tables, but not those of Optuna, or cannot be read.
    """
    shown(url)
    if missing_file(url):
        return
    with _errors():
        engine = sql.create_engine(read_only(url), poolclass=sql.NullPool)
        with engine.connect() as connection:
            inspector = sql.inspect(connection)
            theirs = sorted(inspector.get_table_names())
            foreign = bool(theirs) and not _has_table(inspector, STUDIES)  # the first table that Optuna creates
    if foreign:
        got = f"{shown(url)}, which has a table {theirs[0]!r} of another program"
        raise StudyError("--storage", "the database must be empty or hold studies", got, "Name another database.")


def refuse_missing(url: str) -> None:
    """Refuses an SQLite database that has no file.

    Raises:
        StudyError: there is no file, or the URL is none.
    """
    shown(url)
    if file := missing_file(url):
        raise StudyError("--storage", "the file must exist", f"no {file}", "Start the study first, or correct the path.")


@contextmanager
def stays_reachable() -> Iterator[None]:
    """Turns the loss of a database, which repetition did not mend, into an error that the caller can correct.

    Raises:
        StudyError: the database cannot be reached any more, or cannot be written.
    """
    try:
        yield
    except LOST as error:
        advice = "Finished trials are kept; the same command goes on when it is."
        raise StudyError("--storage", "the database must stay reachable and writable", reason_of(error), advice) from None


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        advice = "Install the driver, such as psycopg[binary] for postgresql://."
        raise StudyError("--storage", "the driver of the database must be installed", str(error).rstrip("."), advice) from None
    except (SQLAlchemyError, OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        advice = "Write sqlite:///FILE or postgresql://USER@HOST/NAME, and check that the server runs."
        raise UnreachableError("--storage", "the database must be reachable", reason, advice) from None
