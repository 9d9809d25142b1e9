"""Sorts that share a GPU. There is no GPU here: its processes, locks and signals are real, its name is made up."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sort_assets.errors import DeviceOutOfMemoryError, GpuMemoryTakenError, GpuShareTooSmallError
from sort_assets.machine.gpus import Gpu
from sort_assets.platform.execution.gpu_sharing import Sharing, is_leased, part_held
from sort_assets.platform.execution.leases import Lease, device_lease
from sort_assets.platform.store.locks import Locked

GIB = 2**30
CARD = Gpu("GPU-aaaa", "large card", 24 * GIB)
SMALL_SORT = Sharing(sorts=2, needed_bytes=6 * GIB)
LARGE_SORT = Sharing(sorts=2, needed_bytes=12 * GIB)  # its half would be 12 GiB less what CUDA itself takes
UNKNOWN_SORT = Sharing(sorts=2)
HOLDER = """
import sys, time
from pathlib import Path
from sort_assets.machine.gpus import Gpu
from sort_assets.platform.execution.gpu_sharing import Sharing
from sort_assets.platform.execution.leases import device_lease
card = Gpu("GPU-aaaa", "large card", 24 * 2**30)
with device_lease(print, gpus=[card], folder=Path(sys.argv[1]), sharing=Sharing(2, int(sys.argv[2]))) as lease:
    print(lease.parts, flush=True)
    time.sleep(600)
"""


def ignore(line: str) -> None:
    pass


@contextmanager
def holder(folder: Path, needed_bytes: int = SMALL_SORT.needed_bytes or 0) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds what it got of the card."""
    words = [sys.executable, "-c", HOLDER, str(folder), str(needed_bytes)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == ("2" if needed_bytes < 11 * GIB else "1")
        yield process
    finally:
        process.kill()
        process.wait()


class Waiting:
    """A sort that waits for the card in a thread."""

    def __init__(self, folder: Path, sharing: Sharing) -> None:
        self.got: Lease | None = None
        self._let_go = threading.Event()
        self._thread = threading.Thread(target=self._sort, args=(folder, sharing))
        self._thread.start()

    def _sort(self, folder: Path, sharing: Sharing) -> None:
        with device_lease(ignore, gpus=[CARD], folder=folder, sharing=sharing) as self.got:
            self._let_go.wait(60)

    def has_it(self, within_s: float) -> bool:
        deadline = time.monotonic() + within_s
        while self.got is None and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.got is not None

    def end(self) -> None:
        self._let_go.set()
        self._thread.join(60)


def test_two_sorts_share_a_card_and_a_third_waits_until_one_has_died(tmp_path: Path) -> None:
    with holder(tmp_path) as first, holder(tmp_path):
        third = Waiting(tmp_path, SMALL_SORT)
        waited = not third.has_it(within_s=0.5)
        os.kill(first.pid, signal.SIGKILL)
        got = third.has_it(within_s=10)
        third.end()

    assert waited
    assert got
    assert third.got == Lease(CARD.uuid, CARD.name, parts=2)
    assert not is_leased(tmp_path, CARD.uuid)


@pytest.mark.parametrize(
    "sharing", [LARGE_SORT, UNKNOWN_SORT, Sharing()], ids=["too large", "memory not known", "shares with nobody"]
)
def test_a_sort_that_does_not_share_waits_for_all_parts_and_then_has_the_card_alone(
    sharing: Sharing, tmp_path: Path
) -> None:
    with device_lease(ignore, gpus=[CARD], folder=tmp_path, sharing=SMALL_SORT):
        large = Waiting(tmp_path, sharing)
        waited = not large.has_it(within_s=0.5)
    alone = large.has_it(within_s=10)
    small = Waiting(tmp_path, SMALL_SORT)
    small_waited = not small.has_it(within_s=0.5)
    large.end()
    small_got = small.has_it(within_s=10)
    small.end()

    assert waited
    assert alone
    assert large.got == Lease(CARD.uuid, CARD.name, parts=1)
    assert small_waited
    assert small_got


def test_small_sorts_that_overlap_do_not_keep_a_large_one_waiting(tmp_path: Path) -> None:
    with device_lease(ignore, gpus=[CARD], folder=tmp_path, sharing=SMALL_SORT):
        large = Waiting(tmp_path, LARGE_SORT)
        time.sleep(0.5)  # now it waits for all of the card
        second = Waiting(tmp_path, SMALL_SORT)
        second_waited = not second.has_it(within_s=0.5)
    large_first = large.has_it(within_s=10) and not second.has_it(within_s=0.5)
    large.end()
    after_it = second.has_it(within_s=10)
    second.end()

    assert second_waited
    assert large_first
    assert after_it


def test_a_killed_sort_that_waited_for_all_of_the_card_leaves_its_parts_to_others(tmp_path: Path) -> None:
    with holder(tmp_path):
        words = [sys.executable, "-c", HOLDER, str(tmp_path), str(LARGE_SORT.needed_bytes)]
        waiting = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        parts = tmp_path / "GPU-aaaa.parts.lock"
        deadline = time.monotonic() + 20
        while _is_free(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.1)
        kept_others_away = not _is_free(tmp_path)
        waiting.kill()
        waiting.wait()

        assert parts.exists()
        assert kept_others_away
        assert _is_free(tmp_path)


def _is_free(folder: Path) -> bool:
    """Whether a part of the card can be had this instant."""
    try:
        with part_held(folder, CARD.uuid, 2):
            return True
    except Locked:
        return False


def test_a_card_that_takes_one_program_at_a_time_is_not_shared(tmp_path: Path) -> None:
    exclusive = Gpu("GPU-aaaa", "large card", 24 * GIB, compute_mode="exclusive")

    with device_lease(ignore, gpus=[exclusive], folder=tmp_path, sharing=SMALL_SORT) as lease:
        assert lease.parts == 1


@pytest.mark.parametrize("kind", [DeviceOutOfMemoryError, GpuMemoryTakenError])
def test_too_little_memory_in_a_part_of_a_card_is_a_failure_of_its_own(
    kind: type[DeviceOutOfMemoryError], tmp_path: Path
) -> None:
    error = kind("The sorter ran out of GPU memory.", remedy="None.", stage="detection", batch=7)

    with (
        pytest.raises(GpuShareTooSmallError, match=r"one of 2 parts of large card.*with all of a GPU") as caught,
        device_lease(ignore, gpus=[CARD], folder=tmp_path, sharing=SMALL_SORT),
    ):
        raise error

    assert caught.value.stage == "detection"
    assert caught.value.diagnostics == {"batch": 7, "leased_gpu": "GPU-aaaa"}
    with pytest.raises(kind), device_lease(ignore, gpus=[CARD], folder=tmp_path, sharing=UNKNOWN_SORT):
        raise error
