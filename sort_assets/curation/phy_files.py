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
_BLANK = frozenset({"", "none", "nan"})
"""How tables write that a cell has no value."""
NO_GROUP = _BLANK | {UNSORTED}
_PHY_GROUPS = ("good", "mua", "noise", UNSORTED)

_IDS = ("cluster_id", "id")
"""Names of the column of clusters; the second one is that of Phy before 2.0b2."""
_DELIMITERS = "\t,;"
_NAMED = 10
"""Rows that a note names."""
_REMEDY = (
    "Merges and splits do not need this table. Correct it in a text editor, with the columns cluster_id and {field}; "
    "or move it out of the folder and keep it: then what was done is imported without these labels, and clusters keep "
    "those that they had at the export."
)


@dataclass(frozen=True)
class ClusterColumn:
    """A column of a table of clusters.

    Attributes
    ----------
    values : dict
        In lower case, by cluster; empty text where the cell is blank.
    notes : tuple of str
        Sentences on rows that were left out, or may be cut.
    """

    values: dict[int, str]
    notes: tuple[str, ...] = ()


def grouped(groups: dict[int, str]) -> dict[int, str]:
    """Only the clusters that have a group."""
    return {cluster: group for cluster, group in groups.items() if group not in NO_GROUP}


def read_column(path: Path, field: str) -> ClusterColumn:
    """Read a column of a table of clusters, separated by tabs, commas or semicolons.

    Other columns, blank rows and blank cells do not matter. A row without a cluster says nothing, and is noted; of two
    rows of a cluster, one that is blank yields. Where a file ends without a line break, its last cell may be cut: one
    that is blank or begins the name of a group says nothing.

    Raises
    ------
    CurationError
        When the table breaks off, has no such column, names no cluster, or contradicts itself.
    """
    try:
        text = _decoded(path.read_bytes())
        header, *rows = [row for row in _rows(text) if any(cell.strip() for cell in row)] or [[]]
    except (OSError, ValueError, csv.Error) as error:
        raise _unreadable_table(path, field, f"it is no table of clusters ({error})") from error
    names = [name.strip().lower() for name in header]
    id_column = next((names.index(name) for name in _IDS if name in names), None)
    if id_column is None or field not in names:
        missing = _IDS[0] if id_column is None else field
        raise _unreadable_table(path, field, f"it has no column {missing}" if any(names) else "it is empty")
    column = names.index(field)
    notes: list[str] = []
    if rows and not text.endswith(("\n", "\r")):
        if len(rows[-1]) <= max(column, id_column):
            raise _unreadable_table(path, field, "it breaks off")
        if len(rows[-1]) == column + 1:
            rows, notes = _without_cut_value(path, rows)
    values: dict[int, str] = {}
    without_cluster = 0
    no_clusters = []
    for row in rows:
        cells = [cell.strip() for cell in row] + [""] * len(names)
        cluster = _cluster(cells[id_column])
        if cells[id_column].lower() in _BLANK:
            without_cluster += 1
        elif cluster is None:
            no_clusters.append(cells[id_column])
        else:
            value = "" if cells[column].lower() in _BLANK else cells[column].lower()
            before = values.get(cluster) or value
            if value and value != before:
                raise _unreadable_table(path, field, f"it names cluster {cluster} twice, as {before} and as {value}")
            values[cluster] = before
    if no_clusters and not values:
        raise _unreadable_table(path, field, f"'{no_clusters[0]}' in it is no cluster")
    if without_cluster:
        notes.append(f"{path.name} has rows without a cluster ({without_cluster}), which say nothing.")
    if no_clusters:
        named = ", ".join(f"'{each}'" for each in no_clusters[:_NAMED]) + (", …" if len(no_clusters) > _NAMED else "")
        notes.append(f"{path.name} has rows that name no cluster, which were left out: {named}.")
    return ClusterColumn(values, tuple(notes))


def _without_cut_value(path: Path, rows: list[list[str]]) -> tuple[list[list[str]], list[str]]:
    """The rows without the last one where its value is the beginning of a group's name; and a note if it may be cut."""
    value = rows[-1][-1].strip().lower()
    if value in _PHY_GROUPS:
        return rows, []
    cell = f"the cell '{value}'" if value else "a blank cell"
    ends = f"{path.name} ends without a line break, in {cell}"
    if any(each.startswith(value) for each in _PHY_GROUPS):  # also the empty text
        return rows[:-1], [f"{ends}. It seems to be cut, so that its last row was left out."]
    return rows, [f"{ends}. Look whether that is the whole label."]


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
    header = text.lstrip().partition("\n")[0]
    return next((each for each in _DELIMITERS if each in header), _DELIMITERS[0])


def _cluster(cell: str) -> int | None:
    """The number of a cluster; spreadsheets and pandas write 2.0 where another row is blank."""
    try:
        number = float(cell)
        return int(number) if number == int(number) else None
    except (ValueError, OverflowError):
        return None


def _unreadable_table(path: Path, field: str, why: str) -> CurationError:
    return unreadable(path, why, remedy=_REMEDY.format(field=field))


def unreadable(path: Path, why: str, *, remedy: str) -> CurationError:
    """The error of a file that can't be read; the remedy must leave what a person did where it is."""
    return CurationError(f"'{path}' can't be read: {why}.", remedy=remedy, path=str(path))
