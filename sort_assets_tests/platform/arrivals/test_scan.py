"""A look at the recordings root: what arrives, changes, goes and fails, with a clock that the tests turn."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import h5py
import numpy as np
import pytest

from sort_assets.errors import StorageError
from sort_assets.platform.arrivals.catalog_entry import State
from sort_assets.platform.arrivals.header_reader import HeaderReader
from sort_assets.platform.arrivals.observations import RAW
from sort_assets.platform.arrivals.recording_catalog import RecordingCatalog
from sort_assets.platform.arrivals.registration import register_recording
from sort_assets.platform.arrivals.tick import Limits
from sort_assets.platform.pipeline.partitions import RECORDINGS_PARTITIONS
from sort_assets.platform.store.details import Details
from sort_assets.testing.ground_truth import make_ground_truth
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.fixtures.home import Home
from sort_assets_tests.platform.arrivals.lab import QUIET_S, Lab
from sort_assets_tests.platform.store.writers import publish
from sort_assets_tests.recordings.files import cut_second_half
from sort_assets_tests.recordings.writers import write_maxwell, write_spikeglx, write_spikeinterface_binary


@pytest.fixture(scope="module")
def other_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recording, _ = make_ground_truth(duration_s=0.5, num_channels=4, num_units=2, seed=1)
    return write_nwb(recording, tmp_path_factory.mktemp("recordings") / "other.nwb")


@pytest.fixture
def lab(home: Home, reader: HeaderReader) -> Iterator[Lab]:
    with home.instance() as instance:
        yield Lab(home, instance, reader)


def _versions(lab: Lab, key: str, asset: str = RAW) -> list[str | None]:
    return [one.tags.get("dagster/data_version") for one in lab.observed(key, asset)]


def test_a_recording_becomes_a_partition_when_nothing_in_it_changes_any_more(lab: Lab, small_file: Path) -> None:
    shutil.copy(small_file, lab.root / "day.nwb")

    first, early, quiet, later = lab.scan(), lab.scan(QUIET_S - 1), lab.scan(1), lab.scan(30)

    assert (first.waiting, early.waiting, quiet.waiting, later.waiting) == (1, 1, 0, 0)
    assert lab.keys() == {"day.nwb"}
    assert quiet.registered == ["day.nwb"]
    assert [one.key for one in quiet.requests] == ["day.nwb"]
    assert later.requests == later.registered == []
    (observation,) = lab.observed("day.nwb")
    assert observation.metadata["format"].value == "nwb"
    assert observation.metadata["channels"].value == 4
    assert observation.metadata["duration_s"].value == pytest.approx(0.5)


def test_what_is_wrong_with_a_clock_is_warned_about_once(lab: Lab) -> None:
    recording, _ = make_ground_truth(duration_s=0.1, num_channels=4, num_units=0)
    numbers = np.arange(3000) + np.where(np.arange(3000) < 1200, 0, 777)
    write_maxwell(recording, lab.root / "plate.h5", frame_numbers=numbers.tolist())

    _, quiet, later = lab.scan(), lab.scan(QUIET_S), lab.scan(30)

    (warning,) = quiet.warnings
    assert quiet.registered == ["plate.h5"]
    assert warning.startswith("plate.h5: The clock jumps in 1 place: 777 samples")
    assert later.warnings == []
    (observation,) = lab.observed("plate.h5")
    assert "777 samples" in str(observation.metadata["clock"].value)


def test_a_file_that_grows_for_a_minute_is_waited_for(lab: Lab, small_file: Path) -> None:
    content = small_file.read_bytes()
    path = lab.root / "growing.nwb"
    path.write_bytes(content[:1000])
    for end in range(2000, 8000, 1000):
        look = lab.scan(10)
        assert (look.waiting, look.warnings, look.registered) == (1, [], [])
        path.write_bytes(content[:end])
    path.write_bytes(content)

    lab.scan(10)
    look = lab.scan(QUIET_S)

    assert look.registered == ["growing.nwb"]


def test_a_marker_file_says_complete_in_place_of_quiet(lab: Lab, small_file: Path) -> None:
    lab.rules("arrival: {marker: .done}")
    shutil.copy(small_file, lab.root / "day.nwb")
    recording, _ = make_ground_truth(duration_s=0.5, num_channels=4, num_units=2)
    write_spikeinterface_binary(recording, lab.root / "folder")
    assert lab.scan().waiting == 2
    assert lab.scan(10 * QUIET_S).waiting == 2

    (lab.root / "day.nwb.done").touch()
    (lab.root / "folder" / ".done").touch()
    look = lab.scan()

    assert look.registered == ["day.nwb", "folder"]


def test_each_well_is_a_partition_and_a_rule_chooses_among_them(lab: Lab) -> None:
    recording, _ = make_ground_truth(duration_s=0.5, num_channels=4, num_units=2)
    wells = {f"well00{index}": recording for index in range(3)}
    write_maxwell(wells, lab.root / "plate.h5")
    write_maxwell(wells, lab.root / "chosen.h5")
    lab.rules("rules: [{match: chosen.h5, streams: ['*1', '*2']}]")

    lab.arrive()

    assert lab.keys() == {
        *(f"plate.h5@well00{index}" for index in range(3)),
        *(f"chosen.h5@well00{index}" for index in (1, 2)),
    }


def test_a_session_folder_is_one_recording(lab: Lab, small_file: Path) -> None:
    for part in range(3):
        (lab.root / "session").mkdir(exist_ok=True)
        shutil.copy(small_file, lab.root / "session" / f"part_{part}.nwb")
    lab.rules("rules: [{match: session/, concatenate: true}]")

    lab.arrive()

    assert lab.keys() == {"session"}
    assert lab.observed("session")[0].metadata["duration_s"].value == pytest.approx(1.5)


def test_a_folder_that_a_person_registered_as_one_recording_stays_one(lab: Lab, small_file: Path) -> None:
    (lab.root / "session").mkdir()
    for part in range(2):
        shutil.copy(small_file, lab.root / "session" / f"part_{part}.nwb")
    register_recording(lab.instance, lab.root / "session", lab.home.roots)

    looks = lab.arrive(), lab.scan(QUIET_S)

    assert lab.keys() == {"session"}
    assert all(look.warnings == look.changes == look.requests == [] for look in looks)
    assert lab.state("session") is State.REGISTERED


def test_what_can_not_be_read_is_reported_once_and_read_again_when_it_was_copied_again(
    lab: Lab, small_file: Path
) -> None:
    path = lab.root / "damaged.nwb"
    shutil.copy(small_file, path)
    cut_second_half(path)

    told, silent = lab.arrive(), lab.scan(QUIET_S)
    shutil.copy(small_file, path)
    again = lab.arrive()

    (warning,) = told.warnings
    assert "damaged.nwb: UnreadableRecordingError" in warning
    assert "truncated" in warning
    assert "Copy the recording again" in warning
    assert silent.warnings == []
    assert lab.keys() == {"damaged.nwb"}
    assert again.registered == ["damaged.nwb"]
    assert lab.catalog.with_problems() == []


def test_what_could_not_be_read_is_tried_again_after_a_while_without_a_word(
    lab: Lab, small_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(small_file, lab.root / "damaged.nwb")
    cut_second_half(lab.root / "damaged.nwb")
    lab.arrive()
    read: list[Path] = []
    original = lab.reader.read
    monkeypatch.setattr(lab.reader, "read", lambda path, *a, **k: read.append(path) or original(path, *a, **k))

    soon, later = lab.scan(60), lab.scan(24 * 3600)

    assert soon.warnings == later.warnings == []
    assert len(read) == 1


def test_other_hdf5_files_are_no_recordings_and_nobody_is_bothered(lab: Lab) -> None:
    import h5py

    with h5py.File(lab.root / "results.h5", "w") as file:
        file["accuracy"] = 0.5

    look = lab.arrive()

    assert (look.warnings, look.registered) == ([], [])
    assert lab.state("results.h5") is State.FOREIGN


def test_a_recording_that_changed_is_stale_and_reported_and_not_sorted_again(
    lab: Lab, small_file: Path, other_file: Path
) -> None:
    path = lab.root / "day.nwb"
    shutil.copy(small_file, path)
    lab.arrive()
    with lab.home.store.stage("day.nwb", "sorting", run_id="run") as staging:
        staging.publish(data_version="v", config={}, config_sources={}, inputs={}, details=Details())
    shutil.copy(other_file, path)

    changing, changed, later = lab.scan(), lab.scan(QUIET_S), lab.scan(QUIET_S)

    assert changing.waiting == 1
    assert changed.changes == ["day.nwb has changed; what was made of it is stale."]
    assert changed.requests == later.requests == later.changes == []
    new, old = _versions(lab, "day.nwb")
    assert new != old


def test_a_recording_that_changed_before_it_was_ever_sorted_is_sorted(
    lab: Lab, small_file: Path, other_file: Path
) -> None:
    path = lab.root / "day.nwb"
    shutil.copy(small_file, path)
    (before,) = lab.arrive().requests
    shutil.copy(other_file, path)

    (after,) = lab.arrive().requests

    assert before.key == after.key
    assert before.run_key != after.run_key


def test_touching_a_file_changes_nothing(lab: Lab, small_file: Path) -> None:
    path = lab.root / "day.nwb"
    shutil.copy(small_file, path)
    lab.arrive()
    os.utime(path)

    look = lab.arrive()

    assert (look.changes, look.requests) == ([], [])
    assert len(_versions(lab, "day.nwb")) == 1


def test_a_recording_that_vanished_keeps_its_results_and_is_reported_once(lab: Lab, small_file: Path) -> None:
    for name in ("day.nwb", "stays.nwb"):
        shutil.copy(small_file, lab.root / name)
    lab.arrive()
    (lab.root / "day.nwb").unlink()

    gone, still = lab.scan(), lab.scan()
    shutil.copy(small_file, lab.root / "day.nwb")
    back = lab.scan()
    lab.scan(QUIET_S)

    assert gone.warnings == ["day.nwb is no longer there. Its results are kept."]
    assert still.warnings == []
    assert lab.keys() == {"day.nwb", "stays.nwb"}
    assert back.changes == ["day.nwb is there again."]
    # The same content came back, so nothing is stale.
    assert len(set(_versions(lab, "day.nwb"))) == 1


def test_a_share_that_is_not_mounted_makes_nothing_vanish(lab: Lab, small_file: Path) -> None:
    shutil.copy(small_file, lab.root / "day.nwb")
    lab.arrive()
    (lab.root / "day.nwb").unlink()

    with pytest.raises(StorageError, match="is empty, though recordings of it are registered"):
        lab.scan()
    lab.root.rmdir()
    with pytest.raises(StorageError, match="can't be listed"):
        lab.scan()

    entry = lab.catalog.get("day.nwb")
    assert entry is not None
    assert entry.missing_since is None


def test_a_rules_file_with_errors_is_said_once_and_the_last_good_one_counts(lab: Lab, small_file: Path) -> None:
    lab.rules("rules:\n- match: ignored/\n  ignore: true\n")
    (lab.root / "ignored").mkdir()
    shutil.copy(small_file, lab.root / "ignored" / "day.nwb")
    lab.scan()
    lab.rules("rules:\n- match: ignored/\n  ignroe: true\n")

    told, silent = lab.scan(), lab.scan(QUIET_S)
    shutil.copy(small_file, lab.root / "day.nwb")
    look = lab.arrive()
    lab.rules("rules: []")
    mended = lab.scan()

    (warning,) = told.warnings
    assert "line 3" in warning
    assert "the nearest is 'ignore'" in warning
    assert silent.warnings == look.warnings == []
    assert look.registered == ["day.nwb"]
    assert mended.changes == ["The rules file is valid again."]


def test_a_sidecar_with_errors_stops_its_recording_alone(lab: Lab, small_file: Path) -> None:
    for name in ("a.nwb", "b.nwb"):
        shutil.copy(small_file, lab.root / name)
    sidecar = lab.root / "a.nwb.sort_assets.yaml"
    sidecar.write_text("sorter: {nam: kilosort4}")

    told, silent = lab.arrive(), lab.scan(QUIET_S)
    registered = lab.keys()
    sidecar.write_text("sorter: {name: mountainsort5}")
    look = lab.scan(QUIET_S)

    assert told.warnings == []  # it was said at the first look
    assert silent.warnings == []
    assert registered == {"b.nwb"}
    assert look.registered == ["a.nwb"]
    settings = lab.observed("a.nwb", "sorter_settings")[0]
    assert settings.metadata["chosen_by"].value == {"sorter.name": "a.nwb.sort_assets.yaml"}


def test_an_ignored_recording_is_registered_when_the_rule_is_gone(lab: Lab, small_file: Path) -> None:
    lab.rules("rules: [{match: day.nwb, ignore: true}]")
    shutil.copy(small_file, lab.root / "day.nwb")
    lab.arrive()
    ignored = lab.state("day.nwb")
    lab.rules("")

    at_once, look = lab.scan(QUIET_S), lab.scan(QUIET_S)

    assert ignored is State.IGNORED
    assert at_once.registered == []  # a file that is being saved is empty for a moment
    assert look.registered == ["day.nwb"]


def test_a_rule_can_leave_the_sort_to_a_person(lab: Lab, small_file: Path) -> None:
    lab.rules("rules: [{match: archive/, sort: false}]")
    (lab.root / "archive").mkdir()
    shutil.copy(small_file, lab.root / "archive" / "day.nwb")

    look = lab.arrive()

    assert look.registered == ["archive~day.nwb"]
    assert look.requests == []


def test_a_rule_that_comes_later_still_stops_what_was_not_yet_asked_for(lab: Lab, small_file: Path) -> None:
    for index in range(3):
        shutil.copy(small_file, lab.root / f"{index}.nwb")
    lab.limits = replace(lab.limits, requests=1)
    first = lab.arrive()
    lab.rules("rules: [{match: '1.nwb', sort: false}, {match: '2.nwb', ignore: true}]")

    later = [lab.scan(), lab.scan(), lab.scan()]

    assert [one.key for one in first.requests] == ["0.nwb"]
    assert [look.requests for look in later] == [[], [], []]


def test_no_run_is_asked_for_a_recording_that_is_gone(lab: Lab, small_file: Path) -> None:
    for name in ("a.nwb", "b.nwb"):
        shutil.copy(small_file, lab.root / name)
    lab.limits = replace(lab.limits, requests=0)
    lab.arrive()
    (lab.root / "a.nwb").unlink()
    lab.limits = replace(lab.limits, requests=5)

    look = lab.scan()

    assert [one.key for one in look.requests] == ["b.nwb"]


def test_a_folder_that_a_rule_ignores_is_not_taken_for_an_empty_disk(lab: Lab, small_file: Path) -> None:
    (lab.root / "rig").mkdir()
    shutil.copy(small_file, lab.root / "rig" / "day.nwb")
    lab.arrive()
    lab.rules("rules: [{match: rig/, ignore: true}]")

    looks = lab.scan(), lab.scan()
    ignored = lab.state("rig/day.nwb"), lab.catalog.partitions(["rig/day.nwb"])
    lab.rules("")
    back = lab.arrive()

    assert looks[0].warnings == looks[1].warnings == []
    assert ignored[0] is State.IGNORED
    assert [one.key for one in ignored[1]] == ["rig~day.nwb"]  # what is known of it stays, also what was forgotten
    assert lab.state("rig/day.nwb") is State.REGISTERED
    assert (back.registered, back.requests) == ([], [])


def test_the_mount_point_of_a_disk_that_is_away_is_told_and_nothing_is_gone(lab: Lab, small_file: Path) -> None:
    (lab.root / "disk").mkdir()
    for name in ("disk/a.nwb", "disk/b.nwb", "here.nwb"):
        shutil.copy(small_file, lab.root / name)
    lab.arrive()
    for name in ("a.nwb", "b.nwb"):
        (lab.root / "disk" / name).unlink()

    told, silent = lab.scan(), lab.scan()
    for name in ("a.nwb", "b.nwb"):
        shutil.copy(small_file, lab.root / "disk" / name)
    lab.scan()

    (warning,) = told.warnings
    assert "is empty, though recordings in it are registered" in warning
    assert silent.warnings == []
    assert lab.catalog.with_problems() == []


def test_a_first_rules_file_with_mistakes_lets_nothing_pass(lab: Lab, small_file: Path) -> None:
    lab.rules("rules: [{match: archive/, ignroe: true}]")
    shutil.copy(small_file, lab.root / "day.nwb")

    told, silent = lab.arrive(), lab.scan(QUIET_S)
    lab.rules("rules: [{match: archive/, ignore: true}]")
    mended = lab.arrive()

    assert told.registered == silent.registered == silent.warnings == []
    assert mended.registered == ["day.nwb"]


def test_another_dagster_home_gets_all_partitions_and_sorts_nothing_again(lab: Lab, small_file: Path) -> None:
    for name in ("sorted.nwb", "new.nwb"):
        shutil.copy(small_file, lab.root / name)
    lab.arrive()
    publish(lab.home.store, "sorting", recording="sorted.nwb")
    # What a fresh home differs in, as far as arrivals can see.
    (lab.home.folder / "dagster" / "sort_assets_id").unlink()
    for key in ("sorted.nwb", "new.nwb"):
        lab.instance.delete_dynamic_partition(RECORDINGS_PARTITIONS, key)

    look = lab.scan(QUIET_S)

    assert look.registered == ["new.nwb", "sorted.nwb"]
    assert [one.key for one in look.requests] == ["new.nwb"]


def test_a_recording_that_was_moved_is_said_to_be_the_same(lab: Lab, small_file: Path) -> None:
    for name in ("before.nwb", "stays.nwb"):
        shutil.copy(small_file, lab.root / name)
    lab.arrive()
    (lab.root / "before.nwb").rename(lab.root / "after.nwb")

    look = lab.arrive()

    assert any("after.nwb has the content of before.nwb" in line for line in look.changes)


def test_a_second_probe_leaves_the_first_ones_partition_as_it_is(lab: Lab) -> None:
    recording, _ = make_ground_truth(duration_s=0.5, num_channels=16, num_units=2)
    run = write_spikeglx({"imec0": recording, "imec1": recording}, lab.root / "run_g0")
    (second,) = run.glob("*imec1")
    second.rename(lab.home.folder / second.name)
    first = lab.arrive()
    shutil.move(lab.home.folder / second.name, second)

    both = lab.arrive()

    assert first.registered == ["run_g0@imec0.ap"]
    assert both.registered == ["run_g0@imec1.ap"]


def test_notes_in_the_folder_of_a_recording_change_nothing(lab: Lab) -> None:
    recording, _ = make_ground_truth(duration_s=0.5, num_channels=4, num_units=2)
    write_spikeinterface_binary(recording, lab.root / "folder")
    lab.arrive()
    (lab.root / "folder" / "notes.txt").write_text("a good day")
    (lab.root / "folder" / "copied.done").touch()

    look = lab.arrive()

    assert (look.changes, look.requests) == ([], [])
    assert len(_versions(lab, "folder")) == 1


def test_names_that_are_no_text_do_not_stop_the_others(lab: Lab, small_file: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(lab.root) + b"/caf\xe9"))
    folder.mkdir()
    shutil.copy(small_file, folder / "a|b.nwb")
    (folder / "a|b.nwb.sort_assets.yaml").write_text("preset: mountainsort5")
    shutil.copy(small_file, lab.root / "day.nwb")

    looks = lab.arrive(), lab.scan(QUIET_S)

    assert "day.nwb" in looks[0].registered
    assert any("Rename the file or the folder" in warning for warning in looks[0].warnings)
    assert looks[1].registered == looks[1].warnings == []


def test_what_a_person_has_worked_on_is_not_started_again(lab: Lab, small_file: Path) -> None:
    shutil.copy(small_file, lab.root / "day.nwb")
    shutil.copy(small_file, lab.root / "by_hand.nwb")
    (lab.home.roots.store / "day.nwb" / "sorting").mkdir(parents=True)
    register_recording(lab.instance, lab.root / "by_hand.nwb", lab.home.roots)

    look = lab.arrive()

    assert look.registered == ["day.nwb"]
    assert look.requests == []


def test_requests_that_were_lost_with_the_daemon_are_made_again(lab: Lab, small_file: Path) -> None:
    shutil.copy(small_file, lab.root / "day.nwb")
    before = lab.tick
    lost = lab.arrive().requests

    lab.tick = before  # Dagster keeps the cursor only when it has dealt with the requests
    again = lab.scan().requests
    arrived = lab.scan().requests

    assert [one.run_key for one in lost] == [one.run_key for one in again]
    assert arrived == []


def test_only_so_many_runs_are_asked_for_and_the_others_later(lab: Lab, small_file: Path) -> None:
    for index in range(5):
        shutil.copy(small_file, lab.root / f"{index}.nwb")
    lab.limits = replace(lab.limits, requests=2, unfinished_runs=3)

    first = lab.arrive()
    for _ in range(2):
        lab.instance.add_run(
            dg.DagsterRun(job_name="j", status=dg.DagsterRunStatus.STARTED, tags={"dagster/sensor_name": "s"})
        )
    second, third = lab.scan(), lab.scan()

    assert len(lab.keys()) == 5
    assert [len(look.requests) for look in (first, second, third)] == [2, 1, 1]


@pytest.mark.release
@pytest.mark.slow
def test_many_at_once_are_all_registered_once_over_many_short_looks(lab: Lab, small_file: Path) -> None:
    number = 30
    for index in range(number):
        shutil.copy(small_file, lab.root / f"{index}.nwb")
    lab.limits = Limits(walk_s=0.0, read_s=0.3)
    registered: list[str] = []
    looks = 0

    while len(registered) < number and looks < 400:
        registered += lab.scan(QUIET_S).registered
        looks += 1

    assert looks > 3
    assert len(registered) == len(set(registered)) == number
    assert all(len(lab.observed(key)) == 1 for key in registered)


def test_a_look_that_died_after_the_partition_was_added_is_repeated(
    lab: Lab, small_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(small_file, lab.root / "day.nwb")
    lab.scan()

    class KilledError(BaseException):
        """Stands for a SIGKILL at this very place, where no real one can be aimed."""

    def die(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(RecordingCatalog, "put_partitions", die)
        with pytest.raises(KilledError):
            lab.scan(QUIET_S)
    killed = lab.keys()
    look = lab.scan(QUIET_S)

    assert killed == {"day.nwb"}
    assert [one.key for one in look.requests] == ["day.nwb"]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("two words.nwb", "two=20words.nwb"),
        ("ünï.nwb", "=C3=BCn=C3=AF.nwb"),
        ("-rf.nwb", "=2Drf.nwb"),
        ("new\nline.nwb", "new=0Aline.nwb"),
        ("50%.nwb", "50=25.nwb"),
        ("a...b.nwb", "a..=2Eb.nwb"),
    ],
)
def test_odd_names_become_partitions(lab: Lab, small_file: Path, name: str, key: str) -> None:
    shutil.copy(small_file, lab.root / name)

    look = lab.arrive()

    assert look.registered == [key]


def test_a_name_that_is_too_long_for_a_key_is_reported_once(lab: Lab, small_file: Path) -> None:
    shutil.copy(small_file, lab.root / f"{'ü' * 100}.nwb")

    told, silent = lab.arrive(), lab.scan(QUIET_S)

    (warning,) = told.warnings
    assert "RecordingKeyError" in warning
    assert "Shorten the names" in warning
    assert silent.warnings == []


@pytest.mark.slow
def test_a_hundred_thousand_unrelated_files_cost_little_and_are_not_remembered(lab: Lab, small_file: Path) -> None:
    folder = lab.root / "images"
    folder.mkdir()
    for index in range(20_000):  # a fifth, for the time it takes to make them; the limit below is a fifth too
        os.close(os.open(folder / f"{index}.tif", os.O_CREAT))
    shutil.copy(small_file, lab.root / "day.nwb")
    lab.limits = Limits(walk_s=2.0, read_s=60.0)

    looks = lab.scan(), lab.scan(QUIET_S)

    assert all(look.finished for look in looks)
    assert lab.catalog.counts() == {State.REGISTERED: 1}


@pytest.mark.slow
def test_a_reader_that_dies_of_a_file_or_hangs_costs_nobody_else_anything(
    lab: Lab, small_file: Path, plugged: Callable[[str], HeaderReader]
) -> None:
    shutil.copy(small_file, lab.root / "crash.nwb")
    shutil.copy(small_file, lab.root / "fine.nwb")
    shutil.copy(small_file, lab.root / "hang.nwb")
    lab.reader = plugged("crash and hang")

    look = lab.arrive()

    assert lab.keys() == {"fine.nwb"}
    assert any("crash.nwb: UnreadableRecordingError" in warning for warning in look.warnings)
    assert any("hang.nwb: StalledIoError" in warning for warning in look.warnings)


@pytest.fixture
def plugged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], HeaderReader]]:
    """A reader whose process dies of files named crash, and never comes back from those named hang."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import os, time, sys\n"
        "import sort_assets.recordings.headers as headers\n"
        "original = headers.read_header\n"
        "def read_header(path, *args, **named):\n"
        "    if path.name.startswith('crash'):\n"
        "        os.abort()\n"
        "    while path.name.startswith('hang'):\n"
        "        time.sleep(1)\n"
        "    return original(path, *args, **named)\n"
        "headers.read_header = read_header\n"
    )
    readers: list[HeaderReader] = []

    def make(_: str) -> HeaderReader:
        monkeypatch.setenv("PYTHONPATH", str(site))
        readers.append(HeaderReader(timeout_s=3.0))
        assert readers[-1].prepare(120.0)
        return readers[-1]

    yield make
    for one in readers:
        one.close()


def test_a_file_that_only_links_to_another_recording_is_registered_once(lab: Lab, small_file: Path) -> None:
    lab.home.link(small_file, "raw.nwb")
    with h5py.File(lab.root / "day.nwb", "w") as file:
        file.create_group("acquisition")["Raw"] = h5py.ExternalLink("raw.nwb", "acquisition/ElectricalSeries")

    result = lab.arrive()
    answer = lab.home.invoke("register", str(lab.root / "day.nwb"))

    assert lab.keys() == {"raw.nwb"}
    assert result.warnings == []
    assert lab.state("day.nwb") is State.FOREIGN
    assert answer.status == 1
    assert "raw.nwb', to which it has a link" in answer.stderr


def test_a_link_to_a_recording_elsewhere_is_a_recording(lab: Lab, small_file: Path) -> None:
    with h5py.File(lab.root / "day.nwb", "w") as file:
        file.create_group("acquisition")["Raw"] = h5py.ExternalLink(str(small_file), "acquisition/ElectricalSeries")

    lab.arrive()

    assert lab.keys() == {"day.nwb"}
