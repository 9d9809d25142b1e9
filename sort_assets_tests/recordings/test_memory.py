from pathlib import Path

import psutil

from sort_assets.recordings.memory import available_memory_bytes, cgroup_limit_bytes, threads_within


def test_threads_share_a_quarter_of_the_available_memory() -> None:
    chunk_bytes = 384 * 30_000 * 4

    assert threads_within(256 * 2**30, 16, chunk_bytes) == 16
    assert threads_within(8 * 2**30, 16, chunk_bytes) == 7  # of 276 MB each, from 2147 MB
    assert threads_within(2**20, 16, chunk_bytes) == 1
    assert threads_within(2**30, 16, 0) == 16


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


def test_without_control_groups_of_version_2_there_is_no_limit(tmp_path: Path) -> None:
    assert cgroup_limit_bytes(tmp_path, "4:memory:/job\n") is None
