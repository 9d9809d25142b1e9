"""Whether torch can compute on a card, and what is said where it can't. There is no GPU here.

Libraries stand for NVIDIA's driver, and a module for torch with CUDA (see `fixtures/fake_driver.py`): the process that
starts CUDA is the real one, and so are torch's table of its builds and the words of its errors.
"""

import time
from pathlib import Path

import pytest

from sort_assets.errors import (
    GpuBusyError,
    GpuDriverError,
    GpuMemoryTakenError,
    SortAssetsError,
    SorterEnvironmentError,
)
from sort_assets.machine import cuda_check, cuda_start
from sort_assets.machine.cuda_check import check_gpu, forget_that_it_works, inspect_gpu, start_on
from sort_assets.machine.cuda_reasons import CudaStart, explain, find_reason, may_pass
from sort_assets.machine.gpus import Gpu
from sort_assets_tests.fixtures.fake_driver import A4000, FakeDriver
from sort_assets_tests.machine.cards_by_drivers import CU126, DRIVERS, ROWS, Row


def card(
    name: str = "NVIDIA RTX A4000", capability: tuple[int, int] = (8, 6), cuda: int = 13000, driver: str = "580.95.05"
) -> Gpu:
    return Gpu(f"GPU-{name}", name, 16 * 2**30, 15 * 2**30, capability, driver, cuda, "default", False)


@pytest.mark.parametrize("row", [pytest.param(row, id=f"{row.card}-{row.driver}") for row in ROWS])
def test_each_card_with_each_driver_works_or_names_reason_and_cure(row: Row, driver: FakeDriver) -> None:
    row.in_slot(driver)

    reason = check_gpu(card(row.card, row.capability, DRIVERS[row.driver], row.driver))

    if row.reason is None:
        assert reason is None
        return
    assert type(reason) is GpuDriverError
    assert f"{row.card} (driver {row.driver}, compute capability" in reason.message
    assert row.reason in reason.message
    with pytest.raises(GpuDriverError, match=row.cure):
        raise reason
    assert "sorter.device to cpu" in reason.remedy


@pytest.mark.parametrize(
    ("code", "kind", "says", "cure"),
    [
        (46, GpuBusyError, "another program has it for itself", "--compute-mode=DEFAULT"),
        (2, GpuMemoryTakenError, r"other programs hold its memory \(15.0 GiB were free\)", "nvidia-smi"),
        (100, GpuDriverError, "CUDA does not see it", "nvidia-uvm"),
        (802, GpuDriverError, "system not yet initialized", "nvidia-fabricmanager"),
        (803, GpuDriverError, "of different versions", "Reboot: the driver was updated"),
        (999, GpuDriverError, "CUDA does not start", "Reboot"),
    ],
)
def test_what_the_driver_answers_has_its_own_reason_and_cure(
    code: int, kind: type[SortAssetsError], says: str, cure: str, driver: FakeDriver
) -> None:
    driver.answer(A4000, init=code)

    reason = check_gpu(card())

    assert type(reason) is kind
    with pytest.raises(kind, match=says):
        raise reason
    assert cure in reason.remedy


@pytest.mark.slow
def test_a_build_without_cuda_names_the_build_for_the_card(driver: FakeDriver, tmp_path: Path) -> None:
    driver.answer(A4000, torch=tmp_path)  # the real torch of the tests, which is one for the CPU
    start = start_on(card(capability=(6, 1), cuda=12040))
    if start.cuda is not None:
        pytest.skip("the torch of these tests has CUDA")

    reason = explain(card(capability=(6, 1), cuda=12040), start, "no cuda build")

    assert find_reason(start) == "no cuda build"
    assert "is a build without CUDA" in reason.message
    assert CU126 in reason.remedy


def test_a_torch_that_is_broken_is_no_fault_of_the_driver(driver: FakeDriver, tmp_path: Path) -> None:
    broken = tmp_path / "broken" / "torch"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('libcublas.so.13: cannot open shared object file')")
    (broken / "version.py").write_text("cuda = '13.0'")
    driver.answer(A4000, torch=broken.parent)

    reason = check_gpu(card())

    assert type(reason) is SorterEnvironmentError
    assert "libcublas.so.13" in reason.message
    assert "sorter.device" not in reason.remedy


