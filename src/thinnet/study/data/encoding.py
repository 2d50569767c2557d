"""Encoders of the inputs; each is fitted on the samples for training and validation only."""

from functools import partial

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

MOST_CATEGORIES = 50


def table_encoder() -> ColumnTransformer:
    """Return an encoder of columns that each have their own unit.

    Numbers are imputed by the median with a column that marks missing values, standardised and squashed. Text is
    one-hot encoded, with one column for rare and unknown categories.
    """
    numbers = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        StandardScaler(),
        FunctionTransformer(squash),
    )
    categories = make_pipeline(
        SimpleImputer(strategy="constant", fill_value="(missing)", missing_values=np.nan),
        OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=MOST_CATEGORIES, sparse_output=False),
    )
    return ColumnTransformer(
        [
            ("numbers", numbers, make_column_selector(dtype_include="number")),
            ("categories", categories, make_column_selector(dtype_include="object")),
        ]
    )


def squash(x: np.ndarray) -> np.ndarray:
    """Map standardised values smoothly into (-3, 3) by x / sqrt(1 + (x / 3)**2), as RealMLP does (arXiv:2407.04491).

    Example:
        >>> squash(np.array([0.0, 1e6])).round(3).tolist()
        [0.0, 3.0]
    """
    return x / np.sqrt(1 + (x / 3) ** 2)


def image_encoder(train: pd.DataFrame) -> Pipeline:
    """Return an encoder of features with one unit: all are divided by their largest absolute value."""
    unit = float(np.nanmax(np.abs(train.to_numpy()))) or 1.0
    scaler = FunctionTransformer(partial(np.multiply, 1 / unit))
    return make_pipeline(SimpleImputer(keep_empty_features=True), scaler)
