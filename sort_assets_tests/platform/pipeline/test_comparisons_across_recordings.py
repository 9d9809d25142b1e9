"""What became of the units of many recordings."""

from pathlib import Path

import pytest

from sort_assets.config.settings import Roots
from sort_assets.errors import ComparisonError, MissingArtefactError
from sort_assets.platform.pipeline.comparisons_across_recordings import (
    compare_versions,
    comparisons_table,
    current_comparisons,
    has_both,
    totals,
)
from sort_assets.platform.store.store import Store
from sort_assets_tests.platform.pipeline.test_comparison_history import compared
from sort_assets_tests.platform.pipeline.test_recording_results import SORTING, put


def sorted_with(store: Store, key: str, *sorters: str) -> None:
    """Publish the manifest of a sorting of each sorter."""
    for number, sorter in enumerate(sorters):
        put(store, key, "sorting", SORTING, sorter, run_id=f"run{number}")


def test_recordings_with_both_sortings_are_found(tmp_path: Path) -> None:
    store = Store(tmp_path)
    sorted_with(store, "once.nwb", "kilosort4")
    sorted_with(store, "twice.nwb", "kilosort4", "mountainsort5")
    put(store, "never.nwb", "preprocessed_recording", {})

    def with_both(*versions: str) -> list[str]:
        return [key for key in store.recordings() if has_both(store, key, *versions)]

    assert with_both() == ["twice.nwb"]
    assert with_both("sorter.name=kilosort4", "sorter.name=mountainsort5") == ["twice.nwb"]
    assert with_both("sorter.name=kilosort4", "current") == ["once.nwb", "twice.nwb"]
    assert with_both("ground_truth", "current") == ["once.nwb", "twice.nwb"]
    assert with_both("sorter.name=spykingcircus2", "current") == []


def test_a_version_that_nobody_made_is_refused(tmp_path: Path) -> None:
    roots = Roots(tmp_path, tmp_path)
    sorted_with(Store(tmp_path), "day.nwb", "kilosort4")

    with pytest.raises(ComparisonError, match=r"no sorting of 'day\.nwb' that was made with kilosort 9"):
        compare_versions(roots, "day.nwb", "kilosort=9")
    with pytest.raises(MissingArtefactError):
        compare_versions(roots, "night.nwb")


def test_the_recordings_that_kept_least_come_first_and_totals_count_units(tmp_path: Path) -> None:
    store = Store(tmp_path)
    compared(store, "a.nwb", 9)
    compared(store, "b.nwb", 4)
    compared(store, "empty.nwb", 0, kept=0)
    sorted_with(store, "once.nwb", "kilosort4")

    table = current_comparisons(store, store.recordings())

    assert list(table.index) == ["b.nwb", "a.nwb", "empty.nwb"]
    assert totals(table).words == ("3 recordings: 60 units before, 60 now; 13 of 20 kept units are still there (65%).")


def test_without_comparisons_the_table_is_empty() -> None:
    table = comparisons_table({})

    assert table.empty
    assert totals(table).words == "0 recordings: 0 units before, 0 now."
