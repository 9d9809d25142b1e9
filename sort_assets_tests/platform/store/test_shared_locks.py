"""Locks and staging folders on a file system that several hosts share.

No network file system can be mounted where the tests run. What a server does is done here with real locks: it drops
one (`LOCK_UN` on the holder's descriptor), another host removes the file. Only its answer ESTALE, and that the folder
is no local disk, stand in for it.
"""

import errno
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sort_assets.config.settings import ENGINE_VARIABLE
from sort_assets.errors import LostLockError
from sort_assets.machine.host import HostIdentity
from sort_assets.machine.pid_namespace import HOST_PIDS
from sort_assets.platform.store import living_writers, locks
from sort_assets.platform.store.dead_staging import remove_dead_staging
from sort_assets.platform.store.details import Details
from sort_assets.platform.store.failures import failed_attempts
from sort_assets.platform.store.garbage import collect_garbage
from sort_assets.platform.store.layout import LOCK_SUFFIX, STAGING
from sort_assets.platform.store.locks import Locked, Owner, exclusive_lock, is_locked
from sort_assets.platform.store.store import Staging, Store
from sort_assets_tests.platform.store.writers import SORTER, kill, killed_writer, start

HERE = HostIdentity.here()
OTHER = HERE.model_copy(update={"boot_id": "another", "machine_id": "another"})


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(living_writers, "is_local", lambda _: False)


