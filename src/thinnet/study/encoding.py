"""How inputs become numbers of one size; every transformer here is to be fitted on the training part only."""

from functools import partial

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

MOST_CATEGORIES = 50


def table_encoder() -> ColumnTransformer:
    """Encodes columns that have each their own unit.

    Numbers: the median for what is missing and a column that says so, then standardised and softened. Text: one column
    a category, rare and unknown ones together.

    Returns:
        A transformer to fit on the training part.
    """
    numbers = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        StandardScaler(),
        FunctionTransformer(soften),
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


def soften(x: np.ndarray) -> np.ndarray:
    """Bends standardised values smoothly into (-3, 3), so that an outlier stays the largest but does not rule the sums.

    RealMLP does the same (arXiv:2407.04491).

    Args:
        x: standardised values.

    Returns:
        x / sqrt(1 + (x / 3)**2).

    Example:
        >>> soften(np.array([0.0, 1e6])).round(3).tolist()
        [0.0, 3.0]
    """
    return x / np.sqrt(1 + (x / 3) ** 2)


def image_encoder(train: pd.DataFrame) -> Pipeline:
    """Encodes features that share one unit: all are divided by the same number.

    Args:
        train: the training part, whose largest absolute value is that number.

    Returns:
        A transformer to fit on the training part.
    """
    unit = float(np.nanmax(np.abs(train.to_numpy()))) or 1.0
    scaler = FunctionTransformer(partial(np.multiply, 1 / unit))
    return make_pipeline(SimpleImputer(keep_empty_features=True), scaler)
