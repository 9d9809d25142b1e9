"""The folder of the leases: the same for everybody, and nothing in it is removed while it is locked."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from sort_assets.machine.gpus import Gpu
from sort_assets.platform.execution import lease_folder as folders
from sort_assets.platform.execution.lease_folder import inspect_lease_folder, lease_folder
from sort_assets.platform.execution.leases import device_lease

GPU = Gpu("GPU-aaaa", "first", 1)


def _ignore(line: str) -> None:
    pass


@pytest.fixture(autouse=True)
def _no_folder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SORT_ASSETS_LEASES", raising=False)


def test_the_folder_is_the_same_whatever_tmpdir_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = lease_folder()
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    assert lease_folder() == before
    assert before in (Path("/run/lock/sort_assets"), Path("/tmp/sort_assets-leases"))


def test_without_a_folder_of_locks_for_everybody_it_lies_in_tmp_also_for_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locks = tmp_path / "lock"
    monkeypatch.setattr(folders, "_LOCKS", locks)
    assert lease_folder() == Path("/tmp/sort_assets-leases")
    locks.mkdir(mode=0o755)  # as on Fedora: root alone could write there
    assert lease_folder() == Path("/tmp/sort_assets-leases")
    (locks / "sort_assets").mkdir()
    (locks / "sort_assets").chmod(0o1777)  # somebody prepared it
    assert lease_folder() == locks / "sort_assets"
    locks.chmod(0o1777)
    (locks / "sort_assets").rmdir()
    assert lease_folder() == locks / "sort_assets"


@pytest.mark.skipif(shutil.which("systemd-tmpfiles") is None, reason="NOT TESTED: no systemd-tmpfiles here")
def test_the_cleaner_of_temporary_files_leaves_a_lock_that_is_held(tmp_path: Path) -> None:
    leases, rule = tmp_path / "leases", tmp_path / "clean.conf"
    rule.write_text(f"d {tmp_path}/leases 1777 - - 1s\n")
    with device_lease(_ignore, gpus=[GPU], folder=leases):
        (leases / "old").touch()
        time.sleep(1.2)

        subprocess.run(["systemd-tmpfiles", "--clean", str(rule)], check=True)

        assert [path.name for path in leases.iterdir()] == ["GPU-aaaa.lock"]


def test_a_lock_file_is_young_whenever_it_is_taken(tmp_path: Path) -> None:
    # For cleaners that do not know what the sticky bit means.
    lock = tmp_path / "GPU-aaaa.lock"
    lock.touch()
    os.utime(lock, (0, 0))

    with device_lease(_ignore, gpus=[GPU], folder=tmp_path):
        assert time.time() - lock.stat().st_mtime < 60
        assert lock.stat().st_mode & 0o7777 == 0o1666


MOUNTS = """22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 22 0:26 / /run rw - tmpfs tmpfs rw
31 22 0:27 / /tmp rw - tmpfs tmpfs rw
41 22 8:1 {source} /tmp rw,relatime - ext4 /dev/sda1 rw
"""


@pytest.mark.parametrize(
    ("source", "private"),
    [("/", False), ("/tmp/systemd-private-9f/tmp", True), ("/local/slurm/4711/.4711", True)],
)
def test_a_private_folder_for_temporary_files_is_told(
    source: str, private: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS.format(source=source))
    monkeypatch.setattr(folders, "_MOUNTS", mounts)
    monkeypatch.setattr(folders, "_LOCKS", tmp_path / "no-such-folder")
    monkeypatch.setattr(folders, "sees_host_pids", lambda: True)

    (result,) = inspect_lease_folder()

    assert (result.level != "ok") == private
    assert (source in result.description) == private or source == "/"


def test_a_folder_that_is_mounted_for_everybody_is_not_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS.format(source="/data/tmp"))  # as from /etc/fstab, or a subvolume of openSUSE
    monkeypatch.setattr(folders, "_MOUNTS", mounts)
    monkeypatch.setattr(folders, "_MOUNTS_OF_ALL", mounts)
    monkeypatch.setattr(folders, "_LOCKS", tmp_path / "no-such-folder")
    monkeypatch.setattr(folders, "sees_host_pids", lambda: True)

    assert [one.level for one in inspect_lease_folder()] == ["ok"]


def test_who_names_the_folder_is_not_warned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "sees_host_pids", lambda: False)
    assert "only this container sees" in inspect_lease_folder()[0].description

    monkeypatch.setenv("SORT_ASSETS_LEASES", str(tmp_path))

    assert [one.level for one in inspect_lease_folder()] == ["ok"]
