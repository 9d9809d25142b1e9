"""On which device a sort runs. There is no GPU here: `fixtures/fake_driver.py` stands for the driver and torch."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from sort_assets.backends.spikeinterface_sorters import MountainSort5Backend
from sort_assets.config import ExecutionConfig, SorterConfig, SortingPipelineConfig
from sort_assets.errors import GpuBusyError, GpuDriverError, TransientGpuError
from sort_assets.machine import gpus
from sort_assets.machine.preflight import MemoryNeeded
from sort_assets.platform.execution import leases
from sort_assets.platform.execution import sort_device as sort_device_module
from sort_assets.platform.execution.sort_device import sort_device
from sort_assets_tests.fixtures.fake_driver import A4000, GTX_1080_TI, FakeDriver
from sort_assets_tests.fixtures.home import IN_PROCESS
from sort_assets_tests.fixtures.ready import Ready

OLD = "driver=550.54.14;cuda=12040"


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sort_device_module, "WAIT_S", 0.0)


@pytest.fixture
def card_in_slot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel lists a card of NVIDIA, whatever its driver says."""
    card = tmp_path / "pci" / "0000:01:00.0"
    card.mkdir(parents=True)
    (card / "vendor").write_text("0x10de\n")
    (card / "class").write_text("0x030000\n")
    monkeypatch.setattr(gpus, "_PCI", card.parent)


def config(device: str = "auto", **execution: object) -> SortingPipelineConfig:
    return SortingPipelineConfig(
        sorter=SorterConfig.model_validate({"device": device}), execution=ExecutionConfig.model_validate(execution)
    )


def test_a_card_that_torch_can_use_is_taken_and_nothing_is_said(driver: FakeDriver) -> None:
    driver.answer(A4000)

    with sort_device(config(), uses_gpu=True, log=print) as (lease, doubts):
        assert (lease.device, doubts) == ("GPU-a4000", [])
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-a4000"


def test_a_card_that_torch_has_no_code_for_leaves_the_sort_to_the_other(driver: FakeDriver) -> None:
    larger = GTX_1080_TI.replace(",11,", ",22,")  # the one with most free memory is tried first
    driver.answer(f"{larger};{A4000}", capability="GPU-1080=61")
    said: list[str] = []

    with sort_device(config(), uses_gpu=True, log=said.append) as (lease, doubts):
        assert (lease.device, doubts) == ("GPU-a4000", [])

    assert any("has no code for this card" in line for line in said)


def test_a_driver_in_trouble_is_waited_for(driver: FakeDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sort_device_module, "WAIT_S", 60.0)
    monkeypatch.setattr(sort_device_module, "_POLL_S", 0.1)
    driver.answer(A4000, init=802)

    def log(line: str) -> None:
        said.append(line)
        if "It is waited for" in line:
            driver.answer(A4000)  # its fabric manager has started

    said: list[str] = []
    with sort_device(config(), uses_gpu=True, log=log) as (lease, doubts):
        assert (lease.device, doubts) == ("GPU-a4000", [])

    assert sum("It is waited for" in line for line in said) == 1


def test_a_driver_is_waited_for_from_its_first_trouble_on_not_from_the_sort_s_first_wait(
    driver: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sort_device_module, "WAIT_S", 0.3)
    monkeypatch.setattr(sort_device_module, "_POLL_S", 0.1)
    monkeypatch.setattr(leases, "_REMIND_S", 0.5)
    monkeypatch.setattr(leases, "_POLL_S", 0.1)
    driver.answer(A4000)
    said: list[str] = []

    def log(line: str) -> None:
        said.append(line)
        if sum("in use by another sort" in one for one in said) == 2:  # longer than a driver is waited for
            driver.answer("init=999")
        if "It is waited for" in line:
            driver.answer(A4000)
            other.close()

    with ExitStack() as other:
        other.enter_context(sort_device(config(), uses_gpu=True, log=print))
        os.environ.pop("CUDA_VISIBLE_DEVICES")  # which the second step's process does not have
        with sort_device(config(), uses_gpu=True, log=log) as (lease, doubts):
            assert (lease.device, doubts) == ("GPU-a4000", [])

    assert any("It is waited for" in line for line in said)