def _goes_stale_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the server answers when another host has removed the file after it was opened."""
    real = fcntl.flock

    def flock(descriptor: int, flags: int) -> None:
        monkeypatch.setattr(fcntl, "flock", real)
        path.unlink()
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(fcntl, "flock", flock)


def test_a_lock_file_that_another_host_removed_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "lock"
    lock.touch()
    _goes_stale_once(lock, monkeypatch)

    with exclusive_lock(lock):
        assert is_locked(lock)


def test_a_lock_file_that_another_host_removed_is_not_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "lock"
    lock.touch()
    _goes_stale_once(lock, monkeypatch)

    assert not is_locked(lock)


def test_a_share_that_is_gone_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(descriptor: int, flags: int) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(locks, "_STALE_FOR_S", 0.2)

    with pytest.raises(OSError, match="Stale"), exclusive_lock(tmp_path / "lock"):
        pass


def test_who_waits_for_a_lock_is_told_for_whom_and_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "_TELL_AFTER_S", 0.1)
    monkeypatch.setattr(locks, "_SLOW_POLL_S", 0.1)
    told: list[str] = []
    holder = start(SORTER, tmp_path, "monday")
    (lock,) = tmp_path.rglob("*.lock")

    try:
        with pytest.raises(Locked), exclusive_lock(lock, patience_s=0.5, waiting=told.append):
            pass
    finally:
        kill(holder)
    with exclusive_lock(lock, patience_s=5):
        pass

    assert len(told) == 1
    assert f"run monday (process {holder.pid} on {HERE.name})" in told[0]


def _drop(staging: Staging) -> Path:
    """Do what a server does that has not heard of a host for too long."""
    ((path, lock),) = staging.locks.items()
    fcntl.flock(lock.descriptor, fcntl.LOCK_UN)
    return path


def _publish(staging: Staging) -> None:
    staging.publish(data_version="v", config={}, config_sources={}, inputs={}, details=Details())


def _removed_by_another_host(store: Store, lock: Path) -> None:
    remove_dead_staging(store, "rec", "sorting")


def _taken_over(store: Store, lock: Path) -> None:
    with exclusive_lock(lock) as descriptor:
        Owner.this_process("another").sign(descriptor)


@pytest.mark.parametrize("meanwhile", [_removed_by_another_host, _taken_over])
def test_a_writer_whose_place_was_taken_does_not_publish(
    tmp_path: Path, meanwhile: Callable[[Store, Path], None]
) -> None:
    store = Store(tmp_path)

    with store.stage("rec", "sorting", run_id="run") as staging:
        lock = _drop(staging)
        meanwhile(store, lock)
        staging.path.mkdir(exist_ok=True)

        with pytest.raises(LostLockError, match="dropped"):
            _publish(staging)

    assert store.versions("rec", "sorting") == []


def test_a_writer_whose_lock_was_dropped_and_not_taken_publishes(tmp_path: Path) -> None:
    store = Store(tmp_path)

    with store.stage("rec", "sorting", run_id="run") as staging:
        _drop(staging)
        _publish(staging)

    assert len(store.versions("rec", "sorting")) == 1


@pytest.mark.usefixtures("shared")
def test_a_writer_that_its_own_host_sees_is_left_alone_though_its_lock_was_dropped(tmp_path: Path) -> None:
    store = Store(tmp_path, lambda _: True)

    with store.stage("rec", "sorting", run_id="run") as staging:
        _drop(staging)
        collect_garbage(store, {})

        assert staging.path.is_dir()
        assert store.in_use("rec")


def _left_by(store: Store, folder: Path, machine: HostIdentity | None, *, days: float = 0.0) -> Path:
    killed_writer(store, "sorting", folder, {"sorter/sorter.log": "starting"}, run_id="dead")
    (lock,) = store.asset_folder("rec", "sorting").glob(f"{STAGING}*{LOCK_SUFFIX}")
    staging = lock.with_name(lock.name.removesuffix(LOCK_SUFFIX))
    owner = Owner.model_validate_json(lock.read_text())
    lock.write_text(owner.model_copy(update={"machine": machine}).model_dump_json())
    for path in (*staging.rglob("*"), staging):
        os.utime(path, (time.time() - days * 86400,) * 2)
    return staging


REBOOTED = HostIdentity(name="rig", machine_id="1f", network_cards="aa:01", boot_id="old", pid_namespace=HOST_PIDS)


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize(
    ("machine", "over", "days", "stays"),
    [
        pytest.param(HERE, None, 0, False, id="a dead process of this host"),
        pytest.param(OTHER, None, 0, True, id="another host, and nobody can say"),
        pytest.param(OTHER, False, 15, True, id="another host, whose run lives"),
        pytest.param(OTHER, True, 0, False, id="another host, whose run is over"),
        pytest.param(OTHER, None, 15, False, id="another host, and nobody could say for two weeks"),
        pytest.param(None, None, 0, True, id="an earlier version, and nobody can say"),
        pytest.param(None, True, 0, False, id="an earlier version, whose run is over"),
    ],
)
def test_what_a_writer_left_goes_once_it_is_certainly_dead(
    tmp_path: Path, machine: HostIdentity | None, over: bool | None, days: float, stays: bool
) -> None:
    store = Store(tmp_path / "store", lambda run_id: over if run_id == "dead" else None)
    staging = _left_by(store, tmp_path / "files", machine, days=days)
    in_use = store.in_use("rec")

    collect_garbage(store, {})

    assert in_use == stays
    assert staging.exists() == stays


def test_on_a_disk_that_this_host_exports_to_an_engine_a_free_lock_is_not_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store", lambda _: False)
    staging = _left_by(store, tmp_path / "files", OTHER)
    monkeypatch.setenv(ENGINE_VARIABLE, "slurm")

    collect_garbage(store, {})
    stayed = staging.exists()
    monkeypatch.delenv(ENGINE_VARIABLE)
    collect_garbage(store, {})

    assert stayed
    assert not staging.exists()


@pytest.mark.usefixtures("shared")
def test_a_host_that_was_rebooted_knows_that_its_writers_are_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store")
    staging = _left_by(store, tmp_path / "files", REBOOTED)
    monkeypatch.setattr(HostIdentity, "here", lambda: REBOOTED.model_copy(update={"boot_id": "new"}))

    collect_garbage(store, {})

    assert not staging.exists()


@pytest.mark.usefixtures("shared")
def test_the_attempt_of_a_host_that_cannot_be_reached_teaches_the_next_one_and_stays(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", lambda _: False)
    staging = _left_by(store, tmp_path / "files", OTHER)

    with store.stage("rec", "sorting", run_id="dead", attempt=2):
        (attempt,) = failed_attempts(store, "rec", "sorting", run_id="dead")

    assert (attempt.attempt, attempt.retried) == (1, True)
    assert attempt.error.log_excerpt == "starting"
    assert (staging / "sorter" / "sorter.log").is_file()
