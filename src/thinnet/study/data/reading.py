"""From a path, or the name of a built-in problem, to its data. What needs no PyTorch is checked before its import."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from thinnet.study.data.paths import check_address, check_path
from thinnet.study.design.plan import StudyError
from thinnet.study.design.problems import DIGITS, PROBLEMS, file_of

if TYPE_CHECKING:
    import pandas as pd

    from thinnet.study.data.dataset import Dataset
    from thinnet.study.data.sources.arrays import Arrays
    from thinnet.study.data.user_file import UserFile

FINETUNE, ENCODER = "finetune", "encoder"


@dataclass(frozen=True)
class Asked:
    """The arguments that determine the data.

    Args:
        file: the path or the name of a built-in problem; None for the digits.
        target: the column to predict.
        columns: the kinds of columns, each NAME=KIND.
        task: `classification` or `regression`.
        weights: a folder with a trained transformer.
        digest: the SHA-256 of the file; empty for a folder and a built-in problem.
    """

    file: str | None
    target: str | None = None
    columns: tuple[str, ...] = ()
    task: str | None = None
    weights: str | None = None
    digest: str = ""

    def open(self) -> "Opened":
        """Reads the problem."""
        kinds = {}
        if self.columns:
            from thinnet.study.data.tables import parse_kinds

            kinds = parse_kinds(self.columns)
        path, weights = (None if text is None else Path(text) for text in (self.file, self.weights))
        return open_problem(path, self.target, kinds, self.task, weights)


class Opened(NamedTuple):
    """A problem that is read, as far as that needs no PyTorch.

    Args:
        settings: returns the settings of the plan that suit it.
        dataset: makes its dataset; the seed draws the split.
        about: what a built-in problem is; empty for data of the user.
    """

    settings: Callable[[], dict[str, Any]]
    dataset: Callable[[int], "Dataset"]
    about: str = ""


def open_problem(
    file: "Path | pd.DataFrame | None",
    target: str | None = None,
    kinds: Mapping[str, str] | None = None,
    task: str | None = None,
    weights: Path | None = None,
) -> Opened:
    """Reads a problem.

    Args:
        file: a table, a folder or a file of pictures or texts, a file with `model()` and `data()`, or the name of a built-in
            problem; a DataFrame; None for the digits.
        target: the column of a table to predict, or the array of an .npz file.
        kinds: of columns of a table.
        task: `classification` or `regression`; inferred when None.
        weights: a folder with a trained transformer, for texts by class and for finetune.

    Raises:
        StudyError: the path, or what it holds, or an option for something else.
    """
    if file is not None and not isinstance(file, Path):
        return _frame(file, target, kinds or {}, task)
    name = DIGITS if file is None and target is None else str(file)
    if weights is not None and name != FINETUNE and not (file is not None and file.is_dir()):
        raise _no_texts(name)
    if name in PROBLEMS or file_of(name) is not None:
        _refuse(target, kinds, None, name)
        return _named(name, task, weights)
    if file is not None:
        check_path(file)
        from thinnet.study.data.sources.recognise import recognise

        if source := recognise(file, target):
            _refuse(target, kinds, task if task == "regression" else None, name)
            if weights is not None:
                if source.network != ENCODER:
                    raise _no_texts(name)
                return _fine_tuned(file, weights)
            return _by_path(partial(source.read, file), source.network, file.name)
    from thinnet.study.data.tables import read_table

    table = read_table(file, target, kinds)
    return Opened(dict, partial(_prepared, table, task))


def _no_texts(name: str) -> StudyError:
    rule = f"the option must come with a folder of texts by class, or with {FINETUNE}"
    return StudyError("--weights", rule, repr(name), "Leave it out.")


def _frame(frame: "pd.DataFrame", target: str | None, kinds: Mapping[str, str], task: str | None) -> Opened:
    from thinnet.study.data.files import Contents
    from thinnet.study.data.tables import from_contents

    table = from_contents("table", Contents(frame.copy(deep=False), False, ()), target, kinds)
    return Opened(dict, partial(_prepared, table, task))


def _refuse(target: str | None, kinds: Mapping[str, str] | None, task: str | None, name: str) -> None:
    """Refuses options that mean something for a table alone."""
    for option, given in (("--target", target), ("--column", kinds), ("--task", task)):
        if given:
            raise StudyError(option, "the option must come with a table", name, "Leave it out.")


def _prepared(table: Any, task: str | None, seed: int) -> "Dataset":
    from thinnet.study.data.preparing import prepare

    return prepare(table, task, seed)


def _named(name: str, task: str | None, weights: Path | None) -> Opened:
    """Opens a built-in problem, or a file of the user."""
    file, about = file_of(name), PROBLEMS[name].about if name in PROBLEMS else ""
    if file is None:
        return Opened(lambda: dict(PROBLEMS[name].settings), partial(_built_in, name, task), about)
    check_address(file)
    if weights is not None:
        return _fine_tuned(None, weights)._replace(about=about)

    def opened() -> "UserFile":
        from thinnet.study.data.user_file import open_file

        return open_file(file)

    def dataset(seed: int) -> "Dataset":
        from thinnet.study.data.user_data import load_file

        return load_file(opened(), Path(name).name, task, seed)

    return Opened(lambda: _settings(opened()), dataset, about)


def _built_in(name: str, task: str | None, seed: int) -> "Dataset":
    from thinnet.study.data.builtin import load

    return load(name, task, seed)


def _fine_tuned(folder: Path | None, weights: Path) -> Opened:
    """Opens texts by class, or those of finetune, for a trained transformer."""
    from thinnet.study.data.sources.pretrained import Pretrained

    trained = Pretrained(weights)
    name = FINETUNE if folder is None else folder.name
    return _by_path(partial(trained.read, folder), "pretrained", name, trained.digest())


def _by_path(read: Callable[[], "Arrays"], network: str, name: str, weights: str = "") -> Opened:
    arrays = read()

    def dataset(seed: int) -> "Dataset":
        from thinnet.study.data.user_data import load_arrays
        from thinnet.study.data.user_file import built_in

        return load_arrays(arrays, built_in(network, arrays.arguments, weights), name, seed)

    def settings() -> dict[str, Any]:
        from thinnet.study.data.user_file import built_in

        return _settings(built_in(network))

    return Opened(settings, dataset)


def _settings(file: "UserFile") -> dict[str, Any]:
    from thinnet.study.data.user_file import settings_of

    return settings_of(file)
