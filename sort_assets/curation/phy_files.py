"""The tables of clusters in a Phy folder, as Phy, scripts and spreadsheets leave them."""

from __future__ import annotations

import codecs
import csv
import io
from dataclasses import dataclass
from pathlib import Path

from sort_assets.errors import CurationError

CLUSTERS = "spike_clusters.npy"
GROUPS = "cluster_group.tsv"
UNSORTED = "unsorted"
NO_GROUP = frozenset({"", UNSORTED, "none", "nan"})

_IDS = ("cluster_id", "id")
"""Names of the column of clusters; the second one is that of Phy before 2.0b2."""
_DELIMITERS = "\t,;"
_REMEDY = (
    "Merges and splits do not need this table. Correct it in a text editor, with the columns cluster_id and {field}; "
    "or move it out of the folder, to import what was done without these labels."
)


@dataclass(frozen=True)
class ClusterColumn:
    """A column of a table of clusters.

    Attributes
    ----------
    values : dict
        In lower case, by cluster; empty text where the cell is blank.
    notes : tuple of str
        Sentences on rows that were left out.
    """

    values: dict[int, str]
    notes: tuple[str, ...] = ()


def grouped(groups: dict[int, str]) -> dict[int, str]:
    """Only the clusters that have a group."""
    return {cluster: group for cluster, group in groups.items() if group not in NO_GROUP}


def read_column(path: Path, field: str) -> ClusterColumn:
    """Read a column of a table of clusters, separated by tabs, commas or semicolons.

    Other columns, blank rows and blank cells do not matter. A row without a cluster says nothing, and is noted.

    Raises
    ------
    CurationError
        When the table breaks off, has no such column, or contradicts itself.
    """
    try:
        text = _decoded(path.read_bytes())
        header, *rows = _rows(text) or [[]]
    except (OSError, ValueError, csv.Error) as error:
        raise _unreadable_table(path, field, f"it is no table of clusters ({error})") from error
    names = [name.strip().lower() for name in header]
    id_column = next((names.index(name) for name in _IDS if name in names), None)
    if id_column is None or field not in names:
        missing = _IDS[0] if id_column is None else field
        raise _unreadable_table(path, field, f"it has no column {missing}" if any(names) else "it is empty")
    column = names.index(field)
    if rows and len(rows[-1]) <= column and any(rows[-1]) and not text.endswith(("\n", "\r")):
        raise _unreadable_table(path, field, "it breaks off")
    values: dict[int, str] = {}
    without_cluster = 0
    for row in rows:
        cells = [cell.strip() for cell in row] + [""] * len(names)
        if not any(cells):
            continue
        if not cells[id_column]:
            without_cluster += 1
            continue
        cluster, value = _cluster(path, field, cells[id_column]), cells[column].lower()
        if values.setdefault(cluster, value) != value:
            raise _unreadable_table(
                path, field, f"it names cluster {cluster} twice, as {values[cluster]} and as {value}"
            )
    notes = (
        [f"{path.name} has rows without a cluster ({without_cluster}), which say nothing."] if without_cluster else []
    )
    return ClusterColumn(values, tuple(notes))


def _decoded(content: bytes) -> str:
    """The text, also as spreadsheets save it; a character that is lost in one cell costs no other."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace")
    return content.decode("utf-8-sig", errors="replace")


def _rows(text: str) -> list[list[str]]:
    delimiter = _delimiter(text)
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error:  # quotation marks that are text
        return list(csv.reader(text.splitlines(), delimiter=delimiter, quoting=csv.QUOTE_NONE))


def _delimiter(text: str) -> str:
    header = text.partition("\n")[0]
    return next((each for each in _DELIMITERS if each in header), _DELIMITERS[0])


def _cluster(path: Path, field: str, cell: str) -> int:
    """The number of a cluster; spreadsheets and pandas write 2.0 where another row is blank."""
    try:
        number = float(cell)
        cluster = int(number)
    except (ValueError, OverflowError):
        number, cluster = 0.5, 0
    if number != cluster:
        raise _unreadable_table(path, field, f"'{cell}' in it is no cluster")
    return cluster


def _unreadable_table(path: Path, field: str, why: str) -> CurationError:
    return unreadable(path, why, remedy=_REMEDY.format(field=field))


def unreadable(path: Path, why: str, *, remedy: str) -> CurationError:
    """The error of a file that can't be read; the remedy must leave what a person did where it is."""
    return CurationError(f"'{path}' can't be read: {why}.", remedy=remedy, path=str(path))
