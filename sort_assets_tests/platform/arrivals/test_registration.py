"""`sort-assets register --each`: every recording of a folder, whatever is wrong with its neighbours."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from sort_assets.platform.cli import main
from sort_assets.testing.ground_truth import make_ground_truth
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.fixtures.home import Home
from sort_assets_tests.recordings.files import cut_second_half
from sort_assets_tests.recordings.writers import write_maxwell

# Forked when everything is imported, so that they really register at once.
REGISTER_AT_ONCE = """
import multiprocessing, sys
import spikeinterface.extractors
from sort_assets.platform.arrivals.registration import register_recording
from sort_assets.platform.cli import main
fork = multiprocessing.get_context("fork")
processes = [fork.Process(target=main, args=(["register", sys.argv[1]],)) for _ in range(5)]
for process in processes:
    process.start()
for process in processes:
    process.join()
sys.exit(any(process.exitcode for process in processes))
"""


@pytest.fixture(scope="module")
def small_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recording, _ = make_ground_truth(duration_s=1.0)
    return write_nwb(recording, tmp_path_factory.mktemp("recordings") / "small.nwb")


def _register_each(home: Home, *paths: Path) -> Result:
    with home.environment(), pytest.MonkeyPatch.context() as patch:
        patch.chdir(home.folder)
        return CliRunner().invoke(main, ["register", "--each", *map(str, paths)])


def test_a_damaged_recording_does_not_stop_the_others(home: Home, small_file: Path) -> None:
    folder = home.roots.recordings / "day"
    folder.mkdir()
    (folder / "part_1.nwb").touch()
    (folder / "part_2.nwb").write_bytes(small_file.read_bytes())
    cut_second_half(folder / "part_2.nwb")
    (folder / "part_4.nwb").symlink_to(folder / "gone.nwb")
    (folder / "notes.txt").write_text("a mouse", encoding="utf-8")
    home.link(small_file, "day/part_3.nwb")
    home.link(small_file, "day/part_10.nwb")

    done = _register_each(home, folder)

    empty, truncated, missing = done.stderr.splitlines()
    assert done.exit_code == 1
    assert done.stdout.split() == ["day~part_3.nwb", "day~part_10.nwb"]
    assert "part_1.nwb: " in empty
    assert "is empty" in empty
    assert "part_2.nwb: " in truncated
    assert "is truncated" in truncated
    assert "part_4.nwb' does not exist" in missing


def test_what_is_no_folder_is_an_error_and_the_other_folders_are_registered(home: Home, small_file: Path) -> None:
    file = home.link(small_file, "alone.nwb")
    home.link(small_file, "day/part_1.nwb")
    root = home.roots.recordings

    done = _register_each(home, file, root / "absent", root / "day")

    no_folder, missing = done.stderr.splitlines()
    assert done.exit_code == 1
    assert done.stdout.split() == ["day~part_1.nwb"]
    assert f"'{file}' is no folder" in no_folder
    assert "Leave --each out" in no_folder
    assert "absent' does not exist" in missing


def test_what_is_wrong_with_a_clock_is_said_at_once(home: Home) -> None:
    recording, _ = make_ground_truth(duration_s=0.1, num_channels=4, num_units=0)
    numbers = np.arange(3000) + np.where(np.arange(3000) < 1200, 0, 777)
    write_maxwell(recording, home.roots.recordings / "plate.h5", frame_numbers=numbers.tolist())

    with home.environment():
        done = CliRunner().invoke(main, ["register", str(home.roots.recordings / "plate.h5")])

    status = home.invoke("status")
    assert done.exit_code == 0
    assert done.stdout.split() == ["plate.h5"]
    for text in (done.stderr, status.stdout):
        assert "777 samples (0.026 s) are missing before sample 1200" in text


@pytest.mark.release
@pytest.mark.slow
def test_several_may_register_the_same_recording_at_once(home: Home, small_file: Path) -> None:
    path = home.link(small_file, "day.nwb")

    done = home.command("python", "-c", REGISTER_AT_ONCE, path)

    assert done.status == 0, done.output
    assert done.stdout.split() == ["day.nwb"] * 5
