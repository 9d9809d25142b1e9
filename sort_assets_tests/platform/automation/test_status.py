"""`sort-assets status`: what came out of each recording, in words, also when nothing did."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from sort_assets.errors import DeviceOutOfMemoryError, DiskFullError, SortAssetsError, UnreadableRecordingError
from sort_assets.platform.arrivals.catalog_entry import CatalogEntry, CatalogPartition, State
from sort_assets.platform.automation.status import RecordingStatus, recording_statuses
from sort_assets.platform.execution.dead_runs import report_death_of_worker
from sort_assets.platform.pipeline.catalog import PIPELINE
from sort_assets.platform.pipeline.partitions import RECORDINGS_PARTITIONS
from sort_assets.platform.store.details import Details
from sort_assets.platform.store.failures import failure_folder, record_failure
from sort_assets.platform.store.store import Store
from sort_assets_tests.fixtures.home import Home, make_home
from sort_assets_tests.platform.store.writers import publish

OUT_OF_MEMORY = DeviceOutOfMemoryError("CUDA out of memory.", remedy="Lower it.", stage="final clustering")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = make_home(tmp_path / "home")
    home.add_partition("day.nwb")
    return home


def _sorting(store: Store, run_id: str = "run", **details: Any) -> None:
    with store.stage("day.nwb", "sorting", run_id=run_id) as staging:
        staging.publish(data_version="v", config={}, config_sources={}, inputs={}, details=Details(**details))


def _failure(
    store: Store,
    error: SortAssetsError = OUT_OF_MEMORY,
    *,
    asset: str = "sorting",
    run_id: str = "failed-run",
    retried: bool = False,
    recording: str = "day.nwb",
) -> Path:
    with store.stage(recording, asset, run_id=run_id) as staging:
        version = staging.version
        record_failure(
            *(store, recording, asset),
            version=version,
            run_id=run_id,
            attempt=1,
            error=error,
            scaled={},
            logs=[],
            retried=retried,
        )
    return failure_folder(store, recording, asset, version)


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
        (
            {"num_units": 6, "degraded": True, "missed_groups": {"shank_b": "No templates."}},
            "6 units (degraded: spikes were missed on the channels of shank_b)",
        ),
    ],
)
def test_what_came_out_is_said_in_words(home: Home, details: dict[str, Any], outcome: str) -> None:
    _sorting(home.store, **details)

    status = _status(home)

    assert status.outcome == outcome
    assert status.results.units_found == details["num_units"]
    assert status.results.unsortable == details.get("unsortable")
    assert status.results.degraded == details.get("degraded", False)
    assert status.results.standing is None


@pytest.mark.parametrize(
    ("channels", "groups", "shaped", "told"),
    [(16, 4, {}, True), (64, 16, {}, True), (64, 1, {}, False), (16, 4, {"g0": {}}, False)],
)
def test_few_channels_found_unsortable_by_old_defaults_are_to_be_sorted_again(
    home: Home, channels: int, groups: int, shaped: dict[str, Any], told: bool
) -> None:
    publish(home.store, "preprocessed_recording", recording="day.nwb", details={"channels": channels})
    params: dict[str, Any] = {f"g{index}": {} for index in range(groups)}
    _sorting(home.store, num_units=0, unsortable="No clear spikes.", effective_params=params, chosen_by_shape=shaped)

    status = _status(home)

    assert status.to_dict()["unsortable_by_old_defaults"] == told
    assert ("launch the job sort_again" in status.outcome) == told


def test_a_group_whose_spikes_were_missed_counts_as_a_failure(home: Home) -> None:
    _sorting(home.store, num_units=6, degraded=True, missed_groups={"shank_b": "No templates. Remedy: (1) Lower it."})

    shown = home.invoke("status", "--failed")

    assert "day.nwb: MissedSpikesError: No templates. Remedy: (1) Lower it." in shown.stdout
    assert _status(home).results.failure == "MissedSpikesError"


def test_nothing_is_said_of_a_recording_that_nobody_touched(home: Home) -> None:
    assert _status(home).outcome == ""


def test_a_recording_without_a_sorting_says_why(home: Home) -> None:
    folder = _failure(home.store)

    status = _status(home)

    assert status.outcome == "failed: DeviceOutOfMemoryError in final clustering"
    failure = status.results.standing
    assert failure is not None
    assert status.results.failure_message == "CUDA out of memory."
    assert status.results.failure_folder == folder
    assert json.loads((folder / "failure.json").read_text())["run_id"] == failure.run_id


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


def test_a_run_that_failed_outside_of_its_steps_is_no_silence(home: Home) -> None:
    run = dg.DagsterRun(
        job_name="sort_recording", status=dg.DagsterRunStatus.FAILURE, tags={"dagster/partition": "day.nwb"}
    )
    with home.instance() as instance:
        instance.add_run(run)

    assert _status(home).outcome == "failed: the run itself (No message.)"


def test_a_run_whose_worker_was_killed_says_so_and_that_it_is_launched_again(home: Home) -> None:
    origin = RemoteJobOrigin(
        RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("sort_assets"), "__repository__"), "sort_recording"
    )
    run = dg.DagsterRun(
        job_name="sort_recording",
        status=dg.DagsterRunStatus.STARTED,
        tags={"dagster/partition": "day.nwb"},
        remote_job_origin=origin,
    )
    with home.instance() as instance:
        report_death_of_worker(instance, instance.add_run(run), -9)
        killed = _status(home).outcome
        instance.add_run_tags(run.run_id, {"dagster/auto_retry_run_id": "next"})

    assert killed == "failed: RunWorkerLostError, launched again by itself"
    assert _status(home).outcome == "failed: RunWorkerLostError"


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
        *(
            "recording",
            "assets",
            "units",
            "kept",
            "curated_by",
            "unsortable",
            "unsortable_by_old_defaults",
            "missed_groups",
            "degraded",
            "failed_checks",
            "failure",
            "last_run",
            "last_run_status",
            "estimate",
        ),
        *("path", "state", "run_wanted", "changed", "vanished", "problem", "clock"),
    }
    assert status["assets"] == dict.fromkeys(PIPELINE, False)
    assert status["failure"]["failure_class"] == "DeviceOutOfMemoryError"
    assert status["failure"]["stage"] == "final clustering"


def _known(home: Home) -> None:
    """A folder in which there is one of each."""
    for key in ("failed.nwb", "weak.nwb", "silent.nwb", "moved.nwb", "plate.h5@well000"):
        home.add_partition(key)
    for key, details in {
        "weak.nwb": {"num_units": 3, "degraded": True},
        "silent.nwb": {"num_units": 0, "unsortable": "silent"},
        "moved.nwb": {"num_units": 3},
    }.items():
        publish(home.store, "preprocessed_recording", recording=key, details={"fingerprint": "old"})
        publish(home.store, "sorting", recording=key, details=details)
    _failure(home.store, DiskFullError("Full.", remedy="Empty it."), recording="failed.nwb")
    damaged = UnreadableRecordingError("Truncated.", remedy="Copy it again.")
    known = home.catalog()
    known.put(
        CatalogEntry("weak.nwb", State.REGISTERED, fingerprint="old"),
        CatalogEntry("silent.nwb", State.REGISTERED, fingerprint="new"),
        CatalogEntry("moved.nwb", State.REGISTERED, fingerprint="old", missing_since=1e9),
        CatalogEntry("plate.h5", State.REGISTERED, fingerprint="old"),
        CatalogEntry("growing\n.nwb", State.WAITING, since=1e9),
        CatalogEntry("cut.nwb", State.PROBLEM, problem=damaged),
        CatalogEntry("test.nwb", State.IGNORED),
        CatalogEntry("left.nwb", State.FORGOTTEN, problem=damaged),
        CatalogEntry("notes.h5", State.FOREIGN),
    )
    known.put_partitions(CatalogPartition("plate.h5@well000", "plate.h5", run_key="k"))


def _shown(home: Home, *words: str) -> set[str]:
    done = home.invoke("status", *words, "--json")
    assert done.status == 0, done.output
    return {one["recording"] or one["path"] for one in json.loads(done.stdout)}


def test_filters_and_names_choose_what_is_shown(home: Home) -> None:
    _known(home)

    assert _shown(home, "--failed") == {"failed.nwb"}
    assert _shown(home, "--unsortable") == {"silent.nwb"}
    assert _shown(home, "--degraded", "--unsortable") == {"weak.nwb", "silent.nwb"}
    assert _shown(home, "--changed") == {"silent.nwb"}
    assert _shown(home, "--waiting") == {"growing\n.nwb", "plate.h5@well000"}
    assert _shown(home, "--problems") == {"cut.nwb", "moved.nwb"}
    assert _shown(home, "plate.h5") == _shown(home, "plate*") == {"plate.h5@well000"}
    assert _shown(home, "s*", "weak.nwb", "--degraded") == {"weak.nwb"}
    assert len(_shown(home)) == 6 + 4  # day.nwb too; what is no recording is not shown


def test_a_name_that_nothing_has_is_an_error_that_names_the_nearest(home: Home) -> None:
    done = home.invoke("status", "dya.nwb", "day.nwb")

    assert done.status == 1
    assert "dya.nwb: there is no such recording. Did you mean day.nwb?" in done.stderr
    assert "day.nwb" in done.stdout


def test_what_is_no_partition_is_shown_with_its_reason(home: Home) -> None:
    _known(home)

    shown = home.invoke("status").stdout

    assert "growing\\n.nwb: waiting, unchanged since 2001-09-09T01:46:40+00:00\n" in shown
    assert "cut.nwb: not registered, UnreadableRecordingError: Truncated. Remedy: Copy it again.\n" in shown
    assert "left.nwb" not in shown
    assert "Skipped: 1 forgotten, 1 ignored." in shown
    assert "moved.nwb: the recording is gone since 2001-09-09T01:46:40+00:00; its results are kept.\n" in shown


def test_thousands_are_shown_without_a_look_at_their_files(home: Home) -> None:
    keys = [f"day{number:04}.nwb" for number in range(1000)]
    with home.instance() as instance:
        instance.add_dynamic_partitions(RECORDINGS_PARTITIONS, keys)
    publish(home.store, "sorting", recording=keys[0], details={"num_units": 5})
    (home.store.artefact(keys[0], "sorting").path / "traces.dat").unlink()

    shown = home.invoke("status").stdout.splitlines()

    assert len(shown) == 1 + 1001 + 1  # the columns, the recordings, and the disk
    (first,) = [line for line in shown if line.startswith("day0000.nwb")]
    assert "5 units" in first


def test_the_checks_that_a_recording_did_not_pass_are_named_and_can_be_asked_for(home: Home) -> None:
    loud = {"name": "noise_level", "passed": False, "severity": "WARN", "description": "The noise is 80 µV."}
    fine = {"name": "units_found", "passed": True, "severity": "WARN", "description": None}
    home.add_partition("fine.nwb")
    for recording, checks in (("day.nwb", [loud, fine]), ("fine.nwb", [fine])):
        with home.store.stage(recording, "sorting", run_id="run") as staging:
            details = Details(num_units=8, checks=checks)
            staging.publish(data_version="v", config={}, config_sources={}, inputs={}, details=details)

    shown = home.invoke("status", "--checks")
    as_json = json.loads(home.invoke("status", "--json").stdout)

    assert "8 units; did not pass noise_level" in shown.stdout
    assert "day.nwb: sorting did not pass noise_level (WARN): The noise is 80 µV." in shown.stdout
    assert "fine.nwb" not in shown.stdout
    assert [one["failed_checks"] for one in as_json] == [
        [{"asset": "sorting", "check": "noise_level", "severity": "WARN", "description": "The noise is 80 µV."}],
        [],
    ]
