"""Which GPU a lease takes, and what it remembers of failures. Locks and files are real; the GPUs are named by hand."""

import json
import os
import time
from pathlib import Path

import pytest

from sort_assets.errors import (
    DeviceOutOfMemoryError,
    GpuDriverError,
    GpuMemoryTakenError,
    SortAssetsError,
    TransientGpuError,
)
from sort_assets.machine.gpus import Gpu
from sort_assets.platform.execution import leases
from sort_assets.platform.execution.gpu_choice import (
    choose,
    large_enough,
    lock_file,
    quarantine_notices,
    quarantined_until,
)
from sort_assets.platform.execution.leases import LEASED_GPU, device_lease
from sort_assets_tests.fixtures.fake_driver import A4000, FakeDriver

GB = 10**9
DISPLAY = Gpu("GPU-gt1030", "GT 1030", 2 * GB, free_bytes=2 * GB)
FULL = Gpu("GPU-full", "A100", 80 * GB, free_bytes=3 * GB)
EMPTY = Gpu("GPU-empty", "A4000", 16 * GB, free_bytes=15 * GB)
GPUS = [DISPLAY, FULL, EMPTY]


def _ignore(line: str) -> None:
    pass


class _WaitsError(Exception):
    """Ends the wait for a device."""


def _give_up(line: str) -> None:
    if line.startswith("Waiting"):
        raise _WaitsError


def leased(folder: Path, gpus: list[Gpu], **options) -> str:
    with device_lease(_ignore, gpus=gpus, folder=folder, **options) as lease:
        return lease.device


def fail(folder: Path, gpus: list[Gpu], error: SortAssetsError) -> None:
    with pytest.raises(type(error)), device_lease(_ignore, gpus=gpus, folder=folder):
        raise error


def transient() -> TransientGpuError:
    return TransientGpuError("An illegal memory access.", remedy="Run again.")


def test_the_gpu_with_most_free_memory_comes_first(tmp_path: Path) -> None:
    assert leased(tmp_path, GPUS) == EMPTY.uuid


def test_a_small_card_beside_a_large_one_is_not_used(tmp_path: Path) -> None:
    said: list[str] = []

    def note(line: str) -> None:
        said.append(line)
        _give_up(line)

    with device_lease(_ignore, gpus=[DISPLAY, EMPTY], folder=tmp_path, min_memory_gb=4) as first:
        assert first.device == EMPTY.uuid
        second = device_lease(note, gpus=[DISPLAY, EMPTY], folder=tmp_path, min_memory_gb=4)
        with pytest.raises(_WaitsError), second:
            pass

    assert said == [
        "GT 1030 is left out: it has 2.0 GB of memory, and execution.min_gpu_memory_gb is 4.",
        "Waiting for a free device: A4000 in use by another sort.",
    ]
    assert large_enough([DISPLAY], 4) == [DISPLAY]


def test_the_card_of_a_display_is_no_stand_in_for_one_that_was_lost(driver: FakeDriver, tmp_path: Path) -> None:
    display = "gpu=NVIDIA GT 1030,GPU-gt1030,2,0,6.1"
    driver.answer(f"{display};{A4000};handle=1:15")

    with (
        pytest.raises(GpuDriverError, match="GPU is lost"),
        device_lease(_ignore, folder=tmp_path, min_memory_gb=4),
    ):
        pass


def test_a_card_that_was_lost_is_named_where_another_takes_its_sorts(driver: FakeDriver, tmp_path: Path) -> None:
    driver.answer(f"{A4000};gpu=NVIDIA A100,GPU-a100,80,0,8.0;handle=1:15")
    said: list[str] = []

    with device_lease(said.append, folder=tmp_path) as lease:
        assert lease.device == "GPU-a4000"

    assert said == ["GPU 1 can't be used: GPU is lost (NVML error 15)."]


def test_a_card_on_which_the_step_has_just_failed_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert leased(tmp_path, [FULL, EMPTY], avoid={EMPTY.uuid}) == FULL.uuid
    assert leased(tmp_path, [EMPTY], avoid={EMPTY.uuid}) == EMPTY.uuid
    with device_lease(_ignore, gpus=[FULL], folder=tmp_path):
        with pytest.raises(_WaitsError), device_lease(_give_up, gpus=GPUS[1:], folder=tmp_path, avoid={EMPTY.uuid}):
            pass
        monkeypatch.setattr(leases, "_AVOID_S", 0.0)
        assert leased(tmp_path, GPUS[1:], avoid={EMPTY.uuid}) == EMPTY.uuid


def test_a_failure_names_the_gpu_that_was_held(tmp_path: Path) -> None:
    error = DeviceOutOfMemoryError("Too little.", remedy="Ask for less.")

    fail(tmp_path, [EMPTY], error)

    assert error.diagnostics[LEASED_GPU] == EMPTY.uuid


