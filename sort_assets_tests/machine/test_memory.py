from pathlib import Path

import psutil
import pytest

from sort_assets.machine.memory import available_memory_bytes, cgroup_rooms, memory_rooms


def cgroup_limit_bytes(root: Path, membership: str) -> int | None:
    """The smallest limit of all."""
    return min((room.total_bytes for room in cgroup_rooms(root, membership)), default=None)


def test_some_memory_is_available_and_no_more_than_there_is() -> None:
    assert 0 < available_memory_bytes() <= psutil.virtual_memory().total


def test_the_smallest_limit_on_the_way_up_counts(tmp_path: Path) -> None:
    (tmp_path / "slurm/job").mkdir(parents=True)
    (tmp_path / "slurm/memory.max").write_text("4000\n")
    (tmp_path / "slurm/job/memory.max").write_text("max\n")

    assert cgroup_limit_bytes(tmp_path, "0::/slurm/job\n") == 4000
    assert cgroup_limit_bytes(tmp_path, "0::/\n") is None


def test_a_container_that_sees_the_host_s_path_finds_its_own_limit(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("5000\n")

    assert cgroup_limit_bytes(tmp_path, "0::/docker/0123\n") == 5000


def test_without_a_file_that_sets_one_there_is_no_limit(tmp_path: Path) -> None:
    assert cgroup_limit_bytes(tmp_path, "4:memory:/job\n") is None


def test_limits_of_version_1_count_too(tmp_path: Path) -> None:
    (tmp_path / "memory/slurm/job").mkdir(parents=True)
    (tmp_path / "memory/slurm/memory.limit_in_bytes").write_text("4000\n")
    (tmp_path / "memory/slurm/job/memory.limit_in_bytes").write_text("9223372036854771712\n")

    assert cgroup_limit_bytes(tmp_path, "4:memory:/slurm/job\n3:cpuset:/slurm\n0::/slurm/job\n") == 4000


@pytest.mark.parametrize(
    ("folder", "membership", "limit", "usage", "statistics"),
    [
        ("job", "0::/job\n", "memory.max", "memory.current", "anon 1500\nactive_file 300\ninactive_file 200\n"),
        (
            "memory/job",
            "4:memory:/job\n",
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "active_file 0\ntotal_active_file 300\ntotal_inactive_file 200\n",
        ),
    ],
)
def test_what_is_left_of_a_limit_counts_pages_of_files_as_available(
    folder: str, membership: str, limit: str, usage: str, statistics: str, tmp_path: Path
) -> None:
    group = tmp_path / folder
    group.mkdir(parents=True)
    (group / limit).write_text("4000\n")
    (group / usage).write_text("2000\n")
    (group / "memory.stat").write_text(statistics)

    (room,) = cgroup_rooms(tmp_path, membership)

    assert (room.total_bytes, room.available_bytes) == (4000, 2500)
    assert room.available_percent == 62.5


def test_the_machine_itself_is_one_of_the_limits() -> None:
    rooms = {room.of: room for room in memory_rooms()}

    assert rooms["the machine"].total_bytes == psutil.virtual_memory().total
    assert available_memory_bytes() <= rooms["the machine"].total_bytes
