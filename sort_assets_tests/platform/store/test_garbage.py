"""Cleaning the store: what nobody needs goes, what somebody uses or may want stays."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sort_assets.config.settings import Roots
from sort_assets.errors import DiskFullError, MissingArtefactError
from sort_assets.platform.pipeline.catalog import DEFAULT_VERSIONS_KEPT, is_on_demand
from sort_assets.platform.store.dead_staging import leftovers
from sort_assets.platform.store.failures import RECORDS_KEPT, failed_attempts, failure_folder, record_failure
from sort_assets.platform.store.garbage import FAILURE, LEFTOVERS, LESSON, VERSION, collect_garbage
from sort_assets.platform.store.handles import StoredBinary
from sort_assets.platform.store.memory_profiles import MemoryProfiles, Shape
from sort_assets.platform.store.sort_lock import sort_lock
from sort_assets.platform.store.store import Store
from sort_assets_tests.platform.store.writers import SORTER, WRITER, kill, killed_writer, publish, start

STUCK = """
import sys, time
from pathlib import Path
from sort_assets.platform.store.store import Store; from sort_assets.platform.store import garbage
from sort_assets.platform.pipeline.catalog import DEFAULT_VERSIONS_KEPT
def stuck(version):
    print("renamed", flush=True)
    time.sleep(600)
