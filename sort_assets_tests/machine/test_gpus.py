"""Finding devices. There is no GPU here: devices are named by hand, and NVML's errors are put in its place."""

import pynvml
import pytest

from sort_assets.machine.gpus import Gpu, find_gpus, select_visible

GPUS = [Gpu("GPU-aaaa", "first", 1), Gpu("GPU-bbbb", "second", 1)]


def test_a_mig_slice_is_a_device_of_its_own() -> None:
    assert select_visible(GPUS, "MIG-cccc") == [Gpu("MIG-cccc", "MIG slice", 0)]
    assert select_visible(GPUS, "1, MIG-GPU-aaaa/7/0") == [GPUS[1], Gpu("MIG-GPU-aaaa/7/0", "MIG slice", 0)]
    assert select_visible(GPUS, "9,MIG-cccc") == []


@pytest.mark.parametrize("function", ["nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex", "nvmlDeviceGetUUID"])
def test_a_driver_in_trouble_means_no_gpus(function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _working_driver(monkeypatch)
    monkeypatch.setattr(pynvml, function, _gpu_is_lost)

    assert find_gpus() == []


def test_a_device_that_hides_its_memory_is_still_found(monkeypatch: pytest.MonkeyPatch) -> None:
    _working_driver(monkeypatch)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", _gpu_is_lost)

    assert find_gpus() == [Gpu("GPU-aaaa", "first", 0)]


def _working_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    answers = {
        "nvmlInit": None,
        "nvmlShutdown": None,
        "nvmlDeviceGetCount": 1,
        "nvmlDeviceGetHandleByIndex": "handle",
        "nvmlDeviceGetUUID": "GPU-aaaa",
        "nvmlDeviceGetName": "first",
    }
    for name, answer in answers.items():
        monkeypatch.setattr(pynvml, name, lambda *_, answer=answer: answer)


def _gpu_is_lost(*_: object) -> None:
    raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