def test_a_card_that_failed_twice_in_a_row_is_left_out_for_an_hour(tmp_path: Path) -> None:
    fail(tmp_path, [EMPTY], transient())
    assert leased(tmp_path, [FULL, EMPTY], avoid={FULL.uuid}) == EMPTY.uuid  # a sort that did well ends the count
    fail(tmp_path, [EMPTY], transient())
    assert quarantined_until(tmp_path, EMPTY.uuid) is None

    fail(tmp_path, [EMPTY], transient())

    until = quarantined_until(tmp_path, EMPTY.uuid)
    assert until == pytest.approx(time.time() + 3600, abs=60)
    assert leased(tmp_path, [FULL, EMPTY]) == FULL.uuid
    (note,) = choose([FULL, EMPTY], folder=tmp_path).notes
    assert note.startswith("A4000 (GPU-empty) is left out until ")
    assert quarantine_notices(tmp_path) == [note]  # which doctor and status show


def test_where_every_card_failed_one_is_tried_and_that_is_said(tmp_path: Path) -> None:
    fail(tmp_path, [EMPTY], transient())
    fail(tmp_path, [EMPTY], transient())
    said: list[str] = []

    with device_lease(said.append, gpus=[EMPTY], folder=tmp_path) as lease:
        assert lease.device == EMPTY.uuid

    assert said[0].startswith("Sorts failed on every GPU of this machine within the last hour")


def test_failures_of_a_recording_or_for_want_of_memory_are_no_fault_of_the_card(tmp_path: Path) -> None:
    for _ in range(2):
        fail(tmp_path, [EMPTY], DeviceOutOfMemoryError("Too little.", remedy="Ask for less."))

    assert quarantined_until(tmp_path, EMPTY.uuid) is None


@pytest.mark.parametrize("record", ["", "{", "[1]", '{"gpu_failures": 3}', '{"gpu_failures": ["x", null]}', "\0\0"])
def test_a_damaged_record_says_nothing(record: str, tmp_path: Path) -> None:
    lock_file(tmp_path, EMPTY.uuid).write_text(record)

    assert quarantined_until(tmp_path, EMPTY.uuid) is None
    assert leased(tmp_path, [EMPTY]) == EMPTY.uuid


@pytest.mark.parametrize("ago", [3700, -3600])
def test_an_old_failure_and_one_of_a_clock_that_was_wrong_do_not_count(ago: float, tmp_path: Path) -> None:
    failures = [time.time() - ago - 1, time.time() - ago]
    lock_file(tmp_path, EMPTY.uuid).write_text(json.dumps({"gpu": "A4000", "gpu_failures": failures}))

    assert quarantined_until(tmp_path, EMPTY.uuid) is None


def test_a_card_that_torch_cannot_use_is_passed_over(tmp_path: Path) -> None:
    def check(gpu: Gpu) -> SortAssetsError | None:
        return GpuDriverError(f"No code for {gpu.name}.", remedy="Another torch.") if gpu is EMPTY else None

    assert leased(tmp_path, [FULL, EMPTY], check=check) == FULL.uuid
    with pytest.raises(GpuDriverError, match=r"No code for A4000"):
        leased(tmp_path, [EMPTY], check=check)


def test_a_card_that_will_never_work_does_not_hide_that_the_other_is_only_busy(tmp_path: Path) -> None:
    no_code = GpuDriverError("No code for A4000.", remedy="Another torch.", reason="no code")
    late = GpuDriverError("The fabric manager does not run.", remedy="Start it.", reason="fabric manager")
    taken = GpuMemoryTakenError("A training has it all.", remedy="Wait.")
    reasons: dict[str, SortAssetsError] = {EMPTY.uuid: no_code, FULL.uuid: taken}

    with pytest.raises(GpuMemoryTakenError):  # which is waited for
        leased(tmp_path, [EMPTY, FULL], check=lambda gpu: reasons[gpu.uuid])
    reasons[FULL.uuid] = late
    with pytest.raises(GpuDriverError, match="fabric manager"):
        leased(tmp_path, [EMPTY, FULL], check=lambda gpu: reasons[gpu.uuid])


def test_a_sort_whose_last_gpu_goes_while_it_waits_says_so(driver: FakeDriver, tmp_path: Path) -> None:
    driver.answer(A4000)

    def pull(line: str) -> None:
        if line.startswith("Waiting"):
            driver.answer("init=12")

    with device_lease(_ignore, folder=tmp_path):
        os.environ.pop("CUDA_VISIBLE_DEVICES")  # which the second step's process does not have
        with pytest.raises(GpuDriverError, match="all GPUs went"), device_lease(pull, folder=tmp_path):
            pass


def test_the_slices_of_a_card_are_leased_one_by_one(driver: FakeDriver, tmp_path: Path) -> None:
    driver.answer(f"{A4000};mig=0,MIG 1g.10gb,MIG-one,10;mig=0,MIG 1g.10gb,MIG-two,10")

    with device_lease(_ignore, folder=tmp_path) as first:
        os.environ.pop("CUDA_VISIBLE_DEVICES")  # which the second step's process does not have
        with device_lease(_ignore, folder=tmp_path) as second:
            assert {first.device, second.device} == {"MIG-one", "MIG-two"}
