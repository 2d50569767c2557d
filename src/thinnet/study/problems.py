"""The problems that need no file: their names, what they show, and the settings that suit them."""

from typing import Any, NamedTuple


class Problem(NamedTuple):
    """A built-in problem.

    Args:
        about: what it is, in a few words.
        settings: the settings of the plan that differ from its defaults.
    """

    about: str
    settings: dict[str, Any]


DIGITS = "digits"
LONGER = {"epochs": 400, "batch": 32, "learning_rate": 3e-3}
PROBLEMS = {
    "toy": Problem("a function of two inputs from 60 noisy samples; the report shows how dropout works", LONGER),
    "regression": Problem("a curve from 30 noisy samples, two hidden layers of 128; the report draws the predictions", LONGER),
    DIGITS: Problem("scikit-learn's 8 x 8 images of digits (the default)", {}),
    "breast_cancer": Problem("scikit-learn's table of tumours", {}),
    "wine": Problem("scikit-learn's table of wines", {}),
    "diabetes": Problem("scikit-learn's table of patients, a regression", {}),
}
