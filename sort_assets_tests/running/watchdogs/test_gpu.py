"""The watchdogs of a GPU. There is none here: an object with NVML's functions stands in its place."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pynvml
import pytest

from sort_assets.errors import DeviceOutOfMemoryError, GpuOverheatedError, SorterTimeoutError
from sort_assets.machine import gpu_sensors, pid_namespace
from sort_assets.machine.gpu_sensors import NoGpuError, NvmlSilentError, ask_bounded, open_gpu
from sort_assets.machine.gpus import visible_gpu
from sort_assets.running.audit import AuditLog
from sort_assets.running.termination import ProcessGroupTerminator
from sort_assets.running.watchdogs.activity import ProcessActivity
from sort_assets.running.watchdogs.gpu import GpuMemoryWatchdog, GpuTemperatureWatchdog
from sort_assets.running.watchdogs.log_inactivity import LogInactivityWatchdog
from sort_assets_tests.fixtures.fake_driver import A4000, FakeDriver
from sort_assets_tests.running.conftest import Start
from sort_assets_tests.running.watchdogs.events import names

HANGS = "import time; print('ready', flush=True); time.sleep(600)"
UUIDS = ["GPU-aaaa", "GPU-bbbb"]
WATCHES_WHILE_NVML_HANGS = """
import subprocess, sys
from pathlib import Path
from sort_assets.config import ExecutionConfig
from sort_assets.errors import SorterTimeoutError
from sort_assets.machine import gpu_sensors
from sort_assets.running.audit import AuditLog
from sort_assets.running.termination import ProcessGroupTerminator
from sort_assets.running.watchdogs.sort_watchdogs import sort_watchdogs
folder = Path(sys.argv[1])
gpu_sensors._LIMIT_S = 0.5
with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True) as sorter:
    watchdogs = sort_watchdogs(
        ExecutionConfig(), pid=sorter.pid, log_paths=[folder / "log"], output_folder=folder, tolerance_s=2.0,
        terminator=ProcessGroupTerminator(sorter, 1), audit=AuditLog(folder / "audit.jsonl"), gpu="GPU-a4000",
    )
    (folder / "hangs").touch()
    try:
        with watchdogs:
            raise ChildProcessError(sorter.wait(60))
    except SorterTimeoutError as error:
        print(error.message)
"""


@dataclass
class Memory:
    used: int
    total: int


@dataclass
class Utilisation:
    gpu: int


@dataclass
class Sample:
    """Of `nvmlDeviceGetProcessUtilization`."""

    pid: int
    smUtil: int  # noqa: N815 - NVML's name
    timeStamp: int  # noqa: N815


class FakeNvml:
    """NVML with two devices; its handles are their UUIDs, or a MIG slice's."""

    NVMLError = pynvml.NVMLError
    NVML_TEMPERATURE_GPU = 0
    NVML_ERROR_NOT_FOUND = pynvml.NVML_ERROR_NOT_FOUND

    def __init__(self, *, temperature_c: int = 60, used_percent: int = 50, utilisation_percent: int = 0) -> None:
        self.temperature_c = temperature_c
        self.used_percent = used_percent
        self.utilisation_percent = utilisation_percent
        self.asked: list[str] = []
        self.samples: list[Sample] = []

    def nvmlInit(self) -> None:  # noqa: N802 - NVML's names
        pass

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(UUIDS)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:  # noqa: N802
        return UUIDS[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        return uuid

    def nvmlDeviceGetUUID(self, handle: str) -> str:  # noqa: N802
        return handle

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, handle: str) -> str:  # noqa: N802
        return f"device of {handle}"

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> Memory:  # noqa: N802
        self.asked.append(handle)
        return Memory(used=self.used_percent * 10**8, total=10**10)

    def nvmlDeviceGetTemperature(self, handle: str, sensor: int) -> int:  # noqa: N802
        self.asked.append(handle)
        return self.temperature_c

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> Utilisation:  # noqa: N802
        return Utilisation(self.utilisation_percent)

    def nvmlDeviceGetProcessUtilization(self, handle: str, since: int) -> list[Sample]:  # noqa: N802
        found = [sample for sample in self.samples if sample.timeStamp > since]
        if not found:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return found


class NoDriver(FakeNvml):
    def nvmlInit(self) -> None:  # noqa: N802
        raise pynvml.NVMLError(pynvml.NVML_ERROR_DRIVER_NOT_LOADED)


class LostGpu(FakeNvml):
    def nvmlDeviceGetTemperature(self, handle: str, sensor: int) -> int:  # noqa: N802
        self.asked.append(handle)
        raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)


class OldGpu(FakeNvml):
    """Does not tell who computes."""

    def nvmlDeviceGetProcessUtilization(self, handle: str, since: int) -> list[Sample]:  # noqa: N802
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)


class Slice(OldGpu):
    def nvmlDeviceGetUtilizationRates(self, handle: str) -> Utilisation:  # noqa: N802
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)


