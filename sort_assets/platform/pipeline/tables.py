"""Tables of units as Dagster shows them."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from sort_assets.metrics.columns import UNIT_ID, Column, Kind

if TYPE_CHECKING:
    import pandas as pd

_TYPES: dict[Kind, str] = {"text": "string", "int": "int", "float": "float", "bool": "bool"}
# The event log keeps every row for ever, about five times; the whole table is in the store.
_ROWS = 100
_DIGITS = 4


def column_schema(columns: Iterable[Column]) -> dg.TableSchema:
    """The columns as the asset's page lists them, the index first."""
    unit = dg.TableColumn(UNIT_ID, "string", description="Id of the unit in the sorting, as text.")
    return dg.TableSchema([unit, *map(table_column, columns)])


def units_table(table: "pd.DataFrame", columns: Iterable[Column], shown: Sequence[str]) -> dg.TableMetadataValue:
    """The first rows of a table of units, numbers rounded.

    Parameters
    ----------
    table : pd.DataFrame
        One row per unit.
    columns : iterable of Column
        What is declared of it.
    shown : sequence of str
        Which columns, in which order.
    """
    declared = {column.name: column for column in columns}
    schema = [dg.TableColumn(UNIT_ID, "string"), *(table_column(declared[name]) for name in shown)]
    rows = []
    for unit, values in table[list(shown)].head(_ROWS).iterrows():
        rows.append(dg.TableRecord({UNIT_ID: str(unit), **{name: plain_value(values[name]) for name in shown}}))
    return dg.MetadataValue.table(rows, schema=dg.TableSchema(schema))


def rows_table(table: "pd.DataFrame", columns: Iterable[Column], shown: Sequence[str]) -> dg.TableMetadataValue:
    """The first rows of any table with declared columns, numbers rounded, without its index."""
    declared = {column.name: column for column in columns}
    rows = [
        dg.TableRecord({name: plain_value(values[name]) for name in shown})
        for _, values in table[list(shown)].head(_ROWS).iterrows()
    ]
    return dg.MetadataValue.table(rows, schema=dg.TableSchema([table_column(declared[name]) for name in shown]))


def table_column(column: Column) -> dg.TableColumn:
    """A declared column as Dagster shows it."""
    unit = f" In {column.unit}." if column.unit else ""
    return dg.TableColumn(column.name, _TYPES[column.kind], description=f"{column.description}{unit}")


def plain_value(value: Any) -> str | int | float | bool | None:
    """A value of a table as Dagster can store it: numbers rounded, what is missing as None."""
    import numpy as np
    import pandas as pd

    if pd.isna(value):
        return None
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float | np.floating) else str(value)