@pytest.mark.usefixtures("card_in_slot")
def test_a_job_without_a_gpu_on_a_machine_with_one_says_so(driver: FakeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    driver.answer(A4000)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "NoDevFiles")

    with sort_device(config(), uses_gpu=True, log=print) as (lease, (doubt,)):
        assert lease.device == "cpu"

    assert "CUDA_VISIBLE_DEVICES is 'NoDevFiles'" in doubt.description


def test_what_only_an_installation_cures_is_not_waited_for(driver: FakeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sort_device_module, "WAIT_S", 3600.0)
    driver.answer(f"{A4000};{OLD}", driver=12040)

    with pytest.raises(GpuDriverError, match=r"needs CUDA 13\.0"), sort_device(config(), uses_gpu=True, log=print):
        pass


def test_after_trouble_of_a_gpu_the_next_sort_does_not_trust_that_it_works(driver: FakeDriver) -> None:
    driver.answer(A4000)
    with pytest.raises(TransientGpuError), sort_device(config(), uses_gpu=True, log=print):
        raise TransientGpuError("unspecified launch failure", remedy="Run again.")
    driver.answer(A4000, init=999)

    with pytest.raises(GpuDriverError, match="CUDA does not start"), sort_device(config(), uses_gpu=True, log=print):
        pass


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_card_that_can_t_be_used_fails_the_sort_with_the_cure(device: str, driver: FakeDriver) -> None:
    driver.answer(f"{A4000};{OLD}", driver=12040)

    with (
        pytest.raises(GpuDriverError, match=r"NVIDIA RTX A4000 \(driver 550.54.14.*make TORCH_BUILD=cu126"),
        sort_device(config(device), uses_gpu=True, log=print),
    ):
        pass


def test_the_cpu_takes_the_sort_where_that_is_allowed_and_says_so(driver: FakeDriver) -> None:
    driver.answer(f"{A4000};{OLD}", driver=12040)

    with sort_device(config(cpu_if_gpu_fails=True), uses_gpu=True, log=print) as (lease, (doubt,)):
        assert lease.device == "cpu"

    assert doubt.level == "warning"
    assert "Sorted on the CPU, for the GPU can't be used: torch can't use the GPU NVIDIA RTX A4000" in doubt.description
    assert "make TORCH_BUILD=cu126" in doubt.remedy


def test_whoever_asks_for_cuda_never_gets_the_cpu(driver: FakeDriver) -> None:
    driver.answer("init=18")

    with (
        pytest.raises(GpuDriverError, match="Reboot"),
        sort_device(config("cuda", cpu_if_gpu_fails=True), uses_gpu=True, log=print),
    ):
        pass


def test_a_card_that_somebody_else_has_is_waited_for(driver: FakeDriver) -> None:
    driver.answer(f"{A4000};mode=0:3", init=46)

    with (
        pytest.raises(GpuBusyError),
        sort_device(config(cpu_if_gpu_fails=True), uses_gpu=True, log=print),
    ):
        pass


@pytest.mark.parametrize(("uses_gpu", "device"), [(True, "cpu"), (False, "auto")])
def test_a_sort_on_the_cpu_asks_no_driver(uses_gpu: bool, device: str, driver: FakeDriver) -> None:
    driver.answer("hang=init")

    with sort_device(config(device), uses_gpu=uses_gpu, log=print) as (lease, doubts):
        assert (lease.device, doubts) == ("cpu", [])


@pytest.mark.usefixtures("card_in_slot")
def test_a_card_without_a_driver_is_said(driver: FakeDriver) -> None:
    driver.answer("init=12")

    with sort_device(config(), uses_gpu=True, log=print) as (lease, (doubt,)):
        assert lease.device == "cpu"

    assert "although this machine has a card of NVIDIA" in doubt.description


