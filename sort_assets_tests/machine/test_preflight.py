"""Disk and memory are the machine's own. A GPU can't be had here: `Nvml` stands for its management library."""

import sys
from pathlib import Path
from shutil import disk_usage
from types import SimpleNamespace

import psutil
import pynvml
import pytest

from sort_assets.checks.result import CheckResult
from sort_assets.errors import DiskFullError
from sort_assets.machine.preflight import MemoryNeeded, inspect_machine

GPU = "GPU-5b1f"


class Nvml:
    """What `pynvml` offers of one GPU with 80 GB, 50 of them free."""

    NVMLError = pynvml.NVMLError

    def __init__(self, *programs: tuple[int, int | None], broken: bool = False) -> None:
        self.programs = programs
        self.broken = broken

    def nvmlInit(self) -> None:  # noqa: N802
        if self.broken:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_DRIVER_NOT_LOADED)

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetUUID(self, handle: int) -> str:  # noqa: N802
        return GPU

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(total=80_000_000_000, used=30_000_000_000, free=50_000_000_000)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[SimpleNamespace]:  # noqa: N802
        return [SimpleNamespace(pid=pid, usedGpuMemory=held) for pid, held in self.programs]


def _inspect(folder: Path, **given: object) -> dict[str, CheckResult]:
    results = inspect_machine(**{"output_folder": folder, "expected_bytes": 0, **given})
    return {result.name: result for result in results}


def test_a_machine_with_room_is_in_order(tmp_path: Path) -> None:
    results = _inspect(tmp_path, expected_bytes=1000, memory=MemoryNeeded(host=1000))

    assert {result.level for result in results.values()} == {"ok"}
    assert results["gpu"].description == "none is used"


def test_a_disk_that_is_too_small_is_an_error_with_its_numbers(tmp_path: Path) -> None:
    more_than_there_is = disk_usage(tmp_path).total + 1

    error = _inspect(tmp_path / "not" / "there" / "yet", expected_bytes=more_than_there_is)["disk"].error

    assert isinstance(error, DiskFullError)
    assert error.diagnostics["path"] == str(tmp_path)
    assert error.diagnostics["expected_bytes"] == more_than_there_is
    assert 0 < int(error.diagnostics["free_bytes"] or 0) < more_than_there_is
    assert "sort-assets gc" in error.remedy


def test_memory_that_may_not_be_enough_is_warned_of(tmp_path: Path) -> None:
    memory = _inspect(tmp_path, memory=MemoryNeeded(host=psutil.virtual_memory().total + 1))["memory"]

    assert memory.level == "warning"
    assert "needed" in memory.description


@pytest.mark.parametrize(
    ("expected_bytes", "level"), [(None, "ok"), (50_000_000_000, "ok"), (50_000_000_001, "warning")]
)
def test_gpu_memory_that_may_not_be_enough_is_warned_of(expected_bytes: int | None, level: str, tmp_path: Path) -> None:
    results = _inspect(tmp_path, gpu=GPU, memory=MemoryNeeded(gpu=expected_bytes), nvml=Nvml())

    assert results["gpu memory"].level == level
    assert results["gpu memory"].description.startswith("50.0 GB free")
    assert results["gpu programs"].level == "ok"


@pytest.mark.parametrize(("expected_bytes", "level"), [(38_000_000_000, "ok"), (39_000_000_000, "warning")])
def test_a_sort_that_shares_the_gpu_must_do_with_its_part(expected_bytes: int, level: str, tmp_path: Path) -> None:
    nvml = Nvml((4711, 30_000_000_000))
    results = _inspect(tmp_path, gpu=GPU, gpu_parts=2, memory=MemoryNeeded(gpu=expected_bytes), nvml=nvml)

    assert results["gpu memory"].level == level
    assert results["gpu memory"].description.startswith("38.9 GB free")
    assert results["gpu programs"].level == "ok"  # the other sort
    stranger = Nvml((4711, 30_000_000_000), (4712, None))
    assert _inspect(tmp_path, gpu=GPU, gpu_parts=2, nvml=stranger)["gpu programs"].level == "warning"


def test_other_programs_on_the_gpu_are_named(tmp_path: Path) -> None:
    programs = _inspect(tmp_path, gpu=GPU, nvml=Nvml((4711, 2_500_000_000), (4712, None)))["gpu programs"]

    assert programs.level == "warning"
    assert programs.description == "other programs hold memory of the GPU: pid 4711 with 2.5 GB, pid 4712"


def test_without_a_gpu_nvml_need_not_be_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)

    assert _inspect(tmp_path)["gpu"].level == "ok"
    assert _inspect(tmp_path, gpu=GPU)["gpu"].description.startswith(f"{GPU} can't be queried: NVML is not installed")


@pytest.mark.parametrize("nvml", [Nvml(broken=True), None], ids=["driver in trouble", "no driver"])
def test_a_gpu_that_does_not_answer_is_warned_of(nvml: Nvml | None, tmp_path: Path) -> None:
    gpu = _inspect(tmp_path, gpu="GPU-gone", nvml=nvml)["gpu"]

    assert gpu.level == "warning"
    assert gpu.description.startswith("GPU-gone can't be queried")
