"""Finding devices. There is no GPU here: a library stands for NVIDIA's, and answers what each test says."""

import time
from pathlib import Path

import pytest

from sort_assets.errors import GpuDriverError
from sort_assets.machine import gpus
from sort_assets.machine.gpus import Gpu, find_gpus, list_gpus, select_visible
from sort_assets_tests.fixtures.fake_driver import A4000, GTX_1080_TI, FakeDriver

GPUS = [Gpu("GPU-aaaa", "first", 1), Gpu("GPU-bbbb", "second", 1)]
SLICES = [Gpu("MIG-1", "slice", 1, parent="GPU-aaaa"), Gpu("MIG-2", "slice", 1, parent="GPU-aaaa"), GPUS[1]]


def test_a_mig_slice_is_a_device_of_its_own() -> None:
    assert select_visible(GPUS, "MIG-cccc") == [Gpu("MIG-cccc", "MIG slice", 0)]
    assert select_visible(GPUS, "1, MIG-GPU-aaaa/7/0") == [GPUS[1], Gpu("MIG-GPU-aaaa/7/0", "MIG slice", 0)]
    assert select_visible(GPUS, "9,MIG-cccc") == []


def test_of_a_card_in_slices_its_index_and_its_uuid_name_the_first_as_in_cuda() -> None:
    assert select_visible(SLICES, "0") == select_visible(SLICES, "GPU-aa") == [SLICES[0]]
    assert select_visible(SLICES, "MIG-2,1") == [SLICES[1], GPUS[1]]


def test_a_card_tells_what_decides_whether_torch_can_use_it(driver: FakeDriver) -> None:
    driver.answer(f"driver=550.54.14;cuda=12040;{A4000};mode=0:3")

    assert find_gpus() == [
        Gpu(
            uuid="GPU-a4000",
            name="NVIDIA RTX A4000",
            memory_bytes=16 * 2**30,
            free_bytes=15 * 2**30,
            compute_capability=(8, 6),
            driver="550.54.14",
            cuda_driver=12040,
            compute_mode="exclusive",
            persistence=False,
        )
    ]


def test_the_slices_of_a_card_stand_for_it(driver: FakeDriver) -> None:
    driver.answer(
        f"gpu=NVIDIA A100,GPU-a100,40,0,8.0;mig=0,NVIDIA A100 MIG 1g.5gb,MIG-1,5;mig=0,second,MIG-2,5;{A4000}"
    )

    found = find_gpus()

    assert [(one.uuid, one.parent) for one in found] == [
        ("MIG-1", "GPU-a100"),
        ("MIG-2", "GPU-a100"),
        ("GPU-a4000", ""),
    ]
    assert (found[0].memory_bytes, found[0].compute_capability) == (5 * 2**30, (8, 0))


@pytest.mark.parametrize(
    ("words", "says", "remedy"),
    [
        ("handle=0:15", "GPU 0 can't be used: GPU is lost (NVML error 15).", "Xid"),
        ("mode=0:2", "compute mode is 'prohibited'", "--compute-mode=DEFAULT"),
    ],
)
def test_a_card_in_trouble_says_so_and_hides_no_other(words: str, says: str, remedy: str, driver: FakeDriver) -> None:
    driver.answer(f"{GTX_1080_TI};{A4000};{words}")

    assert [one.uuid for one in find_gpus()] == ["GPU-a4000"]
    (troubled, _) = list_gpus()
    assert says in troubled.trouble
    assert remedy in troubled.remedy


def test_cards_of_others_count_as_little_as_in_cuda(driver: FakeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    # A Slurm job that was given the second card: its first, and only one.
    driver.answer(f"{GTX_1080_TI};{A4000};handle=0:4")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")

    assert [one.uuid for one in list_gpus()] == ["GPU-a4000"]


def test_whoever_hides_all_cards_does_not_wait_for_their_driver(
    driver: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.answer("init=18")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "NoDevFiles")

    assert find_gpus() == []


def test_a_python_that_starts_slowly_is_no_driver_that_hangs(
    driver: FakeDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import time; time.sleep(1.5)")
    driver.answer(A4000, torch=tmp_path)
    monkeypatch.setattr(gpus, "_LIMIT_S", 1.0)

    assert [one.uuid for one in find_gpus()] == ["GPU-a4000"]


def test_where_no_card_may_be_used_that_is_a_failure(driver: FakeDriver) -> None:
    driver.answer(f"{A4000};handle=0:4")

    with pytest.raises(GpuDriverError, match=r"Insufficient Permissions.*/dev/nvidia\*"):
        find_gpus()


def test_a_library_that_is_gone_while_the_driver_is_loaded_is_trouble_but_not_in_a_container(
    driver: FakeDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.answer("init=12")  # an update has removed it, and not yet put the new one there
    monkeypatch.setattr(gpus, "_MODULE", tmp_path)
    monkeypatch.setattr(gpus, "sees_host_pids", lambda: True)

    with pytest.raises(GpuDriverError, match=r"libnvidia-ml\.so\.1 is not found"):
        find_gpus()

    monkeypatch.setattr(gpus, "sees_host_pids", lambda: False)
    assert find_gpus() == []


def test_where_all_cards_are_in_trouble_that_is_a_failure(driver: FakeDriver) -> None:
    driver.answer(f"{GTX_1080_TI};{A4000};handle=0:15;handle=1:15")

    with pytest.raises(GpuDriverError, match=r"GPU 0 .*GPU 1 .*Reboot"):
        find_gpus()


def test_a_card_that_hides_its_memory_is_still_found(driver: FakeDriver) -> None:
    driver.answer(f"{A4000};mem=3")

    (found,) = find_gpus()

    assert (found.memory_bytes, found.free_bytes) == (0, None)


@pytest.mark.parametrize(
    ("code", "says", "remedy"),
    [(18, "mismatch", "Reboot: the driver was updated"), (999, "NVML error 999", "restart the container")],
)
def test_a_driver_in_trouble_is_a_failure_with_its_words(code: int, says: str, remedy: str, driver: FakeDriver) -> None:
    driver.answer(f"{A4000};init={code}")

    with pytest.raises(GpuDriverError, match=says) as caught:
        find_gpus()

    assert remedy in caught.value.remedy
    assert "sorter.device to cpu" in caught.value.remedy


@pytest.mark.parametrize(
    ("words", "says"),
    [("init=9", "NVML error 9"), ("", "finds no card that it can use")],  # its kernel module is not loaded; it is
)
def test_a_driver_that_is_installed_without_a_card_is_no_trouble(
    words: str, says: str, driver: FakeDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.answer(words)
    monkeypatch.setattr(gpus, "_PCI", tmp_path)

    assert find_gpus() == []

    card = tmp_path / "0000:01:00.0"
    card.mkdir()
    (card / "vendor").write_text("0x10de\n")
    (card / "class").write_text("0x030000\n")
    with pytest.raises(GpuDriverError, match=says):
        find_gpus()


def test_without_nvidia_s_library_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    monkeypatch.setattr(gpus, "_LIMIT_S", 30.0)
    if Path("/dev/nvidiactl").exists():
        pytest.skip("there is a GPU here")

    assert find_gpus() == []


def test_a_driver_that_hangs_is_given_up_after_a_while(driver: FakeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    driver.answer(f"{A4000};hang=handle")
    monkeypatch.setattr(gpus, "_LIMIT_S", 0.5)
    start = time.monotonic()

    with pytest.raises(GpuDriverError, match="does not answer"):
        find_gpus()

    assert time.monotonic() - start < 5