real, garbage.sync = garbage.sync, stuck
garbage.collect_garbage(Store(Path(sys.argv[1])), DEFAULT_VERSIONS_KEPT)
"""


def _everything(folder: Path) -> dict[str, int]:
    return {path.relative_to(folder).as_posix(): path.lstat().st_size for path in folder.rglob("*")}


def test_only_the_newest_dat_stays_and_every_sorting(tmp_path: Path) -> None:
    store = Store(tmp_path)
    dats = [publish(store, "binary_dat", bytes(1_000)) for _ in range(3)]
    sortings = [publish(store, "sorting") for _ in range(3)]

    collected = collect_garbage(store, DEFAULT_VERSIONS_KEPT)

    assert store.versions("rec", "binary_dat") == [dats[-1].manifest.version]
    assert store.artefact("rec", "binary_dat") == dats[-1]
    assert store.versions("rec", "sorting") == [one.manifest.version for one in sortings]
    assert [(one.what, one.path) for one in collected.removed] == [
        (VERSION, f"rec/binary_dat/{dat.manifest.version}") for dat in dats[:2]
    ]
    assert collected.bytes == 2_000


def test_of_a_removed_version_the_figures_and_the_history_stay(tmp_path: Path) -> None:
    store = Store(tmp_path)
    old = publish(store, "waveforms")
    publish(store, "waveforms")

    collect_garbage(store, DEFAULT_VERSIONS_KEPT)

    assert set(_everything(old.path)) == {"figures", "figures/raster.png", "removed.json"}
    assert json.loads((old.path / "removed.json").read_text())["version"] == old.manifest.version


def test_who_reads_a_removed_version_is_told_why_it_is_gone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    old = publish(store, "binary_dat").manifest.version
    publish(store, "binary_dat")
    collect_garbage(store, DEFAULT_VERSIONS_KEPT)

    with pytest.raises(MissingArtefactError, match="retention removed it") as caught:
        StoredBinary(Roots(tmp_path, tmp_path), "rec", old).load_groups()

    assert "Materialize binary_dat" in caught.value.remedy


@pytest.mark.parametrize(("number", "left"), [(1, [3]), (2, [2, 3]), (None, [0, 1, 2, 3])])
def test_as_many_versions_stay_as_were_asked_for(tmp_path: Path, number: int | None, left: list[int]) -> None:
    store = Store(tmp_path)
    versions = [publish(store, "sorting").manifest.version for _ in range(4)]

    collect_garbage(store, {"sorting": number})

    assert store.versions("rec", "sorting") == [versions[index] for index in left]


def test_the_current_version_stays_also_when_it_is_not_the_newest(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first, _, last = (publish(store, "binary_dat") for _ in range(3))
    current = tmp_path / "rec/binary_dat/current"
    current.unlink()
    current.symlink_to(first.manifest.version)  # as after a clock that was set back

    collect_garbage(store, DEFAULT_VERSIONS_KEPT)

    assert store.versions("rec", "binary_dat") == [first.manifest.version, last.manifest.version]


def test_the_dat_of_the_current_sorting_stays_also_when_there_is_a_newer_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    publish(store, "binary_dat")
    sorted_dat = publish(store, "binary_dat")
    publish(store, "waveforms", made_from=publish(store, "sorting", made_from=sorted_dat))
    newest = publish(store, "binary_dat")

    collect_garbage(store, {"binary_dat": 1})

    assert store.versions("rec", "binary_dat") == [sorted_dat.manifest.version, newest.manifest.version]


def test_what_is_made_on_demand_does_not_hold_an_earlier_dat_and_has_one_version(tmp_path: Path) -> None:
    store = Store(tmp_path)
    old = publish(store, "binary_dat")
    variants = [publish(store, "variant_x", made_from=old) for _ in range(2)]
    units = publish(store, "variant_x_units", made_from=variants[0])
    newest = publish(store, "binary_dat")

    collect_garbage(store, DEFAULT_VERSIONS_KEPT, on_demand=is_on_demand)

    assert store.versions("rec", "binary_dat") == [newest.manifest.version]
    assert store.versions("rec", "variant_x") == [
        one.manifest.version for one in variants
    ]  # the units are of the first
    assert store.versions("rec", "variant_x_units") == [units.manifest.version]
    publish(store, "variant_x_units", made_from=variants[1])
    collect_garbage(store, DEFAULT_VERSIONS_KEPT, on_demand=is_on_demand)
    assert store.versions("rec", "variant_x") == [variants[1].manifest.version]


def test_a_dry_run_says_the_same_and_removes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    for _ in range(3):
        publish(store, "binary_dat", bytes(500))
    killed_writer(store, "sorting", tmp_path / "files", {"sorter/recording.dat": bytes(700)})
    before = _everything(store.root)

    dry = collect_garbage(store, DEFAULT_VERSIONS_KEPT, dry_run=True)

    assert _everything(store.root) == before
    assert dry == collect_garbage(store, DEFAULT_VERSIONS_KEPT)
    assert {one.what for one in dry.removed} == {VERSION, LEFTOVERS}
    assert dry.bytes >= 2 * 500 + 700


def test_remains_of_a_killed_sort_become_a_record_of_its_failure(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    killed_writer(store, "sorting", tmp_path / "files", {"sorter/sorter.log": "clustering"}, run_id="run")

    collect_garbage(store, DEFAULT_VERSIONS_KEPT)

    assert leftovers(store.asset_folder("rec", "sorting")) == []
    (attempt,) = failed_attempts(store, "rec", "sorting")
    assert (attempt.run_id, attempt.retried) == ("run", False)
    assert attempt.error.log_excerpt == "clustering"


def test_a_link_and_a_lock_that_a_killed_writer_left_go_and_so_do_empty_folders(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = store.asset_folder("rec", "binary_dat")
    folder.mkdir(parents=True)
    (folder / ".staging-2026.lock").touch()
    (folder / ".current-2026").symlink_to("2026")
    kill(start(SORTER, tmp_path, "dead"))

    collect_garbage(store, DEFAULT_VERSIONS_KEPT)

    assert list(tmp_path.iterdir()) == []


def test_a_recording_that_is_being_written_is_left_alone_entirely(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    for _ in range(2):
        publish(store, "binary_dat")
        publish(store, "binary_dat", recording="other")
    killed_writer(store, "binary_dat", tmp_path / "files", {"traces.dat": "half"})
    writer = start(WRITER, store.root, "waveforms", "alive", "1", tmp_path / "files")
    before = _everything(store.root / "rec")
    try:
        collected = collect_garbage(store, DEFAULT_VERSIONS_KEPT)

        assert collected.in_use == ["rec"]
        assert _everything(store.root / "rec") == before
        assert len(store.versions("other", "binary_dat")) == 1
    finally:
        kill(writer)
    assert collect_garbage(store, DEFAULT_VERSIONS_KEPT).in_use == []
    assert len(store.versions("rec", "binary_dat")) == 1


def test_a_recording_that_is_being_sorted_is_left_alone_entirely(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for _ in range(2):
        publish(store, "binary_dat")

    with sort_lock(store, "rec", run_id="run"):
        collected = collect_garbage(store, DEFAULT_VERSIONS_KEPT)

    assert collected.in_use == ["rec"]
    assert len(store.versions("rec", "binary_dat")) == 2


def test_a_writer_that_begins_while_a_version_is_being_removed_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    old = publish(store, "binary_dat")
    publish(store, "binary_dat")
    real_rename = Path.rename

    with sort_lock(store, "elsewhere", run_id="run"):
        # Stands for a step that starts at the worst instant: after gc looked, before the version is no version.
        def rename(path: Path, target: Path) -> Path:
            (tmp_path / "rec/sorting").mkdir(exist_ok=True)
            if not (tmp_path / "rec/sorting/.sorting.lock").exists():
                (tmp_path / "rec/sorting/.sorting.lock").hardlink_to(tmp_path / "elsewhere/sorting/.sorting.lock")
            return real_rename(path, target)

        monkeypatch.setattr(Path, "rename", rename)
        collected = collect_garbage(store, DEFAULT_VERSIONS_KEPT)

    assert collected.removed == []
    assert store.artefact("rec", "binary_dat", old.manifest.version) == old


def test_a_removal_that_was_killed_is_finished_by_the_next(tmp_path: Path) -> None:
    store = Store(tmp_path)
    old = publish(store, "binary_dat", bytes(1_000))
    new = publish(store, "binary_dat")
    kill(start(STUCK, tmp_path))
    left = _everything(old.path)
    versions = store.versions("rec", "binary_dat")

    collected = collect_garbage(store, DEFAULT_VERSIONS_KEPT)

    assert "traces.dat" in left
    assert versions == [new.manifest.version]
    assert set(_everything(old.path)) == {"figures", "figures/raster.png", "removed.json"}
    assert collected.bytes == 1_000
    assert collect_garbage(store, DEFAULT_VERSIONS_KEPT).removed == []


def test_old_and_unfinished_failure_records_go_with_the_work_that_was_kept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for number in range(RECORDS_KEPT):
        _record(store, number + 2)
    newest = _everything(tmp_path)
    _record(Store(tmp_path / "older"), 1)
    shutil.copytree(failure_folder(Store(tmp_path / "older"), "rec", "sorting", "v01"), _failed(store, "v01"))
    shutil.rmtree(tmp_path / "older")
    for version in ("v01", "v00"):
        (_failed(store, version) / "work").mkdir(parents=True)
        (_failed(store, version) / "work/recording.dat").write_bytes(bytes(1_000))

    collected = collect_garbage(store, DEFAULT_VERSIONS_KEPT)

    assert _everything(tmp_path) == newest
    assert [(one.what, one.path) for one in collected.removed] == [
        (FAILURE, "rec/sorting/failed/v00"),
        (FAILURE, "rec/sorting/failed/v01"),
    ]
    assert collected.bytes > 2_000


def test_expired_lessons_go(tmp_path: Path) -> None:
    lessons = MemoryProfiles(tmp_path)
    good, old = (Shape(sorter="lupin", device="CPU", channels=channels, sampling_hz=30_000.0) for channels in (4, 8))
    for shape in (good, old):
        lesson = lessons.save(shape, failures=[], params={}, recording="rec", version="v", run_id="run", days=1)
    past = lesson.model_copy(update={"expires": datetime.now(UTC) - timedelta(days=1)})
    lessons.path(old).write_text(past.model_dump_json(), encoding="utf-8")

    collected = collect_garbage(Store(tmp_path), DEFAULT_VERSIONS_KEPT)

    assert [(one.what, one.path) for one in collected.removed] == [(LESSON, "@lessons/lupin-8ch-30000Hz-CPU.json")]
    assert [lesson.shape for lesson in lessons.all()] == [good]


def test_a_recording_that_can_not_be_cleaned_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    for recording in ("a", "b"):
        for _ in range(2):
            publish(store, "binary_dat", recording=recording)
    real_unlink = Path.unlink

    # Stands for another user's folder: tests may run as root, whom permissions do not stop.
    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path.is_relative_to(tmp_path / "a"):
            raise PermissionError(f"no right to remove {path.name}")
        real_unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    collected = collect_garbage(store, DEFAULT_VERSIONS_KEPT)

    assert collected.failed == {"a": "no right to remove traces.dat"}
    assert len(store.versions("b", "binary_dat")) == 1


def test_an_empty_store_and_one_that_is_not_there_are_clean(tmp_path: Path) -> None:
    assert collect_garbage(Store(tmp_path), DEFAULT_VERSIONS_KEPT).removed == []
    assert collect_garbage(Store(tmp_path / "absent"), DEFAULT_VERSIONS_KEPT).removed == []


def _record(store: Store, number: int) -> None:
    record_failure(
        store,
        "rec",
        "sorting",
        version=f"v{number:02}",
        run_id=f"run{number}",
        attempt=1,
        error=DiskFullError("Full.", remedy="Empty it."),
        scaled={},
        logs=[],
        retried=False,
    )


def _failed(store: Store, version: str) -> Path:
    return failure_folder(store, "rec", "sorting", version)
