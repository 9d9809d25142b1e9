"""`sort-assets retry-failed`: what failed is wanted again, from the asset that failed on, and nothing else is."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from sort_assets.config import RecordingConfig
from sort_assets.errors import DiskFullError, HostOutOfMemoryError, SortAssetsError, UnreadableRecordingError
from sort_assets.platform.arrivals.catalog_entry import CatalogEntry, CatalogPartition, State
from sort_assets.platform.arrivals.header_reader import HeaderReader
from sort_assets.platform.arrivals.recording_catalog import RecordingCatalog
from sort_assets.platform.arrivals.scanner import RecordingScanner
from sort_assets.platform.arrivals.tick import Limits
from sort_assets.platform.pipeline.catalog import PIPELINE
from sort_assets.platform.store.details import Details
from sort_assets.platform.store.failures import record_failure
from sort_assets.recordings.probe_files import probe_fingerprint
from sort_assets_tests.fixtures.home import Home
from sort_assets_tests.platform.store.writers import publish

FULL = DiskFullError("The disk is full.", remedy="Empty it.")


def _known(home: Home, *keys: str) -> RecordingCatalog:
    """Recordings that the sensor has registered."""
    known = home.catalog()
    for key in keys:
        home.add_partition(key)
        known.put(CatalogEntry(key, State.REGISTERED, stamp="s", read_stamp="s", fingerprint=f"of-{key}"))
        known.put_partitions(CatalogPartition(key, key))
    return known


def _fail(home: Home, key: str, asset: str, error: SortAssetsError = FULL) -> None:
    with home.store.stage(key, asset, run_id="failed-run") as staging:
        record_failure(
            *(home.store, key, asset),
            version=staging.version,
            run_id="failed-run",
            attempt=1,
            error=error,
            scaled={},
            logs=[],
            retried=False,
        )


def _preprocess(home: Home, key: str, *, details: Mapping[str, Any] | None = None, **recording: Any) -> None:
    """Publish what a run with these settings of the recording leaves, as far as a retry reads it."""
    config = {"recording": RecordingConfig(**recording).model_dump(mode="json")}
    with home.store.stage(key, "preprocessed_recording", run_id="earlier-run") as staging:
        staging.publish(
            data_version="v", config=config, config_sources={}, inputs={}, details=Details(**(details or {}))
        )


def _rules(home: Home, rule: str) -> None:
    text = f"rules: [{{match: '*', {rule}}}]"
    (home.roots.recordings / "sort_assets.yaml").write_text(text, encoding="utf-8")


def _run(home: Home, key: str, status: dg.DagsterRunStatus) -> dg.DagsterRun:
    origin = RemoteJobOrigin(
        RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("sort_assets"), "__repository__"), "sort_recording"
    )
    tags = {"dagster/partition": key}
    with home.instance() as instance:
        return instance.add_run(dg.DagsterRun("sort_recording", status=status, tags=tags, remote_job_origin=origin))


def _retry(home: Home, *words: str, status: int = 0) -> dict[str, Any]:
    done = home.invoke("retry-failed", *words, "--json")
    assert done.status == status, done.output
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_what_failed_is_wanted_again_from_the_asset_that_failed_on(home: Home) -> None:
    known = _known(home, "a.nwb", "b.nwb", "good.nwb", "mended.nwb", "unsortable.nwb")
    _fail(home, "a.nwb", "sorting")
    _fail(home, "b.nwb", "binary_dat")
    _fail(home, "mended.nwb", "sorting")
    for key in ("good.nwb", "mended.nwb", "unsortable.nwb"):
        publish(home.store, "sorting", recording=key)

    said = _retry(home)

    assert [(one["key"], one["failure_class"]) for one in said["runs"]] == [
        ("a.nwb", "DiskFullError"),
        ("b.nwb", "DiskFullError"),
    ]
    wanted = {one.key: one for one in known.pending_runs(10)}
    assert wanted["a.nwb"].run_assets == PIPELINE[2:]
    assert wanted["b.nwb"].run_assets == PIPELINE[1:]
    assert str(wanted["a.nwb"].run_key).startswith("a.nwb:of-a.nwb:retry-")
    assert "daemon does not run" in said["not_launched_because"]


def test_groups_whose_spikes_were_missed_have_the_recording_sorted_again(home: Home) -> None:
    known = _known(home, "a.nwb", "b.nwb", "c.nwb")
    for key in ("a.nwb", "b.nwb", "c.nwb"):
        publish(
            home.store, "sorting", recording=key, details={"num_units": 6, "missed_groups": {"g1": "No templates."}}
        )
    _fail(home, "b.nwb", "unit_metrics")
    _fail(home, "c.nwb", "binary_dat")

    said = _retry(home, "--class", "MissedSpikesError")
    everything = _retry(home, "--dry-run")

    assert [(one["key"], one["message"]) for one in said["runs"]] == [
        ("a.nwb", "No templates."),
        ("b.nwb", "No templates."),
    ]
    assert {one.key: one.run_assets for one in known.pending_runs(10)} == {
        "a.nwb": PIPELINE[2:],
        "b.nwb": PIPELINE[2:],
    }
    assert everything["runs"][2]["assets"] == list(PIPELINE[1:])


@pytest.mark.parametrize(
    ("rules", "assets"),
    [
        ("recording: {freq_min: 450}", PIPELINE),
        ("recording: {probe_file: other.json}", PIPELINE),
        ("sorter: {name: lupin}, recording: {freq_min: 300}", PIPELINE[2:]),
        ("recording: {probe_file: nowhere.json}", PIPELINE[2:]),
        ("recording: {freq_minimum: 450}", PIPELINE[2:]),
    ],
    ids=["other band", "other probe", "other sorter", "no probe file", "mistake"],
)
def test_everything_is_made_again_when_the_recording_is_to_be_opened_or_filtered_in_another_way(
    home: Home, rules: str, assets: tuple[str, ...]
) -> None:
    _known(home, "a.h5@well001")
    _preprocess(home, "a.h5@well001", stream="well001")
    _fail(home, "a.h5@well001", "sorting")
    (home.roots.recordings / "other.json").write_text("{}", encoding="utf-8")
    _rules(home, rules)

    said = _retry(home, "--dry-run")

    (run,) = said["runs"]
    assert run["assets"] == list(assets)


def test_a_probe_file_with_another_content_has_everything_made_again(home: Home) -> None:
    _known(home, "a.nwb")
    probe = home.roots.recordings / "probe.json"
    probe.write_text("{}", encoding="utf-8")
    fingerprint = probe_fingerprint(home.roots.recordings / "a.nwb", "probe.json")
    _preprocess(home, "a.nwb", details={"probe_fingerprint": fingerprint}, probe_file="probe.json")
    _fail(home, "a.nwb", "sorting")
    _rules(home, "recording: {probe_file: probe.json}")

    same = _retry(home, "--dry-run")
    probe.write_text("{ }", encoding="utf-8")
    changed = _retry(home, "--dry-run")

    assert same["runs"][0]["assets"] == list(PIPELINE[2:])
    assert changed["runs"][0]["assets"] == list(PIPELINE)


def test_a_second_retry_has_another_run_key_and_one_that_waits_is_left_as_it_is(home: Home) -> None:
    known = _known(home, "a.nwb")
    _fail(home, "a.nwb", "sorting")
    _retry(home)
    (first,) = known.pending_runs(10)

    assert _retry(home)["runs"][0]["wanted"]
    (same,) = known.pending_runs(10)
    known.mark_requested(["a.nwb"], tick=1)
    known.begin_tick(1)
    _retry(home)
    (second,) = known.pending_runs(10)

    assert same == first
    assert second.run_key != first.run_key


def test_names_a_class_and_a_dry_run_narrow_it_down(home: Home) -> None:
    known = _known(home, "a.nwb", "b.nwb", "c.nwb")
    _fail(home, "a.nwb", "sorting")
    _fail(home, "b.nwb", "sorting", HostOutOfMemoryError("Memory gave out.", remedy="Buy some."))

    by_class = _retry(home, "--class", "OutOfMemoryError", "--dry-run")
    wrong = home.invoke("retry-failed", "--class", "NoSuchError")
    unknown = _retry(home, "a.nwb", "z.nwb", "--dry-run", status=1)
    nothing = home.invoke("retry-failed", "c.nwb")

    assert [one["key"] for one in by_class["runs"]] == ["b.nwb"]
    assert wrong.status == 1
    assert "DiskFullError, HostOutOfMemoryError" in wrong.stderr
    assert [one["key"] for one in unknown["runs"]] == ["a.nwb"]
    assert (nothing.status, nothing.stdout) == (0, "Nothing of what you named has failed.\n")
    assert known.pending_runs(10) == []


def test_a_run_that_failed_before_any_step_is_made_again(home: Home) -> None:
    known = _known(home, "a.nwb", "busy.nwb", "ended.nwb")
    with home.instance() as instance:
        failed = _run(home, "a.nwb", dg.DagsterRunStatus.STARTED)
        instance.report_run_failed(failed, "The worker has died.")
    _fail(home, "busy.nwb", "sorting")
    _run(home, "busy.nwb", dg.DagsterRunStatus.STARTED)
    _run(home, "ended.nwb", dg.DagsterRunStatus.CANCELED)

    said = _retry(home)

    with home.instance() as instance:
        left = instance.get_run_by_id(failed.run_id)
    assert left is not None
    assert left.tags["dagster/will_retry"] == "false"  # or else the daemon would launch it, too
    assert [(one["key"], one["failure_class"]) for one in said["runs"]] == [("a.nwb", "the run itself")]
    assert [one.run_assets for one in known.pending_runs(10)] == [PIPELINE]


def test_a_recording_of_which_nobody_kept_a_list_is_known_from_then_on(home: Home, small_file: Path) -> None:
    home.link(small_file, "day.nwb")
    home.add_partition("day.nwb")
    home.add_partition("gone.nwb")
    for key in ("day.nwb", "gone.nwb"):
        _fail(home, key, "sorting")

    done = home.invoke("retry-failed")

    known = home.catalog()
    assert done.status == 1
    assert "gone.nwb' does not exist" in done.stderr
    (wanted,) = known.pending_runs(10)
    assert (wanted.key, wanted.run_assets) == ("day.nwb", PIPELINE[2:])
    row = known.get("day.nwb")
    assert row is not None
    assert f"day.nwb:{row.fingerprint}:retry-" in str(wanted.run_key)


def test_what_could_not_be_read_is_read_again_when_somebody_says_so(home: Home) -> None:
    known = _known(home)
    problem = UnreadableRecordingError("Truncated.", remedy="Copy it again.")
    for path in ("one.nwb", "two.nwb"):
        known.put(CatalogEntry(path, State.PROBLEM, stamp="s", read_stamp="s", settings="r|s", problem=problem))
    known.put(CatalogEntry("notes.h5", State.FOREIGN, stamp="s", read_stamp="s"))

    silent, named, all_of_them = _retry(home), _retry(home, "two.nwb", "notes.h5"), _retry(home, "--unreadable")

    assert silent["read_again"] == []
    assert named["read_again"] == ["notes.h5", "two.nwb"]
    assert all_of_them["read_again"] == ["one.nwb"]
    for path in ("one.nwb", "two.nwb", "notes.h5"):
        row = known.get(path)
        assert row is not None
        assert (row.state, row.problem, row.read_stamp) == (State.WAITING, None, None)


def test_the_next_look_of_the_sensor_starts_it_and_the_one_after_does_not(home: Home, small_file: Path) -> None:
    key = home.register(home.link(small_file, "day.nwb"))
    _fail(home, key, "sorting")
    _retry(home)
    reader = HeaderReader(timeout_s=60.0)

    try:
        with home.instance() as instance:
            scanner = RecordingScanner(instance, home.roots, reader, sensor="s", limits=Limits(read_s=60.0))
            look = scanner.tick(0)
            after = scanner.tick(look.tick)
    finally:
        reader.close()

    assert [(one.key, one.run_assets) for one in look.requests] == [("day.nwb", PIPELINE[2:])]
    assert after.requests == []
