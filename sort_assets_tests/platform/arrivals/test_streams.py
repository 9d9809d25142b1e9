"""A recording of which some streams can't be read: the others are registered, and each stream has its own reason."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from probeinterface import generate_linear_probe, write_probeinterface

from sort_assets.platform.arrivals.catalog_entry import State
from sort_assets.platform.arrivals.dry_run import NEW, PROBLEM, REGISTERED, DryRun
from sort_assets.platform.arrivals.folder_report import Notice
from sort_assets.platform.arrivals.header_reader import HeaderReader
from sort_assets.platform.automation.status import Filters, recording_statuses, select, unregistered_statuses
from sort_assets.platform.store.store import Store
from sort_assets.testing.ground_truth import make_ground_truth
from sort_assets_tests.fixtures.home import Home
from sort_assets_tests.platform.arrivals.lab import Lab
from sort_assets_tests.recordings.writers import write_spikeglx

WHOLE, CUT = "run_g0@imec0.ap", "run_g0@imec1.ap"


@pytest.fixture
def lab(home: Home, reader: HeaderReader) -> Iterator[Lab]:
    with home.instance() as instance:
        yield Lab(home, instance, reader)


@pytest.fixture
def run(home: Home) -> Path:
    """A run of two probes, of whose second a part was copied."""
    recording, _ = make_ground_truth(duration_s=0.5, num_channels=4, num_units=2)
    folder = write_spikeglx({"imec0": recording, "imec1": recording}, home.roots.recordings / "run_g0", lf=False)
    _cut(folder, 1000)
    return folder


def _cut(folder: Path, num_bytes: int) -> None:
    (samples,) = folder.rglob("*imec1.ap.bin")
    os.truncate(samples, samples.stat().st_size - num_bytes)


def test_the_other_stream_is_registered_and_the_broken_one_warned_of_once(lab: Lab, run: Path) -> None:
    first = lab.arrive()
    again = lab.scan(10 * 3600.0)

    assert lab.keys() == {WHOLE}
    assert [one.key for one in first.requests] == [WHOLE]
    (warning,) = first.warnings
    assert warning.startswith(f"{CUT}: UnreadableRecordingError: ")
    assert "is truncated" in warning
    assert again.warnings == []
    assert lab.state(run.name) is State.REGISTERED


def test_status_and_the_folder_s_report_name_the_stream(lab: Lab, run: Path) -> None:
    lab.arrive()

    store = Store(lab.home.roots.store)
    unregistered = unregistered_statuses(store)
    shown = select(recording_statuses(lab.instance, store), unregistered, filters=Filters(problems=True))
    (entry,) = lab.catalog.with_problems()
    (notice,) = Notice.of(entry)

    assert [(one.path, one.state) for one in shown.others] == [(CUT, State.PROBLEM)]
    assert shown.recordings == []
    assert unregistered[0].to_dict()["problem"]["remedy"].startswith("Copy the recording again")
    assert (notice.path, notice.what) == (CUT, "problem")
    assert "imec1.ap.bin' is truncated" in notice.message


def test_the_stream_is_registered_once_it_is_whole(lab: Lab, run: Path) -> None:
    lab.arrive()
    (samples,) = run.rglob("*imec1.ap.bin")
    samples.write_bytes(next(run.rglob("*imec0.ap.bin")).read_bytes())
    lab.arrive()

    assert lab.keys() == {WHOLE, CUT}
    assert lab.catalog.with_problems() == []


def test_a_registered_stream_that_breaks_keeps_its_partition_and_has_a_problem(lab: Lab, run: Path) -> None:
    (samples,) = run.rglob("*imec1.ap.bin")
    samples.write_bytes(next(run.rglob("*imec0.ap.bin")).read_bytes())
    lab.arrive()
    _cut(run, 1000)
    lab.arrive()

    store = Store(lab.home.roots.store)
    problems = {one.recording: one.problem for one in recording_statuses(lab.instance, store)}
    assert problems[WHOLE] is None
    assert "is truncated" in str(problems[CUT])
    assert unregistered_statuses(store) == []


def test_a_forgotten_stream_s_problem_concerns_nobody(lab: Lab, run: Path) -> None:
    (samples,) = run.rglob("*imec1.ap.bin")
    samples.write_bytes(next(run.rglob("*imec0.ap.bin")).read_bytes())
    lab.arrive()
    assert lab.home.invoke("forget", CUT).status == 0
    _cut(run, 1000)

    assert lab.arrive().warnings == []
    assert lab.catalog.with_problems() == []


def test_a_dry_run_has_a_line_for_each(home: Home, reader: HeaderReader, run: Path) -> None:
    (home.roots.recordings / "sort_assets.yaml").write_text("arrival: {quiet_s: 0}\n", encoding="utf-8")

    with home.instance() as instance:
        before = {one.path: one for one in DryRun(instance, home.roots, reader).recordings()}
    assert home.invoke("scan").status == 0
    with home.instance() as instance:
        after = {one.path: one for one in DryRun(instance, home.roots, reader).recordings()}

    assert {path: one.what for path, one in before.items()} == {run.name: NEW, CUT: PROBLEM}
    assert before[run.name].keys == (WHOLE,)
    assert {path: one.what for path, one in after.items()} == {run.name: REGISTERED, CUT: PROBLEM}
    assert after[CUT].problem == before[CUT].problem


def test_registering_by_hand_registers_the_others_and_says_so(home: Home, run: Path) -> None:
    answer = home.invoke("register", str(run))

    assert answer.status == 1
    assert answer.stdout.splitlines() == [WHOLE]
    assert f"{CUT}: UnreadableRecordingError" in answer.stderr


def test_all_streams_broken_is_one_problem_that_names_each(lab: Lab, run: Path) -> None:
    (other,) = run.rglob("*imec0.ap.meta")
    other.unlink()
    lab.arrive()

    assert lab.keys() == set()
    entry = lab.catalog.get(run.name)
    assert entry is not None
    assert "imec0.ap: " in str(entry.problem)
    assert "imec1.ap: " in str(entry.problem)


def test_a_catalogue_of_an_older_version_is_read_and_completed(home: Home, run: Path) -> None:
    catalog = home.catalog()
    assert home.invoke("register", str(run)).status == 1
    with sqlite3.connect(catalog.file) as connection:
        connection.executescript("DROP TABLE stream_problems; PRAGMA user_version = 1;")

    before = home.catalog(read_only=True).all()
    assert home.invoke("register", str(run)).status == 1

    assert before[run.name].stream_problems == {}
    assert list(catalog.all()[run.name].stream_problems) == ["imec1.ap"]


def test_a_probe_file_for_one_stream_registers_it_and_an_edit_makes_that_one_stale(lab: Lab, run: Path) -> None:
    (samples,) = run.rglob("*imec1.ap.bin")
    samples.write_bytes(next(run.rglob("*imec0.ap.bin")).read_bytes())
    (meta,) = run.rglob("*imec1.ap.meta")
    meta.write_text(meta.read_text().replace("imDatPrb_pn=NP1015", "imDatPrb_pn=NP9999").replace("snsGeomMap", "other"))
    lab.rules("rules:\n  - match: run_g0\n    recording: {probe_file: 'probe_{stream}.json', gain_to_uv: 2.34}\n")
    before = lab.arrive()
    probe = generate_linear_probe(4)
    probe.set_device_channel_indices(range(4))
    write_probeinterface(lab.root / "probe_imec1.ap.json", probe)
    lab.scan(2 * 3600.0)
    both = lab.keys()
    versions = [lab.observed(key, "recording_settings")[0].tags for key in (WHOLE, CUT)]
    probe.move([0.0, 100.0])
    write_probeinterface(lab.root / "probe_imec1.ap.json", probe)
    lab.scan(60.0)
    edited = [lab.observed(key, "recording_settings")[0].tags for key in (WHOLE, CUT)]

    assert "MissingProbeError" in before.warnings[0]
    assert both == {WHOLE, CUT}
    assert [one == other for one, other in zip(versions, edited, strict=True)] == [True, False]
