"""How much of the kept units is usually found again on a rig."""

from pathlib import Path
from typing import Any

from sort_assets.config.settings import Roots
from sort_assets.platform.pipeline.comparison_history import persisting_shares
from sort_assets.platform.store.details import AssetDetails, BinaryDetails, RecordingDetails
from sort_assets.platform.store.handles import StoredSorting
from sort_assets.platform.store.manifest import InputVersion
from sort_assets.platform.store.store import Store
from sort_assets.platform.store.stored_comparison import ComparisonDetails


def sorted_recording(store: Store, key: str, *, channels: int = 16) -> StoredSorting:
    """Publish manifests of all up to the sorting."""
    inputs: dict[str, InputVersion] = {}
    details = {
        "preprocessed_recording": RecordingDetails(
            raw_path="day.nwb", fingerprint="", frozen_config={}, channels=channels
        ),
        "binary_dat": BinaryDetails.model_construct(),
        "sorting": AssetDetails(),
    }
    for asset, of_asset in details.items():
        with store.stage(key, asset, run_id="run") as staging:
            made = staging.publish(data_version="v", config={}, config_sources={}, inputs=inputs, details=of_asset)
        inputs = {asset: InputVersion(version=made.manifest.version, data_version="v")}
    return StoredSorting(Roots(store.root, store.root), key)


def compared(store: Store, key: str, persisting: int, kept: int = 10, kind: str = "sorting", **shape: Any) -> None:
    """Publish a sorting and its comparison."""
    version = sorted_recording(store, key, **shape).manifest.version
    details = ComparisonDetails(
        baseline="before",
        baseline_kind=kind,
        baseline_name="old",
        name="new",
        version=version,
        data_version="v",
        headline="",
        units_before=20,
        units_now=20,
        persisting=20,
        kept_before=kept,
        kept_persisting=persisting,
        counts={},
    )
    with store.stage(key, "sorting_comparison", run_id="run") as staging:
        staging.publish(data_version="v", config={}, config_sources={}, inputs={}, details=details)


def test_comparisons_of_other_recordings_of_the_rig_with_the_same_kind_of_baseline_count(tmp_path: Path) -> None:
    store = Store(tmp_path)
    compared(store, "rig~a.nwb", 9)
    compared(store, "rig~b.nwb", 8)
    compared(store, "rig~truth.nwb", 1, kind="ground_truth")
    compared(store, "rig~wide.nwb", 2, channels=384)
    compared(store, "rig~empty.nwb", 0, kept=0)
    compared(store, "other~c.nwb", 3)
    compared(store, "rig~day.nwb", 5)

    sorting = StoredSorting(Roots(tmp_path, tmp_path), "rig~day.nwb")

    assert sorted(persisting_shares(store, sorting, "sorting")) == [0.8, 0.9]
    assert persisting_shares(store, sorting, "ground_truth") == [0.1]


def test_a_rig_without_comparisons_has_no_history(tmp_path: Path) -> None:
    store = Store(tmp_path)

    assert persisting_shares(store, sorted_recording(store, "rig~day.nwb"), "sorting") == []
