"""The problems that need no file: their names, what they show, and the settings that suit them."""

from pathlib import Path
from typing import Any, NamedTuple


class Problem(NamedTuple):
    """A built-in problem.

    Args:
        about: what it is, in a few words.
        settings: the settings of the plan that differ from its defaults.
        file: whether it is defined by a file of `networks`, with its settings, as a user defines one.
        seeds: the number of seeds of a finalist.
    """

    about: str
    settings: dict[str, Any]
    file: bool = False
    seeds: int = 8


DIGITS = "digits"
MADE = {"rates": (0.1, 0.2, 0.3, 0.5, 0.8), "batch": 32, "learning_rate": 3e-3}
MADE_SEEDS = 16
"""Few rates and many seeds: the intervals, which are corrected for the number of rates, can then exclude zero."""
PROBLEMS = {
    "toy": Problem(
        "a function of two inputs from 60 noisy samples; the report shows how dropout works",
        MADE | {"epochs": 300},
        seeds=MADE_SEEDS,
    ),
    "regression": Problem(
        "a curve from 30 noisy samples, two hidden layers of 128; the report draws the predictions",
        MADE | {"epochs": 400},
        seeds=MADE_SEEDS,
    ),
    DIGITS: Problem("scikit-learn's 8 x 8 images of digits (the default)", {}),
    "breast_cancer": Problem("scikit-learn's table of tumours", {}),
    "wine": Problem("scikit-learn's table of wines", {}),
    "diabetes": Problem("scikit-learn's table of patients, a regression", {}),
    "cnn": Problem(
        "a convolutional network on the digits: drops channels after pooling, and units before the head", {}, file=True
    ),
    "cnn_batchnorm": Problem("the same with batch normalisation: dropout before the head alone", {}, file=True),
    "shifted": Problem(
        "the network of cnn, tested on pictures from another laboratory: blurred, noisy or rotated", {}, file=True
    ),
    "lstm": Problem("a recurrent language model on CPython's documentation: one mask for all time steps", {}, file=True),
    "gpt": Problem("a small GPT on CPython's documentation: embeddings, attention weights and branches", {}, file=True),
    "finetune": Problem(
        "a transformer on 320 short texts; --weights FOLDER fine-tunes a trained one (needs transformers)", {}, file=True
    ),
}


def path_of(text: str) -> Path:
    """Returns a path, absolute where it would look like the name of a built-in problem: `Path` drops the dot of ./digits.

    Example:
        >>> str(path_of("digits")), path_of("./digits").is_absolute()
        ('digits', True)
    """
    path = Path(text)
    return path.absolute() if str(path) in PROBLEMS and text not in PROBLEMS else path


def seeds_for(file: object) -> int:
    """Returns the number of seeds of a finalist where none is asked for: that of a built-in problem, or 8.

    Example:
        >>> seeds_for(Path("toy")), seeds_for(None)
        (16, 8)
    """
    problem = PROBLEMS.get(str(file))
    return 8 if problem is None else problem.seeds


def file_of(name: str) -> Path | None:
    """Returns the file that defines a problem: that of a built-in one, or a Python file of the user.

    Example:
        >>> file_of("gpt").name, file_of("toy"), file_of("my.py")
        ('gpt.py', None, PosixPath('my.py'))
    """
    if name in PROBLEMS:
        return network_file(name) if PROBLEMS[name].file else None
    return Path(name) if name.endswith(".py") else None


def network_file(name: str) -> Path:
    """Returns the file of a built-in network."""
    return Path(__file__).parents[1] / "networks" / f"{name}.py"