def test_a_torch_that_takes_too_long_to_import_is_not_broken(
    driver: FakeDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "slow" / "torch"
    slow.mkdir(parents=True)
    (slow / "__init__.py").write_text("import time; time.sleep(60)")
    (slow / "version.py").write_text("cuda = '13.0'")
    driver.answer(A4000, torch=slow.parent)
    monkeypatch.setattr(cuda_check, "_LIMIT_S", 0.5)

    reason = check_gpu(card())

    assert type(reason) is SorterEnvironmentError
    assert "importing torch takes too long (nothing within 0.5 s)" in reason.message
    assert may_pass(reason)


def test_a_start_that_hangs_is_given_up(driver: FakeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    driver.answer(A4000, init="hang")
    monkeypatch.setattr(cuda_check, "_LIMIT_S", 2.0)  # that of the start itself is in another process
    start = time.monotonic()

    reason = check_gpu(card())

    assert time.monotonic() - start < 10
    assert reason is not None
    assert "the start of CUDA hangs" in reason.message
    assert cuda_start._LIMIT_S == 60


def test_what_is_found_not_to_work_is_not_trusted_afterwards(driver: FakeDriver) -> None:
    driver.answer(A4000)
    assert check_gpu(card()) is None
    driver.answer(A4000, init=999)

    assert check_gpu(card(), anew=True) is not None
    assert check_gpu(card()) is not None


def test_that_it_works_is_remembered_for_this_driver_and_card_and_trouble_is_not(driver: FakeDriver) -> None:
    driver.answer(A4000)
    assert check_gpu(card()) is None

    driver.answer(A4000, init=999)
    assert check_gpu(card()) is None
    assert check_gpu(card(), anew=True) is not None
    assert check_gpu(card(driver="590.10")) is not None
    assert check_gpu(card("another")) is not None

    driver.answer(A4000, init=0)
    assert check_gpu(card("another")) is None


def test_without_a_home_each_process_asks_once(driver: FakeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_: type[Path]) -> Path:
        raise RuntimeError("Could not determine home directory.")  # a number of a user that has no name

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", classmethod(nobody))
    driver.answer(A4000)
    assert check_gpu(card()) is None

    driver.answer(A4000, init=999)
    assert check_gpu(card()) is None

    forget_that_it_works()
    assert check_gpu(card()) is not None


def test_without_a_table_of_builds_the_cure_names_pytorch_s_page() -> None:
    start = CudaStart("2.9.0+cu130", "13.0", error="CUDA error: no kernel image is available for execution")

    assert "pytorch.org/get-started" in explain(card(), start, "no code").remedy


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("RuntimeError: Found no NVIDIA driver on your system. Please check", "no compute library"),
        ("Error 804: forward compatibility was attempted on non supported HW", "driver too old"),
        ("RuntimeError: CUDA error: MPS client failed to connect to the MPS control daemon", "mps"),
        ("RuntimeError: No CUDA GPUs are available", "not visible"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 MiB.", "memory taken"),
        ("AcceleratorError: CUDA error: uncorrectable ECC error encountered", "driver in trouble"),
    ],
)
def test_torch_s_words_have_their_reason(text: str, reason: str) -> None:
    assert find_reason(CudaStart("2.13.0+cu130", "13.0", error=text)) == reason


def test_before_a_sort_the_card_is_named_or_the_reason_is_the_error(driver: FakeDriver) -> None:
    driver.answer(A4000)
    (works,) = inspect_gpu("0")
    assert (works.level, works.description) == (
        "ok",
        "NVIDIA RTX A4000 (driver 580.95.05, compute capability 8.6)",
    )

    driver.answer(f"{A4000};driver=550.54.14;cuda=12040", driver=12040)
    (fails,) = inspect_gpu("0")
    assert isinstance(fails.error, GpuDriverError)
    assert inspect_gpu(None) == []

    driver.answer("init=18")
    (troubled,) = inspect_gpu("0")
    assert isinstance(troubled.error, GpuDriverError)
