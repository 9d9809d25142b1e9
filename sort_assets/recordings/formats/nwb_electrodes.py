"""The electrodes of an NWB series: what would be asked of their table, checked before anything reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import h5py
import numpy as np
import zarr

ELECTRODES = "general/extracellular_ephys/electrodes"
"""Where NWB keeps the table of electrodes."""
_NUMBERS = ("rel_x", "rel_y", "rel_z")
NEEDED_COLUMNS = ("id", "channel_name", "group_name", *_NUMBERS)
"""Columns that say which channel is which, and where it is."""


def electrodes_problem(rows: Any, table: Any) -> str | None:
    """Why the electrodes of a series can't be read, as the end of a sentence; None where they can.

    Parameters
    ----------
    rows : h5py.Dataset, zarr.Array or None
        What the series says of its electrodes.
    table : h5py.Group, or a mapping with `attrs`, or None
        The table of electrodes.
    """
    return next(_problems(rows, table), None)


def readable_columns(table: Any) -> list[str]:
    """The columns of the table that are there, with a row for each electrode; a ragged one has an index."""
    num_rows = len(table["id"])
    return [
        str(name)
        for name in table.attrs["colnames"]
        if _is_array(table.get(name))
        and len(table[name].shape) > 0
        and (f"{name}_index" in table or len(table[name]) == num_rows)
    ]


def _is_array(thing: Any) -> bool:
    return isinstance(thing, h5py.Dataset | zarr.Array)


def _is_table(thing: Any) -> bool:
    return isinstance(thing, Mapping) and hasattr(thing, "attrs")


def _problems(rows: Any, table: Any) -> Iterator[str]:
    if not _is_array(rows):
        yield "it names no electrodes"
        return
    if not _is_table(table) or "id" not in table or "colnames" not in table.attrs:
        yield f"the file has no table of electrodes ({ELECTRODES})"
        return
    if rows.dtype.kind not in "iu" or rows.ndim != 1:
        yield f"its electrodes are no list of rows of the table, but {rows.dtype} of shape {rows.shape}"
        return
    num_rows, chosen = len(table["id"]), rows[:]
    outside = chosen[(chosen < 0) | (chosen >= num_rows)]
    if len(outside):
        yield f"its electrodes are rows of a table that has {num_rows}, and {outside[0]} is none of them"
    listed = [str(name) for name in table.attrs["colnames"]]
    for name in ("id", *(one for one in NEEDED_COLUMNS if one in listed)):
        column: Any = table.get(name)
        if not _is_array(column) or len(column.shape) != 1 or len(column) != num_rows:
            yield f"the column {name} of the table of electrodes does not have a value for each of its {num_rows} rows"
        elif name in _NUMBERS and column.dtype.kind not in "iuf":
            yield f"the column {name} of the table of electrodes holds no numbers"
        elif name == "channel_name" and _is_no_name(column):
            yield f"the column {name} of the table of electrodes holds {column.dtype}, which are no names"


def _is_no_name(column: Any) -> bool:
    return bool(np.issubdtype(column.dtype, np.floating) or np.issubdtype(column.dtype, np.complexfloating))