def temperature(process: "subprocess.Popen[str]", nvml: Any, audit: AuditLog, gpu: str = "0") -> GpuTemperatureWatchdog:
    return GpuTemperatureWatchdog(
        gpu, 95.0, ProcessGroupTerminator(process, 5), interval_s=0.02, audit=audit, nvml=nvml
    )


def memory(
    process: "subprocess.Popen[str]", nvml: Any, audit: AuditLog, max_percent: float | None
) -> GpuMemoryWatchdog:
    terminator = ProcessGroupTerminator(process, 5)
    return GpuMemoryWatchdog("GPU-bbbb", max_percent, terminator, interval_s=0.02, audit=audit, nvml=nvml)


def wait_for(process: "subprocess.Popen[str]", seconds: float = 30) -> None:
    try:
        raise ChildProcessError(process.wait(timeout=seconds))
    except subprocess.TimeoutExpired:
        return


def test_a_gpu_that_is_too_hot_ends_the_sorter(start: Start, audit: AuditLog) -> None:
    process = start(HANGS)

    with (
        pytest.raises(GpuOverheatedError, match="101 °C") as caught,
        temperature(process, FakeNvml(temperature_c=101), audit),
    ):
        wait_for(process)

    assert caught.value.diagnostics == {"gpu": "0", "temperature_c": 101.0, "max_c": 95.0}


def test_a_gpu_that_is_warm_does_not(start: Start, audit: AuditLog) -> None:
    process = start(HANGS)

    with temperature(process, FakeNvml(temperature_c=95), audit) as guard:
        wait_for(process, 0.3)

    assert guard.tripped is None


def test_a_full_gpu_ends_the_sorter_only_where_a_maximum_is_set(start: Start, audit: AuditLog) -> None:
    process = start(HANGS)

    with memory(process, FakeNvml(used_percent=99), audit, None) as guard:
        wait_for(process, 0.3)
    assert guard.tripped is None
    assert names(audit) == ["gpu_memory: nearly full"]

    with (
        pytest.raises(DeviceOutOfMemoryError) as caught,
        memory(process, FakeNvml(used_percent=99), audit, 98.0),
    ):
        wait_for(process)
    assert caught.value.diagnostics["used_bytes"] == 99 * 10**8


@pytest.mark.parametrize(
    ("gpu", "nvml", "reason"),
    [(None, FakeNvml(), "uses no GPU"), ("0", NoDriver(), "Driver"), ("7", FakeNvml(), "no GPU 7")],
)
def test_without_nvml_or_a_device_nothing_is_watched_and_that_is_said_once(
    gpu: str | None, nvml: FakeNvml, reason: str, start: Start, audit: AuditLog
) -> None:
    process = start(HANGS)

    with GpuTemperatureWatchdog(gpu, 1.0, ProcessGroupTerminator(process, 5), interval_s=0.02, audit=audit, nvml=nvml):
        wait_for(process, 0.2)

    assert names(audit) == ["gpu_temperature: not watching"]
    assert reason in audit.path.read_text()


def test_without_a_driver_the_real_library_is_a_no_op_too(start: Start, audit: AuditLog) -> None:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        pass
    else:
        pytest.skip("there is a GPU here")
    process = start(HANGS)

    with temperature(process, None, audit) as guard:
        wait_for(process, 0.2)

    assert guard.tripped is None
    assert names(audit) == ["gpu_temperature: not watching"]


def test_a_look_that_fails_is_noted_once_and_the_next_ones_happen(start: Start, audit: AuditLog) -> None:
    process = start(HANGS)
    nvml = LostGpu()

    with temperature(process, nvml, audit) as guard:
        wait_for(process, 0.5)

    assert guard.tripped is None
    assert process.poll() is None
    assert len(nvml.asked) > 3
    assert names(audit) == ["gpu_temperature: check failed: NVMLError_GpuIsLost"]


@pytest.mark.parametrize(
    ("gpu", "asked"),
    [
        ("1", "GPU-bbbb"),
        ("GPU-bb", "GPU-bbbb"),
        ("GPU-bbbb,GPU-aaaa", "GPU-bbbb"),
        ("MIG-cccc", "device of MIG-cccc"),
    ],
)
def test_a_device_is_named_as_cuda_does(gpu: str, asked: str) -> None:
    nvml = FakeNvml()

    open_gpu(gpu, nvml).temperature_c()

    assert nvml.asked == [asked]


def test_a_name_that_fits_no_device_is_refused() -> None:
    with pytest.raises(NoGpuError, match="GPU-dddd"):
        open_gpu("GPU-dddd", FakeNvml())


