"""All recordings in one table, whatever is missing, damaged or being written."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sort_assets.errors import DeviceOutOfMemoryError, DiskFullError, SortAssetsError
from sort_assets.platform.pipeline.recording_results import (
    COLUMNS,
    overcome_failures,
    recording_summary,
    standing_failures,
    summary_table,
)
from sort_assets.platform.pipeline.rig_history import rig_history
from sort_assets.platform.pipeline.summary_cache import units_summary
from sort_assets.platform.store.details import Details
from sort_assets.platform.store.failures import record_failure
from sort_assets.platform.store.layout import MANIFEST_NAME
from sort_assets.platform.store.store import Store

PREPROCESSED = {"channels": 384, "median_noise_uv": 8.5}
SORTING = {"num_units": 10, "duration_s": 600.0, "unsortable": None, "degraded": False}
METRICS = {"medians": {"snr": 7.5, "isi_violations_percent": 0.4, "amplitude_uv": 95.0, "firing_rate": None}}
CURATED = {"num_units": 10, "num_kept": 6}


def put(
    store: Store,
    recording: str,
    asset: str,
    details: dict[str, Any],
    sorter: str = "kilosort4",
    run_id: str = "0123456789",
) -> Path:
    """Publish a result that is nothing but its manifest."""
    with store.stage(recording, asset, run_id=run_id) as staging:
        config = {"sorter": {"name": sorter}}
        return staging.publish(
            data_version="v", config=config, config_sources={}, inputs={}, details=Details(**details)
        ).path


def fill(store: Store, recording: str, **sorting: Any) -> None:
    """Publish all results of a recording."""
    put(store, recording, "preprocessed_recording", PREPROCESSED)
    put(store, recording, "sorting", SORTING | sorting)
    put(store, recording, "unit_metrics", METRICS)
    put(store, recording, "curated_units", CURATED)


def fail(store: Store, recording: str, asset: str, error: SortAssetsError, run_id: str = "failed") -> None:
    """Leave the record of a failed attempt."""
    with store.stage(recording, asset, run_id=run_id) as staging:
        record_failure(
            store,
            recording,
            asset,
            version=staging.version,
            run_id=run_id,
            attempt=1,
            error=error,
            scaled={},
            logs=[],
            retried=False,
        )


def test_a_finished_recording_has_every_number(tmp_path: Path) -> None:
    store = Store(tmp_path)
    fill(store, "mouse~day.nwb")

    (summary,) = units_summary(store).values()

    assert summary.sorted_at is not None
    assert abs((datetime.now(UTC) - summary.sorted_at).total_seconds()) < 60
    assert (summary.sorter, summary.duration_s, summary.channels, summary.noise_uv) == ("kilosort4", 600.0, 384, 8.5)
    assert (summary.units_found, summary.units_kept, summary.units_rejected) == (10, 6, 4)
    assert (summary.snr, summary.isi_violations_percent, summary.amplitude_uv) == (7.5, 0.4, 95.0)
    assert (summary.unsortable, summary.degraded, summary.failure, summary.overcome) == (None, False, None, None)


def test_what_is_not_there_yet_is_missing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    put(store, "sorted.nwb", "sorting", SORTING)
    put(store, "prepared.nwb", "preprocessed_recording", PREPROCESSED)

    found = units_summary(store)

    assert list(found) == ["sorted.nwb"]
    assert found["sorted.nwb"].units_found == 10
    assert found["sorted.nwb"].units_kept is found["sorted.nwb"].snr is found["sorted.nwb"].noise_uv is None


def test_results_of_an_earlier_sorting_are_left_out(tmp_path: Path) -> None:
    store = Store(tmp_path)
    fill(store, "a.nwb")
    put(store, "a.nwb", "sorting", SORTING | {"num_units": 3})

    summary = recording_summary(store, "a.nwb")

    assert summary.units_found == 3
    assert summary.units_kept is summary.snr is None
    assert summary.noise_uv == 8.5


def test_an_unsortable_and_a_degraded_recording_say_so(tmp_path: Path) -> None:
    store = Store(tmp_path)
    fill(store, "silent.nwb", num_units=0, unsortable="It is silent.")
    fill(store, "large.nwb", degraded=True)

    found = units_summary(store)

    assert (found["silent.nwb"].units_found, found["silent.nwb"].unsortable) == (0, "It is silent.")
    assert (found["large.nwb"].degraded, found["silent.nwb"].degraded) == (True, False)


def test_failures_are_counted_by_class_and_by_whether_a_success_followed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    fail(store, "overcome.nwb", "sorting", DeviceOutOfMemoryError("No memory.", remedy="Less."))
    fill(store, "overcome.nwb")
    for recording in ("full.nwb", "again.nwb"):
        fail(store, recording, "binary_dat", DiskFullError("No space.", remedy="Make room."))

    found = units_summary(store)

    assert standing_failures(found.values()) == {"DiskFullError": 2}
    assert overcome_failures(found.values()) == {"DeviceOutOfMemoryError": 1}
    assert found["full.nwb"].failed_asset == "binary_dat"
    assert found["full.nwb"].failure_message == "No space."
    assert found["full.nwb"].failed_at is not None
    assert found["overcome.nwb"].failure is None


def test_checks_that_did_not_pass_are_named_unless_they_are_of_an_earlier_sorting(tmp_path: Path) -> None:
    store = Store(tmp_path)
    checks = {
        name: {"checks": [{"name": name, "passed": passed, "severity": "WARN", "description": "Found."}]}
        for name, passed in (("clock", False), ("stability", True), ("units_kept", False), ("session", False))
    }
    put(store, "a.nwb", "preprocessed_recording", PREPROCESSED | checks["clock"])
    put(store, "a.nwb", "sorting", SORTING | checks["stability"])
    put(store, "a.nwb", "curated_units", CURATED | checks["units_kept"])
    put(store, "a.nwb", "spike_data", checks["session"])

    before = recording_summary(store, "a.nwb")
    put(store, "a.nwb", "sorting", SORTING)
    after = recording_summary(store, "a.nwb")

    assert before.failed_checks == "clock, units_kept, session"
    first = before.checks_not_passed[0]
    assert (first.asset, first.description) == ("preprocessed_recording", "Found.")
    assert after.failed_checks == "clock"
    assert summary_table({"a.nwb": before}).loc["a.nwb", "failed_checks"] == "clock, units_kept, session"


DAMAGE = (
    b"",
    b"{",
    b"[]",
    b"null",
    b"7",
    b"\xff\xfe",
    b'{"details": 3, "config": [], "created": "yesterday", "version": null}',
    b'{"details": {"num_units": "ten", "duration_s": NaN, "unsortable": {}}, "config": {"sorter": "x"}}',
    b'{"details": {"checks": [3, {"name": 1}, {"passed": "x"}]}, "run_id": 7}',
    b'{"details": {"checks": {"name": "x"}}}',
    b'{"details": {"num_units": true, "medians": [1], "num_kept": 2.5}, "created": "2026-01-01T00:00:00"}',
)


@pytest.mark.parametrize(
    ("asset", "lost"),
    [
        ("preprocessed_recording", {"noise_uv", "channels"}),
        ("sorting", {"sorted_at", "sorter", "duration_s", "units_found", "degraded"}),
        ("unit_metrics", {"snr", "isi_violations_percent", "amplitude_uv"}),
        ("curated_units", {"units_kept", "units_rejected"}),
    ],
)
def test_a_damaged_manifest_costs_its_own_numbers_alone(tmp_path: Path, asset: str, lost: set[str]) -> None:
    store = Store(tmp_path)
    fill(store, "sound")
    for number, content in enumerate(DAMAGE):
        shutil.copytree(tmp_path / "sound", tmp_path / f"damaged{number}", symlinks=True)
        (store.asset_folder(f"damaged{number}", asset) / "current" / MANIFEST_NAME).write_bytes(content)

    table = summary_table(units_summary(store))

    sound, damaged = table.loc["sound"], table.drop("sound")
    others = [name for name in table.columns if name not in lost]
    assert sound[sorted(lost)].notna().all()
    assert damaged[sorted(lost - {"degraded"})].isna().all(axis=None)
    assert len(damaged) == len(DAMAGE)
    for _, row in damaged.iterrows():
        pd.testing.assert_series_equal(row[others], sound[others], check_names=False)


def test_versions_in_the_making_and_folders_that_are_none_change_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    fill(store, "a.nwb")
    (tmp_path / "notes.txt").write_text("not a recording")
    (tmp_path / "stray").mkdir()
    (tmp_path / "stray" / "sorting").write_text("a file where a folder belongs")
    (tmp_path / "@all" / "units_across_recordings").mkdir(parents=True)

    with store.stage("a.nwb", "sorting", run_id="running"), store.stage("new.nwb", "sorting", run_id="running"):
        found = units_summary(store)

    assert list(found) == ["a.nwb"]
    assert found["a.nwb"].units_found == 10


def test_the_table_has_its_columns_and_types_whether_it_is_empty_or_not(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    empty = summary_table(units_summary(store))
    fill(store, "b.nwb")
    put(store, "a.nwb", "sorting", SORTING)

    table = summary_table(units_summary(store))
    table.to_parquet(tmp_path / "table.parquet")

    assert list(empty.columns) == list(table.columns) == [column.name for column in COLUMNS]
    assert len(empty) == 0
    assert list(table.index) == ["a.nwb", "b.nwb"]
    assert table["units_kept"].isna().tolist() == [True, False]
    assert str(table["sorted_at"].dtype) == "datetime64[us, UTC]"
    pd.testing.assert_series_equal(empty.dtypes, table.dtypes)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "table.parquet"), table)


def test_the_history_of_a_rig_is_of_its_folder_and_number_of_channels(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for number in range(6):
        put(store, f"rig1~day{number}.nwb", "preprocessed_recording", PREPROCESSED)
        put(store, f"rig1~day{number}.nwb", "sorting", SORTING | {"num_units": number})
    put(store, "rig1~other.nwb", "preprocessed_recording", PREPROCESSED | {"channels": 32})
    put(store, "rig1~other.nwb", "sorting", SORTING | {"num_units": 99})
    fill(store, "rig2~day.nwb")

    history = rig_history(store, "rig1~day0.nwb", channels=384, sorter="kilosort4")

    assert history.units == [5, 4, 3, 2, 1]
    assert history.noise_uv == [8.5] * 5
    assert history.rig == "384 channels, below 'rig1'"


def test_with_few_recordings_in_the_folder_those_elsewhere_count(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for number in range(3):
        fill(store, f"rig2~day{number}.nwb")
    fill(store, "alone.nwb")
    put(store, "rig2~day0.nwb", "sorting", SORTING, sorter="mountainsort5")

    history = rig_history(store, "rig1~new.nwb", channels=384, sorter="kilosort4")

    assert history.units == [10] * 3
    assert history.units_kept == [6] * 3
    assert history.noise_uv == [8.5] * 4
    assert history.rig == "384 channels"


def test_a_first_recording_has_no_history(tmp_path: Path) -> None:
    history = rig_history(Store(tmp_path / "store"), "a.nwb", channels=4, sorter="kilosort4")

    assert (history.units, history.units_kept, history.noise_uv) == ([], [], [])


def test_manifests_are_json_that_other_programs_wrote_too(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = put(store, "a.nwb", "sorting", SORTING) / MANIFEST_NAME
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "created": "2026-03-01T12:00:00+01:00", "of_a_later_version": 1}))

    summary = recording_summary(store, "a.nwb")

    assert summary.sorted_at == datetime(2026, 3, 1, 11, tzinfo=UTC)
