"""The tables of clusters in a Phy folder."""

from __future__ import annotations

import csv
from pathlib import Path

from sort_assets.errors import CurationError

CLUSTERS = "spike_clusters.npy"
GROUPS = "cluster_group.tsv"
UNSORTED = "unsorted"
NO_GROUP = frozenset({"", UNSORTED, "none", "nan"})


def grouped(groups: dict[int, str]) -> dict[int, str]:
    return {cluster: group for cluster, group in groups.items() if group not in NO_GROUP}


def read_column(path: Path, field: str, *, required: bool = False) -> dict[int, str]:
    """A column of a table of clusters, in lower case, by cluster; empty where it may be missing and is."""
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines, delimiter="\t", strict=True))
        values = {int(row["cluster_id"]): row[field] if required else row.get(field) for row in rows}
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise unreadable(path, f"it is no table of clusters ({error!r})") from error
    if len(values) != len(rows):
        raise unreadable(path, "it names a cluster twice")
    if required and (not path.stat().st_size or None in values.values()):
        raise unreadable(path, "it breaks off")
    return {cluster: (value or "").strip().lower() for cluster, value in values.items()}


def unreadable(path: Path, why: str) -> CurationError:
    return CurationError(
        f"'{path}' can't be read: {why}.",
        remedy="Open the folder in Phy and save again; if that fails, export the units again.",
        path=str(path),
    )
