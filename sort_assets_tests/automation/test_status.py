"""`sort-assets status`: what came out of each recording, in words, also when nothing did."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from sort_assets.automation.jobs import PIPELINE
from sort_assets.automation.status import RecordingStatus, recording_statuses
from sort_assets.errors import DeviceOutOfMemoryError, DiskFullError, SortAssetsError
from sort_assets.storage import Store
from sort_assets.storage.failures import failure_folder, record_failure
from sort_assets_tests.platform.home import Home, make_home

OUT_OF_MEMORY = DeviceOutOfMemoryError("CUDA out of memory.", remedy="Lower it.", stage="final clustering")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = make_home(tmp_path / "home")
    home.add_partition("day.nwb")
    return home


def _sorting(store: Store, run_id: str = "run", **details: Any) -> None:
    with store.stage("day.nwb", "sorting", run_id=run_id) as staging:
        staging.publish(data_version="v", config={}, config_sources={}, inputs={}, details=details)


def _failure(
    store: Store,
    error: SortAssetsError = OUT_OF_MEMORY,
    *,
    asset: str = "sorting",
    run_id: str = "failed-run",
    retried: bool = False,
) -> Path:
    with store.stage("day.nwb", asset, run_id=run_id) as staging:
        version = staging.version
        record_failure(
            *(store, "day.nwb", asset),
            version=version,
            run_id=run_id,
            attempt=1,
            error=error,
            scaled={},
            logs=[],
            retried=retried,
        )
    return failure_folder(store, "day.nwb", asset, version)


def _status(home: Home) -> RecordingStatus:
    with home.instance() as instance:
        (status,) = recording_statuses(instance, home.store)
    return status


@pytest.mark.parametrize(
    ("details", "outcome"),
    [
        ({"num_units": 8, "unsortable": None, "degraded": False}, "8 units"),
        ({"num_units": 1, "unsortable": None, "degraded": True}, "1 unit (degraded)"),
        ({"num_units": 0, "unsortable": "silent", "degraded": False}, "unsortable: silent"),
        ({"num_units": 0}, "0 units"),
    ],
)
def test_what_came_out_is_said_in_words(home: Home, details: dict[str, Any], outcome: str) -> None:
    _sorting(home.store, **details)

    status = _status(home)

    assert status.outcome == outcome
    assert status.units == details["num_units"]
    assert status.unsortable == details.get("unsortable")
    assert status.degraded == details.get("degraded", False)
    assert status.failure is None


def test_nothing_is_said_of_a_recording_that_nobody_touched(home: Home) -> None:
    assert _status(home).outcome == ""


def test_a_recording_without_a_sorting_says_why(home: Home) -> None:
    folder = _failure(home.store)

    status = _status(home)

    assert status.outcome == "failed: DeviceOutOfMemoryError in final clustering"
    assert status.failure is not None
    assert status.failure.message == "CUDA out of memory."
    assert status.failure.folder == str(folder)
    assert json.loads(Path(status.failure.folder, "failure.json").read_text())["run_id"] == status.failure.run_id


def test_a_success_makes_an_earlier_failure_good(home: Home) -> None:
    _failure(home.store)
    _sorting(home.store, num_units=8)

    assert _status(home).outcome == "8 units"


def test_a_failure_after_a_success_stands_beside_it(home: Home) -> None:
    _sorting(home.store, num_units=8)
    _failure(home.store, DiskFullError("Full.", remedy="Empty it."))

    assert _status(home).outcome == "8 units, then failed: DiskFullError"


def test_the_success_of_a_run_makes_its_own_failures_good_also_with_a_clock_set_back(home: Home) -> None:
    _sorting(home.store, "run", num_units=8)
    _failure(home.store, run_id="run")

    assert _status(home).outcome == "8 units"


def test_a_failure_of_another_asset_names_it(home: Home) -> None:
    _failure(home.store)
    _failure(home.store, DiskFullError("Full.", remedy="Empty it."), asset="binary_dat")

    assert _status(home).outcome == "binary_dat failed: DiskFullError"


@pytest.mark.parametrize(
    ("run_status", "words"), [(dg.DagsterRunStatus.STARTED, " (trying again)"), (dg.DagsterRunStatus.CANCELED, "")]
)
def test_a_failure_is_tried_again_while_its_run_goes_on(
    home: Home, run_status: dg.DagsterRunStatus, words: str
) -> None:
    run = dg.DagsterRun(job_name="sort_recording", status=run_status, tags={"dagster/partition": "day.nwb"})
    with home.instance() as instance:
        instance.add_run(run)
    _failure(home.store, run_id=run.run_id, retried=True)

    assert _status(home).outcome == f"failed: DeviceOutOfMemoryError in final clustering{words}"


def test_the_command_prints_the_outcome_and_where_the_logs_are(home: Home) -> None:
    folder = _failure(home.store)

    shown = home.command("sort-assets", "status")
    as_json = home.invoke("status", "--json")

    assert shown.status == 0, shown.output
    assert "failed: DeviceOutOfMemoryError in final clustering" in shown.stdout
    assert f"CUDA out of memory. Remedy: Lower it. Logs: {folder}" in shown.stdout
    (status,) = json.loads(as_json.stdout)
    assert set(status) == {
        *("recording", "assets", "units", "unsortable", "degraded", "failure", "last_run", "last_run_status")
    }
    assert status["assets"] == dict.fromkeys(PIPELINE, False)
    assert status["failure"]["failure_class"] == "DeviceOutOfMemoryError"
    assert status["failure"]["stage"] == "final clustering"
