"""The recording catalogue lies in the Dagster home, and begins with what an earlier version kept in the store."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sort_assets.config.settings import DAGSTER_HOME_VARIABLE
from sort_assets.errors import StorageError, UnreadableRecordingError
from sort_assets.platform.arrivals.catalog_entry import CatalogEntry, CatalogPartition, State
from sort_assets.platform.arrivals.recording_catalog import NAME_IN_STORE, RecordingCatalog

PROBLEM = UnreadableRecordingError("It is cut off.", remedy="Copy it again.")
UNREADABLE = CatalogEntry("cut.nwb", State.PROBLEM, stamp="1", since=5.0, problem=PROBLEM)
FORGOTTEN = CatalogEntry("noise.nwb", State.FORGOTTEN, stamp="2", since=3.0)
WRITER = """
import sys
from pathlib import Path
from sort_assets.platform.arrivals.recording_catalog import RecordingCatalog
catalog = RecordingCatalog(Path(sys.argv[1]), home=Path(sys.argv[2]))
catalog.set_note(sys.argv[3], "written")
"""


def _of_an_earlier_version(folder: Path) -> Path:
    """A store with a catalogue, as one without a home has it."""
    store = folder / "store"
    catalog = RecordingCatalog(folder / "unused", home=store)
    catalog.put(UNREADABLE, FORGOTTEN)
    catalog.put_partitions(CatalogPartition("noise.nwb", "noise.nwb", forgotten=True))
    catalog.file.rename(store / NAME_IN_STORE)
    return store


def test_it_is_copied_once_with_what_is_quarantined_and_forgotten(tmp_path: Path) -> None:
    store = _of_an_earlier_version(tmp_path)
    before = (store / NAME_IN_STORE).read_bytes()
    catalog = RecordingCatalog(store, home=tmp_path / "home")

    catalog.put(replace(UNREADABLE, state=State.REGISTERED, problem=None))

    assert catalog.file == tmp_path / "home" / "recordings.sqlite"
    assert catalog.get("cut.nwb") == replace(UNREADABLE, state=State.REGISTERED, problem=None)
    assert catalog.get("noise.nwb") == FORGOTTEN
    assert [one.forgotten for one in catalog.partitions()] == [True]
    # An earlier version that still works has its own as it was.
    assert (store / NAME_IN_STORE).read_bytes() == before
    assert sorted(path.name for path in store.iterdir()) == [NAME_IN_STORE]


def test_who_only_reads_before_that_reads_the_one_in_the_store(tmp_path: Path) -> None:
    store = _of_an_earlier_version(tmp_path)

    catalog = RecordingCatalog(store, home=tmp_path / "home", read_only=True)

    assert str(catalog.all()["cut.nwb"].problem) == str(PROBLEM)
    assert not catalog.file.exists()


def test_processes_that_are_the_first_at_once_copy_it_once(tmp_path: Path) -> None:
    store = _of_an_earlier_version(tmp_path)
    words = [sys.executable, "-c", WRITER, str(store), str(tmp_path / "home")]

    processes = [subprocess.Popen([*words, name]) for name in ("first", "second")]

    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    catalog = RecordingCatalog(store, home=tmp_path / "home")
    assert (catalog.note("first"), catalog.note("second")) == ("written", "written")
    assert catalog.get("noise.nwb") == FORGOTTEN


def test_without_a_home_it_is_in_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DAGSTER_HOME_VARIABLE, raising=False)

    assert RecordingCatalog(tmp_path).file == tmp_path / NAME_IN_STORE


def test_one_in_the_store_that_is_damaged_is_named(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (store / NAME_IN_STORE).write_bytes(b"no database, but long enough to be taken for one " * 100)

    with pytest.raises(StorageError, match=NAME_IN_STORE) as damaged:
        RecordingCatalog(store, home=tmp_path / "home").put(UNREADABLE)

    assert "move it elsewhere" in damaged.value.remedy
