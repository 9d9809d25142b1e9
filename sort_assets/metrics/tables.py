"""Tables of units, with declared columns, as parquet files.

A table is a pandas DataFrame. Its index `unit_id` holds the units' ids as text, in their order.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from sort_assets.errors import DamagedArtefactError
from sort_assets.metrics.columns import UNIT_ID, Column, Kind

if TYPE_CHECKING:
    import pandas as pd

# Pandas' nullable types, except where NaN says the same.
_DTYPES: dict[Kind, str] = {"text": "string", "int": "Int64", "float": "float64", "bool": "boolean"}


def empty_table(columns: Iterable[Column], unit_ids: Iterable[object] = ()) -> pd.DataFrame:
    """A table in which every value is missing.

    Parameters
    ----------
    columns : iterable of Column
        Its columns, in their order.
    unit_ids : iterable
        Its rows; none by default. Ids become text.

    Returns
    -------
    pd.DataFrame
        With the types that `as_declared` gives.
    """
    import pandas as pd

    index = pd.Index([str(unit_id) for unit_id in unit_ids], name=UNIT_ID, dtype=str)
    return pd.DataFrame({column.name: pd.Series(None, index, _DTYPES[column.kind]) for column in columns}, index)


def as_declared(table: pd.DataFrame, columns: Iterable[Column]) -> pd.DataFrame:
    """The table with exactly the declared columns, in their order, and of the declared types.

    Text is "string", whole numbers "Int64", truth "boolean", other numbers "float64"; columns that the table lacks are
    missing in all rows.

    Parameters
    ----------
    table : pd.DataFrame
        Its index holds unit ids.
    columns : iterable of Column
        What is declared.

    Raises
    ------
    ValueError
        When values do not fit the declared kind, 0.5 as a whole number for example.
    """
    declared = empty_table(columns, table.index)
    for name in declared.columns.intersection(table.columns):
        values = table[name].set_axis(declared.index)
        try:
            declared[name] = values.astype(declared[name].dtype)
        except (TypeError, ValueError) as error:
            raise ValueError(f"Column '{name}' holds values that do not fit {declared[name].dtype}.") from error
    return declared


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as a parquet file, which pandas, polars, MATLAB and R read.

    Raises
    ------
    ValueError
        When the index is not `unit_id`, of text, without repetitions.
    """
    if (
        table.index.name != UNIT_ID
        or not table.index.is_unique
        or not all(isinstance(each, str) for each in table.index)
    ):
        raise ValueError(f"The index of a table of units is {UNIT_ID}: text, each once.")
    table.to_parquet(path, engine="pyarrow")


def read_table(path: Path) -> pd.DataFrame:
    """Read a table, with the types with which it was written.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    DamagedArtefactError
        When it is not a table of units.
    """
    import pandas as pd
    import pyarrow as pa

    try:
        table = pd.read_parquet(path, engine="pyarrow")
    except pa.ArrowInvalid as error:
        raise _damaged(path, str(error)) from error
    if table.index.name != UNIT_ID:
        raise _damaged(path, f"its index is not {UNIT_ID}")
    return table


def _damaged(path: Path, why: str) -> DamagedArtefactError:
    return DamagedArtefactError(
        f"'{path}' can't be read as a table of units: {why}.",
        remedy="Materialize the asset again that wrote it.",
        path=str(path),
    )
