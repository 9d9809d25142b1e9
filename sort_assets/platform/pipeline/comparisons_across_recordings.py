"""What became of the units of many recordings: one row each."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sort_assets.comparisons.fates import FATES
from sort_assets.config.comparison import BEFORE
from sort_assets.config.settings import Roots
from sort_assets.errors import ComparisonError, SortAssetsError
from sort_assets.platform.pipeline.compared_sortings import (
    ComparedPair,
    compare_stored,
    settings_of,
    sorting_before,
)
from sort_assets.platform.store.handles import StoredSorting
from sort_assets.platform.store.manifest import Manifest
from sort_assets.platform.store.store import Store
from sort_assets.platform.store.stored_comparison import ComparisonDetails, StoredComparison

if TYPE_CHECKING:
    import pandas as pd

CURRENT: Final = "current"
"""The current sorting, where a version is named."""


@dataclass(frozen=True)
class Totals:
    """Comparisons of several recordings together.

    Attributes
    ----------
    recordings : int
    units_before, units_now : int
    judged, persisting : int
        Units that curation had kept (all, of recordings that were not curated), and those that are still there.
    median_agreement : float or None
        Over the recordings' medians.
    """

    recordings: int
    units_before: int
    units_now: int
    judged: int
    persisting: int
    median_agreement: float | None

    @property
    def words(self) -> str:
        """The result in a sentence."""
        of = f"{self.recordings} recording{'' if self.recordings == 1 else 's'}"
        if not self.judged:
            return f"{of}: {self.units_before} units before, {self.units_now} now."
        share = f"{self.persisting / self.judged:.0%}"
        return (
            f"{of}: {self.units_before} units before, {self.units_now} now; {self.persisting} of {self.judged} kept "
            f"units are still there ({share})."
        )


def compare_versions(roots: Roots, recording: str, before: str = BEFORE, now: str = CURRENT) -> ComparedPair:
    """Compare two sortings of a recording.

    Parameters
    ----------
    roots : Roots
    recording : str
        The recording's key.
    before : str
        As `ComparisonConfig.baseline` describes it, or NAME=VALUE: the newest sorting that was made with this version
        of a package, or this value of a setting, such as kilosort=4.1.6 or sorter.name=kilosort4.
    now : str
        A version of sorting, "current", or NAME=VALUE.

    Raises
    ------
    ComparisonError
        When there is no such sorting.
    MissingArtefactError
        When the store has no sorting of the recording, or not that version any more.
    """
    version = None if now == CURRENT else _version_of(roots, recording, now)
    sorting = StoredSorting(roots, recording, version)
    return compare_stored(sorting, _version_of(roots, recording, before) if _made_with(before) else before)


def has_both(store: Store, recording: str, before: str = BEFORE, now: str = CURRENT) -> bool:
    """Whether the store has a sorting before, and one that was made with each NAME=VALUE that is named."""
    versions = store.versions(recording, StoredSorting.asset)
    if not versions:
        return False
    if before == BEFORE and now == CURRENT:
        current = store.summary(recording, StoredSorting.asset)
        return current is not None and sorting_before(store, recording, str(current["version"])) is not None
    named = [_made_with(one) for one in (before, now)]
    manifests = list(_manifests(store, recording)) if any(named) else []
    return all(one is None or any(_agrees(manifest, *one) for manifest in manifests) for one in named)


def comparison_row(pair: ComparedPair) -> dict[str, object]:
    """The row of a recording in the table of many."""
    found = pair.found
    return _row(
        pair.old.name,
        pair.new.name,
        found.counts,
        len(found.old_fates),
        len(found.new_fates),
        len(pair.judged),
        pair.judged_persisting,
        found.median_agreement,
    )


def current_comparisons(store: Store, recordings: Iterable[str]) -> pd.DataFrame:
    """The current `sorting_comparison` of each recording that has one, as a table."""
    rows: dict[str, dict[str, object]] = {}
    for key in recordings:
        summary = store.summary(key, StoredComparison.asset)
        details = None if summary is None else ComparisonDetails.parse(summary.get("details"))
        if details is not None:
            rows[key] = _row(
                details.baseline_name,
                details.name,
                details.counts,
                details.units_before,
                details.units_now,
                details.kept_before,
                details.kept_persisting,
                details.median_agreement,
            )
    return comparisons_table(rows)


def comparisons_table(rows: Mapping[str, Mapping[str, object]]) -> pd.DataFrame:
    """Rows of recordings as a table, those with the smallest share of units that are still there first.

    Parameters
    ----------
    rows : mapping
        By the recording's key, what `comparison_row` gives.

    Returns
    -------
    pd.DataFrame
        Index `recording`; columns `before`, `now`, `units_before`, `units_now`, one for each fate, `judged`,
        `persisting`, `share` and `median_agreement`.
    """
    import pandas as pd

    columns = ["before", "now", "units_before", "units_now", *FATES, "judged", "persisting", "share"]
    table = pd.DataFrame(list(rows.values()), index=list(rows), columns=[*columns, "median_agreement"])
    return table.rename_axis("recording").sort_values("share", kind="stable", na_position="last")


def totals(table: pd.DataFrame) -> Totals:
    """Comparisons of several recordings together.

    Parameters
    ----------
    table : pd.DataFrame
        As `comparisons_table` gives it.
    """
    agreements = table["median_agreement"].dropna().astype(float).tolist()
    return Totals(
        recordings=len(table),
        **{name: int(table[name].sum()) for name in ("units_before", "units_now", "judged", "persisting")},
        median_agreement=statistics.median(agreements) if agreements else None,
    )


def _row(
    before: str,
    now: str,
    counts: Mapping[str, int],
    units_before: int,
    units_now: int,
    judged: int,
    persisting: int,
    median_agreement: float | None,
) -> dict[str, object]:
    return {
        "before": before,
        "now": now,
        "units_before": units_before,
        "units_now": units_now,
        **{fate: counts.get(fate, 0) for fate in FATES},
        "judged": judged,
        "persisting": persisting,
        "share": persisting / judged if judged else None,
        "median_agreement": median_agreement,
    }


def _made_with(words: str) -> tuple[str, str] | None:
    """NAME and VALUE of "NAME=VALUE"; None of anything else, a path too."""
    name, equals, value = words.partition("=")
    return (name, value) if equals and "/" not in name else None


def _version_of(roots: Roots, recording: str, words: str) -> str:
    """The version that is named, or the newest one that was made with NAME=VALUE."""
    condition = _made_with(words)
    if condition is None:
        return words
    store = Store(roots.store)
    for manifest in _manifests(store, recording):
        if _agrees(manifest, *condition):
            return manifest.version
    name, value = condition
    raise ComparisonError(
        f"The store has no sorting of '{recording}' that was made with {name} {value}.",
        remedy="Name a package or a setting as the page of a comparison or the configuration names it, such as "
        "kilosort=4.1.6 or sorter.name=kilosort4; or sort the recording so.",
    )


def _manifests(store: Store, recording: str) -> Iterable[Manifest]:
    """Of the versions of a recording's sorting, the newest one first; damaged ones say nothing."""
    for version in reversed(store.versions(recording, StoredSorting.asset)):
        try:
            yield store.artefact(recording, StoredSorting.asset, version).manifest
        except SortAssetsError:
            continue


def _agrees(manifest: Manifest, name: str, value: str) -> bool:
    settings = settings_of(manifest)
    return value in (settings.get(name), settings.get(f"package {name}"))
