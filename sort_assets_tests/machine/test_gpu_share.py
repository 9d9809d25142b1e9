"""What a sort may take of a GPU that it shares. Without a GPU here, `torch.cuda` is stood in for."""

from types import SimpleNamespace

import pytest
import torch

from sort_assets.machine.gpu_share import keep_to_share, share_bytes

GIB = 2**30


def test_a_share_leaves_room_for_what_cuda_itself_takes_of_each_process() -> None:
    assert share_bytes(48 * GIB, 2) == 23 * GIB
    assert share_bytes(1 * GIB, 2) == 0


@pytest.mark.parametrize(("sorts", "allowed"), [(1, []), (2, [23 / 48])])
def test_torch_is_limited_to_the_share(sorts: int, allowed: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=48 * GIB))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", limits.append)

    keep_to_share(sorts)

    assert limits == allowed
