"""The node's scratch: what is sorted there is what is in the store, and nothing stays there."""

import json
from contextlib import suppress
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from spikeinterface.core import NumpyRecording

from sort_assets.config.settings import SCRATCH_VARIABLE
from sort_assets.errors import DamagedArtefactError, InstanceError
from sort_assets.platform.execution import scratch as scratch_module
from sort_assets.platform.execution.scratch import SortScratch, remove_leftovers, scratch_root
from sort_assets.recordings.dat_file import read_dat, write_dat
from sort_assets_tests.platform.store.writers import kill, start

HOLDER = """
import sys, time
from pathlib import Path
from sort_assets.platform.execution.scratch import SortScratch
with SortScratch(print, print) as scratch:
    paths = scratch.take("rec", {"": Path(sys.argv[1])}, beside_bytes=0)
    (scratch.work_folder / "temporary").write_bytes(b"x" * 1000)
    print("", flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def dat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "traces.dat"
    noise = np.random.default_rng(0).normal(0, 10, (3000, 4)).astype(np.float32)
    recording = NumpyRecording([noise], 30_000.0)
    recording.set_channel_gains(1.0)
    recording.set_channel_offsets(0.0)
    write_dat(recording, path)
    return path


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(SCRATCH_VARIABLE, str(tmp_path / "scratch"))
    found = scratch_root()
    assert found is not None
    return found


class Told(list[str]):
    """A log."""

    def __call__(self, message: str) -> None:
        self.append(message)


def _take(scratch: SortScratch, dat: Path, **options: int) -> Path:
    return scratch.take("rec", {"": dat}, **{"beside_bytes": 0, **options})[""]


def test_what_is_sorted_is_a_checked_copy_that_goes_at_the_end(root: Path, dat: Path) -> None:
    fractions: list[float] = []

    with SortScratch(Told(), Told()) as scratch:
        copy = scratch.take("rec", {"": dat}, beside_bytes=0, progress=fractions.append)[""]
        same = np.array_equal(read_dat(copy).get_traces(), read_dat(dat).get_traces())
        work_folder = scratch.work_folder

    assert copy.is_relative_to(root)
    assert same
    assert work_folder == copy.parent / "work"
    assert fractions[-1] == 1.0
    assert list(root.iterdir()) == []


def test_without_the_variable_the_store_is_read(dat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SCRATCH_VARIABLE, raising=False)

    with SortScratch(Told(), Told()) as scratch:
        assert _take(scratch, dat) == dat
        assert scratch.work_folder is None


def test_a_relative_path_is_refused(dat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SCRATCH_VARIABLE, "scratch")

    with SortScratch(Told(), Told()) as scratch, pytest.raises(InstanceError, match="absolute"):
        _take(scratch, dat)


def test_what_has_changed_in_the_store_is_not_sorted(root: Path, dat: Path, tmp_path: Path) -> None:
    changed = tmp_path / "traces.dat"
    changed.write_bytes(b"\1" + dat.read_bytes()[1:])
    changed.with_suffix(".json").write_bytes(dat.with_suffix(".json").read_bytes())

    with pytest.raises(DamagedArtefactError, match="checksum"), SortScratch(Told(), Told()) as scratch:
        _take(scratch, changed)

    assert list(root.iterdir()) == []


def test_a_disk_without_room_is_not_used_and_that_is_said(root: Path, dat: Path) -> None:
    warned = Told()

    with SortScratch(Told(), warned) as scratch:
        used = _take(scratch, dat, beside_bytes=10**18)

    assert used == dat
    assert scratch.work_folder is None
    assert len(warned) == 1
    assert "1000000000.0 GB are needed" in warned[0]
    assert list(root.iterdir()) == []


def test_a_scratch_that_cannot_be_written_is_not_used(root: Path, dat: Path) -> None:
    warned = Told()
    root.parent.write_text("a file where the folder should be")

    with SortScratch(Told(), warned) as scratch:
        assert _take(scratch, dat) == dat

    assert len(warned) == 1


def _retried(dat: Path) -> tuple[Path, int]:
    """The copy that an attempt leaves which is going to be retried, and its inode."""
    scratch = SortScratch(Told(), Told())
    with suppress(dg.RetryRequested), scratch:
        _take(scratch, dat)
        raise dg.RetryRequested
    (copy,) = Path(str(scratch.work_folder)).parent.glob("*.dat")
    return copy, copy.stat().st_ino


def test_a_retry_finds_the_copy_of_the_attempt_before_and_checks_it(root: Path, dat: Path) -> None:
    copy, inode = _retried(dat)

    _, again = _retried(dat)
    copy.write_bytes(bytes(copy.stat().st_size))
    with SortScratch(Told(), Told()) as scratch:
        repaired = _take(scratch, dat).read_bytes()

    assert again == inode
    assert repaired == dat.read_bytes()
    assert list(root.iterdir()) == []


def test_what_a_killed_sort_left_goes_and_what_a_living_one_uses_stays(
    root: Path, dat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch_module, "_PATIENCE_S", 0.1)
    warned = Told()
    holder = start(HOLDER, dat)

    try:
        while_it_lives = remove_leftovers(root)
        with SortScratch(Told(), warned) as scratch:
            beside = _take(scratch, dat)
    finally:
        kill(holder)
    dry = remove_leftovers(root, dry_run=True)
    removed = remove_leftovers(root)

    assert while_it_lives == []
    assert beside == dat
    assert "another sort" in warned[0]
    assert dry == removed
    assert removed[0][1] > dat.stat().st_size + 1000
    assert list(root.iterdir()) == []


def test_what_a_sorter_left_names_the_files_in_the_store(root: Path, dat: Path, tmp_path: Path) -> None:
    left = tmp_path / "staging" / "sorter"
    left.mkdir(parents=True)

    with SortScratch(Told(), Told()) as scratch:
        copy = _take(scratch, dat)
        (left / "params.py").write_text(f"dat_path = '{copy}'\n")
        (left / "log.json").write_text(json.dumps({"folder": f"{scratch.work_folder}/sorter/spikeinterface"}))
        scratch.name_originals(left)

    assert (left / "params.py").read_text() == f"dat_path = '{dat}'\n"
    assert json.loads((left / "log.json").read_text()) == {"folder": f"{left}/spikeinterface"}
