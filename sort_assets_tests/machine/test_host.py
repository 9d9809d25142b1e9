"""Hosts are told apart by more than their names."""

import os
import subprocess
from pathlib import Path

import pytest

from sort_assets.machine import file_system
from sort_assets.machine.file_system import file_system_type, is_local
from sort_assets.machine.host import HostIdentity, process_start
from sort_assets.machine.pid_namespace import HOST_PIDS

RIG = HostIdentity(name="rig", machine_id="1f", network_cards="aa:01", boot_id="monday", pid_namespace=HOST_PIDS)
CONTAINER = HostIdentity(name="sorter", machine_id="1f", boot_id="monday", pid_namespace="pid:[4026532000]")


def _as(host: HostIdentity, **other: str) -> HostIdentity:
    return host.model_copy(update=other)


def test_this_host_sees_its_own_processes() -> None:
    here = HostIdentity.here()

    assert here.sees_processes_of(HostIdentity.model_validate_json(here.model_dump_json()))
    assert not here.was_rebooted_since(here)


def test_a_rebooted_host_knows_itself() -> None:
    assert _as(RIG, boot_id="tuesday", name="renamed").was_rebooted_since(RIG)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(_as(RIG, boot_id="tuesday", network_cards="aa:02"), id="a clone of the virtual machine"),
        pytest.param(_as(RIG, boot_id="tuesday", machine_id="2f"), id="another host of the same name"),
        pytest.param(_as(RIG, boot_id="tuesday", machine_id=""), id="a host without a machine id"),
        pytest.param(_as(CONTAINER, boot_id="tuesday"), id="a container of the same image on another machine"),
        pytest.param(HostIdentity(name="rig"), id="a system that tells nothing"),
    ],
)
def test_what_may_be_another_host_is_not_taken_for_a_reboot(other: HostIdentity) -> None:
    for before in (RIG, CONTAINER):
        assert not other.was_rebooted_since(before)
        assert not other.sees_processes_of(before)


def test_containers_of_one_machine_share_its_kernel_and_do_not_see_each_others_processes() -> None:
    neighbour = _as(CONTAINER, pid_namespace="pid:[4026532001]")

    assert neighbour.has_kernel_of(CONTAINER)
    assert not neighbour.sees_processes_of(CONTAINER)


def test_a_process_is_named_by_its_number_and_its_start() -> None:
    assert process_start(os.getpid()) == process_start(os.getpid()) != process_start(1)
    assert process_start(2**22 + 1) is None


def test_the_file_system_of_a_folder_is_that_of_the_deepest_mount(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/proc")

    assert file_system_type(tmp_path / "link" / "self") == "proc"
    assert not is_local(Path("/proc/self"))
    assert is_local(tmp_path / "not there yet")


def test_a_process_that_has_ended_counts_as_none_before_it_is_waited_for() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

    assert process_start(child.pid) is None

    child.wait()


def test_a_mount_whose_name_is_not_ascii_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_bytes(
        b"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
        b"2 1 0:50 / /mnt/\xff rw - ext4 /dev/sdb1 rw\n"
        + "3 1 0:51 / /mnt/Löwel\\040Lab rw - nfs4 server:/Löwel rw\n".encode()
    )
    monkeypatch.setattr(file_system, "_MOUNTS", mounts)

    assert file_system_type(Path("/mnt/Löwel Lab/store")) == "nfs4"
    assert file_system_type(Path("/mnt/other")) == "ext4"
