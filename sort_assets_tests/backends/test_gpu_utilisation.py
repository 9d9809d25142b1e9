"""Kilosort on a GPU whose utilisation nobody tells. There is no GPU here: torch is told what one would answer."""

import logging

import pytest

from sort_assets.backends.kilosort4.gpu_utilisation import without_gpu_utilisation


@pytest.fixture
def _on_a_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def refuse() -> int:
        raise RuntimeError("device 0 is not visible (CUDA_VISIBLE_DEVICES=[])")  # torch 2.13 on a MIG slice

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "utilization", refuse)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (8 * 2**30, 10 * 2**30))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 2**30)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 2**30)


@pytest.mark.usefixtures("_on_a_slice")
def test_kilosort_does_not_end_on_a_slice_of_a_gpu() -> None:
    from kilosort import utils

    assert utils._NVML_EXISTS  # nvidia-ml-py comes with sort_assets
    with pytest.raises(RuntimeError, match="not visible"):
        utils.get_performance()

    with without_gpu_utilisation():
        utils.log_performance(logging.getLogger("a test"), "info")
        assert utils.get_performance()["gpu"]["util"] is None

    assert utils._NVML_EXISTS
