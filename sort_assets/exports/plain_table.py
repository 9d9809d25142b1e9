"""A table of units as plain arrays, which every format can hold: no Python objects, and no missing values of pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

NOT_JUDGED = -1
"""What stands for a missing truth value: no criterion was applied."""
MISSING_VALUES = (
    "Missing numbers are NaN. A truth column with missing values holds 1 (yes), 0 (no) and -1 (not judged). Missing "
    "texts are empty."
)


def plain_columns(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """The columns of a table as arrays of numbers, truth values or text.

    Parameters
    ----------
    table : pd.DataFrame
        Columns of numbers, truth values or text, any of which may be missing.

    Returns
    -------
    dict of str to np.ndarray
        Shape (rows,) each. Whole numbers are int64, or float64 with NaN where any is missing; truth values bool, or
        int8 with -1 where any is missing; text is fixed-width Unicode, and empty where missing.
    """
    return {str(name): plain_column(table[name]) for name in table.columns}


def plain_column(column: pd.Series) -> np.ndarray:
    """One column of a table as an array; see `plain_columns`."""
    from pandas.api import types

    missing = column.isna().to_numpy(dtype=bool)
    present = column[~missing]
    if types.is_bool_dtype(column.dtype) or (
        len(present) > 0 and column.dtype == object and all(isinstance(value, bool | np.bool_) for value in present)
    ):
        if not missing.any():
            return column.to_numpy(dtype=bool)
        return np.asarray(column.astype("boolean").astype("Int8").fillna(NOT_JUDGED), dtype="int8")
    if types.is_integer_dtype(column.dtype) and not missing.any():
        return column.to_numpy(dtype="int64")
    if types.is_numeric_dtype(column.dtype):
        return column.to_numpy(dtype="float64", na_value=np.nan)
    return np.asarray(["" if absent else str(value) for value, absent in zip(column, missing, strict=True)], dtype=str)