@pytest.mark.parametrize(
    ("hang", "noted"),
    [("init", "gpu_memory: not watching"), ("util;hangfile={folder}/hangs", "log_inactivity: gpu does not answer")],
)
def test_a_silent_sorter_is_ended_although_nvml_hangs(
    hang: str, noted: str, driver: FakeDriver, tmp_path: Path
) -> None:
    driver.answer(f"{A4000};hang={hang.format(folder=tmp_path)}")
    start = time.monotonic()

    done = subprocess.run(
        [sys.executable, "-c", WATCHES_WHILE_NVML_HANGS, str(tmp_path)],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip

    assert "no sign of life" in done.stdout
    assert noted in names(AuditLog(tmp_path / "audit.jsonl"))
    assert time.monotonic() - start < 30


def test_what_is_asked_while_nvml_hangs_is_refused_at_once_until_it_answers_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gpu_sensors, "_LIMIT_S", 0.1)
    answers = threading.Event()
    with pytest.raises(NvmlSilentError):
        ask_bounded(answers.wait)
    monkeypatch.setattr(gpu_sensors, "_LIMIT_S", 60.0)

    with pytest.raises(NvmlSilentError):
        ask_bounded(lambda: 1)

    answers.set()
    while True:
        with contextlib.suppress(NvmlSilentError):
            assert ask_bounded(lambda: 2) == 2
            break


@pytest.fixture
def host_pids(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine whose pids NVML reports: the tests may run in a container."""
    monkeypatch.setattr(pid_namespace, "HOST_PIDS", str(Path("/proc/self/ns/pid").readlink()))


@pytest.mark.usefixtures("host_pids")
def test_a_gpu_that_computes_for_the_sorter_is_a_sign_of_life_but_not_of_a_stopped_process(start: Start) -> None:
    process = start(HANGS)
    fake = FakeNvml()
    activity = ProcessActivity(process.pid, gpu=open_gpu("0", fake))

    fake.samples = [Sample(process.pid, 1, 1000), Sample(process.pid, 80, 2000)]
    seen = activity.since_last_check()
    assert (seen.gpu_percent, seen.gpu_of_all, seen.alive) == (80, False, True)

    assert activity.since_last_check().gpu_percent == 0  # no sample counts twice
    fake.samples.append(Sample(process.pid, 3, 3000))
    time.sleep(0.3)
    assert not activity.since_last_check().alive  # so much is a desktop's

    process.send_signal(signal.SIGSTOP)
    while psutil.Process(process.pid).status() != psutil.STATUS_STOPPED:
        time.sleep(0.01)
    fake.samples.append(Sample(process.pid, 80, 4000))
    assert not activity.since_last_check().alive


@pytest.mark.usefixtures("host_pids")
def test_a_gpu_that_computes_for_somebody_else_is_no_sign_of_life(start: Start, audit: AuditLog) -> None:
    process = start(HANGS)
    fake = FakeNvml(utilisation_percent=100)
    fake.samples = [Sample(os.getpid(), 100, microseconds) for microseconds in range(1, 10_000)]
    activity = ProcessActivity(process.pid, gpu=open_gpu("0", fake))
    terminator = ProcessGroupTerminator(process, 5)
    silence = LogInactivityWatchdog([], 0.5, terminator, activity=activity, audit=audit, interval_s=0.05)

    with pytest.raises(SorterTimeoutError), silence:
        wait_for(process)


@pytest.mark.usefixtures("host_pids")
def test_where_nvml_can_t_tell_who_computes_everybody_counts_and_that_is_said(start: Start, audit: AuditLog) -> None:
    process = start(HANGS)
    activity = ProcessActivity(process.pid, gpu=open_gpu("0", OldGpu(utilisation_percent=80)))
    terminator = ProcessGroupTerminator(process, 5)
    silence = LogInactivityWatchdog([], 0.3, terminator, activity=activity, audit=audit, interval_s=0.05)

    with silence:
        wait_for(process, 0.8)

    assert silence.tripped is None
    assert names(audit) == ["log_inactivity: gpu of all programs"]


def test_in_a_container_nvml_s_pids_are_not_ours_and_everybody_counts(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pid_namespace, "HOST_PIDS", "pid:[1]")
    activity = ProcessActivity(start(HANGS).pid, gpu=open_gpu("0", FakeNvml(utilisation_percent=80)))

    seen = activity.since_last_check()

    assert (seen.gpu_percent, seen.gpu_of_all) == (80, True)


def test_a_slice_whose_use_nobody_knows_is_no_sign_of_life(start: Start) -> None:
    activity = ProcessActivity(start(HANGS).pid, gpu=open_gpu("0", Slice()))
    time.sleep(0.3)

    seen = activity.since_last_check()

    assert seen.gpu_percent is None
    assert not seen.alive


@pytest.mark.parametrize(
    ("visible", "gpu"),
    [
        (None, "0"),
        ("GPU-bbbb,GPU-aaaa", "GPU-bbbb"),
        (" 1 , 0", "1"),
        ("", None),
        ("-1", None),
        ("-1,0", None),
        ("NoDevFiles", None),
    ],
)
def test_the_first_visible_device_is_the_one_that_is_used(
    visible: str | None, gpu: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    assert visible_gpu() == gpu