@pytest.mark.parametrize(
    ("engine", "needed_bytes", "parts"),
    [("local", 6 * 10**9, 2), ("local", 8 * 10**9, 1), ("local", None, 1), ("slurm", 6 * 10**9, 1)],
    ids=["fits", "too large", "not known", "an engine gives each sort a card"],
)
def test_two_sorts_share_a_card_where_somebody_wants_that_and_memory_allows(
    engine: str, needed_bytes: int | None, parts: int, driver: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.answer(A4000)
    monkeypatch.setenv("SORT_ASSETS_SORTS_PER_GPU", "2")
    monkeypatch.setenv("SORT_ASSETS_ENGINE", engine)

    with sort_device(config(), uses_gpu=True, log=print, needed_bytes=needed_bytes) as (lease, _):
        assert lease.parts == parts
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-a4000"
    monkeypatch.delenv("SORT_ASSETS_SORTS_PER_GPU")
    with sort_device(config(), uses_gpu=True, log=print, needed_bytes=needed_bytes) as (lease, _):
        assert lease.parts == 1


@pytest.mark.slow
def test_a_sort_for_which_its_part_of_a_card_was_too_small_runs_as_configured_on_all_of_it(
    ready: Ready, driver: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.answer(A4000)
    monkeypatch.setenv("SORT_ASSETS_SORTS_PER_GPU", "2")
    run_here, parts = MountainSort5Backend.run_here, list[int]()

    def in_little_memory(backend: MountainSort5Backend, *given: Any) -> None:
        parts.append(backend.gpu_parts)
        if backend.gpu_parts > 1:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        run_here(backend, *given)

    monkeypatch.setattr(MountainSort5Backend, "uses_gpu", True)  # as Kilosort, which takes much longer on the CPU
    monkeypatch.setattr(MountainSort5Backend, "memory_needed", lambda *_, **__: MemoryNeeded(gpu=10**9))
    monkeypatch.setattr(MountainSort5Backend, "run_here", in_little_memory)

    done = ready.home.materialize(ready.key, "sorting", config=IN_PROCESS)

    assert done.success
    assert parts == [2, 1]
    metadata = done.asset_materializations_for_node("sorting")[0].metadata
    assert metadata["degraded"].value is False
    assert "GpuShareTooSmallError" in str(metadata["failed_attempts"].value)


@pytest.mark.slow
def test_a_sort_with_kilosort_fails_before_it_starts_with_card_driver_reason_and_cure(
    ready: Ready, driver: FakeDriver
) -> None:
    driver.answer(f"{GTX_1080_TI};driver=470.256;cuda=11040", driver=11040)

    done = ready.home.materialize(ready.key, "sorting", config={"preset": "kilosort4"})

    assert not done.success
    (failure,) = [event.step_failure_data.user_failure_data for event in done.all_events if event.is_step_failure]
    assert failure is not None
    assert failure.description is not None
    for words in ("GTX 1080 Ti (driver 470.256, compute capability 6.1)", "needs CUDA 13.0", "525 or newer", "cu126"):
        assert words in failure.description


@pytest.mark.release
def test_the_result_of_a_sort_that_had_to_take_the_cpu_says_so(
    ready: Ready, driver: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.answer("init=999")
    monkeypatch.setattr(MountainSort5Backend, "uses_gpu", True)  # Kilosort takes much longer on the CPU
    allowed = {**IN_PROCESS, "execution": {**IN_PROCESS["execution"], "cpu_if_gpu_fails": True}}

    done = ready.home.materialize(ready.key, "sorting", config=allowed)

    assert done.success
    checks = {one.check_name: one for one in done.get_asset_check_evaluations()}
    assert not checks["preflight"].passed
    assert checks["preflight"].severity == dg.AssetCheckSeverity.WARN
    assert "Sorted on the CPU" in str(checks["preflight"].description)
    assert done.asset_materializations_for_node("sorting")[0].metadata["device"].value == "CPU"
