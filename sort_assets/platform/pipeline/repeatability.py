"""How much of each unit another sort with the same settings finds again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sort_assets.errors import SortAssetsError
from sort_assets.platform.store.handles import StoredSorting
from sort_assets.platform.store.manifest import Manifest
from sort_assets.platform.store.store import Store

if TYPE_CHECKING:
    import pandas as pd

_STRETCH = ("start_s", "end_s", "first_minutes")
"""Fields that may differ: a sort of half of a recording says how repeatable the units of the whole are."""


def repeatability(sorting: StoredSorting) -> pd.Series | None:
    """The agreement of each unit with the unit that has most of it in the newest other sort with the same settings.

    Parameters
    ----------
    sorting : StoredSorting
        Other versions of it are searched: of the same recording, preprocessing, sorter, parameters and versions of
        packages, of all of the recording or of a part.

    Returns
    -------
    pd.Series or None
        Index unit id as text; missing for units without spikes in what both sorts are of. None without another sort.
    """
    from sort_assets.comparisons.sortings import ComparedSorting, compare_sortings

    other = _other_sort(sorting)
    if other is None:
        return None
    sides = (ComparedSorting(each.load(), each.details.duration_s) for each in (other, sorting))
    found = compare_sortings(*sides)
    pairs = found.pairs.dropna(subset="new_unit").groupby("new_unit", sort=False)[["agreement", "new_spikes"]].max()
    pairs = pairs.reindex(list(found.new_fates))
    shared = pairs["new_spikes"].astype(float) > 0
    values: pd.Series = pairs["agreement"].astype(float).fillna(0.0).where(shared)
    return values


def _other_sort(sorting: StoredSorting) -> StoredSorting | None:
    for version in reversed(Store(sorting.roots.store).versions(sorting.recording, StoredSorting.asset)):
        other = StoredSorting(sorting.roots, sorting.recording, version)
        try:
            if version != sorting.manifest.version and _made_alike(other.manifest) == _made_alike(sorting.manifest):
                return other
        except SortAssetsError:  # removed this moment, or damaged
            continue
    return None


def _made_alike(manifest: Manifest) -> dict[str, Any]:
    recording = {name: value for name, value in manifest.config.get("recording", {}).items() if name not in _STRETCH}
    return {"recording": recording, "sorter": manifest.config.get("sorter"), "packages": dict(manifest.packages)}
