"""When a rig left its usual range, and when it came back, by the verdicts in the store."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from sort_assets.platform.pipeline.recording_results import recording_summary
from sort_assets.platform.pipeline.rig_changes import RigChange, RigMemory, rig_changes, rigs_out_of_range
from sort_assets.platform.pipeline.summary_cache import units_summary
from sort_assets.platform.store.store import Store
from sort_assets_tests.platform.pipeline.test_recording_results import CURATED, METRICS, PREPROCESSED, SORTING, put


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def make(store: Store, recording: str, *not_passed: str, sorter: str = "kilosort4", channels: int = 384) -> str:
    """Publish the results of a recording that did not pass some checks; returns their run."""
    run_id = f"run of {recording}"

    def verdict(name: str) -> list[dict[str, object]]:
        words = f"{name} of {recording}."
        return [{"name": name, "passed": name not in not_passed, "severity": "WARN", "description": words}]

    preprocessed = PREPROCESSED | {"channels": channels, "checks": verdict("noise_level")}
    put(store, recording, "preprocessed_recording", preprocessed, run_id=run_id)
    put(store, recording, "sorting", SORTING, sorter=sorter, run_id=run_id)
    put(store, recording, "unit_metrics", METRICS | {"checks": verdict("drift_as_usual")}, run_id=run_id)
    put(store, recording, "curated_units", CURATED | {"checks": verdict("yield_as_usual")}, run_id=run_id)
    return run_id


def changes(store: Store, *run_ids: str, unfinished: str = "") -> list[str]:
    """What is told of runs, each of a recording."""
    made = {key: recording_summary(store, key) for key in (run.removeprefix("run of ") for run in run_ids)}
    return [one.words for one in rig_changes(store, made, {*run_ids}, {unfinished})]


def report(instance: dg.DagsterInstance, store: Store, day: int, *recordings: str) -> list[str]:
    """What the report of a day says of the runs of that day."""
    morning = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(days=day)
    memory = RigMemory(instance, morning - timedelta(days=1), morning)
    made = {key: recording_summary(store, key) for key in recordings}
    told = rig_changes(store, made, {f"run of {key}" for key in recordings}, memory=memory)
    return [f"{'out' if one.is_out else 'back'} with {one.recording}" for one in told]


def test_a_recording_that_is_curated_again_is_not_told_again(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    store = Store(tmp_path)
    make(store, "rig~a.nwb")
    make(store, "rig~b.nwb", "yield_as_usual")
    first = report(instance, store, 2, "rig~b.nwb")
    make(store, "rig~b.nwb", "yield_as_usual")
    again = report(instance, store, 3, "rig~b.nwb")
    make(store, "rig~c.nwb", "yield_as_usual")
    later = report(instance, store, 4, "rig~c.nwb")

    assert (first, again, later) == (["out with rig~b.nwb"], [], [])


def test_an_old_recording_that_is_made_again_says_nothing_of_today(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    store = Store(tmp_path)
    make(store, "rig~a.nwb")
    for day in (2, 4):
        make(store, f"rig~{day}.nwb", "noise_level")
        report(instance, store, day, f"rig~{day}.nwb")
    make(store, "rig~a.nwb")
    old_again = report(instance, store, 5, "rig~a.nwb")
    (now,) = rigs_out_of_range(units_summary(store))
    make(store, "rig~6.nwb")
    good = report(instance, store, 6, "rig~6.nwb")

    assert old_again == []
    assert (now.measure, now.recording) == ("noise", "rig~4.nwb")
    assert good == ["back with rig~6.nwb"]


def test_a_report_that_nobody_received_is_made_again(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    store = Store(tmp_path)
    make(store, "rig~a.nwb")
    report(instance, store, 1, "rig~a.nwb")
    make(store, "rig~b.nwb", "drift_as_usual")

    assert [report(instance, store, 2, "rig~b.nwb") for _ in range(2)] == [["out with rig~b.nwb"]] * 2
    assert report(instance, store, 3, "rig~b.nwb") == []


@pytest.mark.parametrize(
    ("check", "measure"), [("noise_level", "noise"), ("yield_as_usual", "yield"), ("drift_as_usual", "drift")]
)
def test_a_rig_that_leaves_its_range_is_told_once_and_its_recovery_too(
    tmp_path: Path, check: str, measure: str
) -> None:
    store = Store(tmp_path)
    make(store, "rig~day1.nwb")
    told = []
    for day, is_out in ((2, True), (3, True), (4, False), (5, False)):
        run = make(store, f"rig~day{day}.nwb", *([check] if is_out else []))
        told.append(changes(store, run))

    rig = "384 channels, below 'rig'" + (", sorted with kilosort4" if measure == "yield" else "")
    assert told == [
        [f"{rig}: the {measure} left its usual range with rig~day2.nwb. {check} of rig~day2.nwb."],
        [],
        [f"{rig}: the {measure} is back in its usual range since rig~day4.nwb."],
        [],
    ]


def test_both_within_one_night_are_told_in_their_order(tmp_path: Path) -> None:
    store = Store(tmp_path)
    runs = [make(store, "b.nwb", "noise_level"), make(store, "c.nwb", "noise_level"), make(store, "a.nwb")]

    told = changes(store, *reversed(runs))

    assert [words.rpartition(" with ")[2][:5] if "left" in words else words[-6:] for words in told] == [
        "b.nwb",
        "a.nwb.",
    ]


def test_other_rigs_and_other_sorters_have_ranges_of_their_own(tmp_path: Path) -> None:
    store = Store(tmp_path)
    make(store, "rig1~a.nwb", "noise_level", "yield_as_usual")
    runs = [
        make(store, "rig2~b.nwb"),
        make(store, "rig1~tetrodes.nwb", channels=32),
        make(store, "rig1~c.nwb", "noise_level", sorter="mountainsort5"),
    ]

    told = changes(store, *runs)
    out = rigs_out_of_range(units_summary(store))

    assert told == []
    assert [(one.rig.folder, one.measure, one.recording) for one in out] == [
        ("rig1", "noise", "rig1~c.nwb"),
        ("rig1", "yield", "rig1~a.nwb"),
    ]


def test_a_verdict_of_a_run_that_goes_on_is_told_when_it_has_ended(tmp_path: Path) -> None:
    store = Store(tmp_path)
    make(store, "a.nwb")
    other = make(store, "c.nwb", "drift_as_usual")
    long_run = make(store, "b.nwb", "noise_level", "drift_as_usual")

    meanwhile = changes(store, other, unfinished=long_run)
    at_its_end = changes(store, long_run)

    assert [words.split(" left ")[0][-5:] for words in meanwhile] == ["drift"]
    assert [words.split(" left ")[0][-5:] for words in at_its_end] == ["noise"]


def test_a_verdict_that_is_older_than_what_was_told_changes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    long_run = make(store, "b.nwb")
    told = changes(store, make(store, "c.nwb", "drift_as_usual"), unfinished=long_run)

    assert len(told) == 1
    assert changes(store, long_run) == []


def test_a_recording_without_verdicts_says_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    put(store, "old.nwb", "preprocessed_recording", PREPROCESSED)
    put(store, "old.nwb", "sorting", SORTING)
    nothing: list[RigChange] = []

    assert rig_changes(store, units_summary(store), {"0123456789"}) == nothing
    assert rigs_out_of_range(units_summary(store)) == nothing
