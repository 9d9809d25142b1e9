"""What follows a failure, counted by what went wrong."""

import pytest

from sort_assets.config import ExecutionConfig
from sort_assets.errors import (
    BadChannelsError,
    DeviceOutOfMemoryError,
    DiskFullError,
    GpuOverheatedError,
    HostOutOfMemoryError,
    RecordingBusyError,
    SortAssetsError,
    SorterCrashedError,
    SorterEnvironmentError,
    SorterFailedError,
    SorterTimeoutError,
    StalledIoError,
    StepCrashedError,
    TransientGpuError,
    UnexpectedError,
)
from sort_assets.platform.pipeline.retries import decide_retry

EXECUTION = ExecutionConfig(oom_retry_max=2, crash_retry_max=2)


def of(kind: type[SortAssetsError]) -> SortAssetsError:
    return kind("It failed.", remedy="Mend it.")


GPU, HOST = of(DeviceOutOfMemoryError), of(HostOutOfMemoryError)
TIMEOUT, CRASH, STEP = of(SorterTimeoutError), of(SorterCrashedError), of(StepCrashedError)


@pytest.mark.parametrize(
    ("error", "earlier", "retry"),
    [
        (GPU, [], True),
        (GPU, [GPU], True),
        (GPU, [GPU, HOST], False),
        (HOST, [GPU], True),
        (GPU, [TIMEOUT, CRASH, STEP, GPU], True),  # what else went wrong takes nothing away
        (TIMEOUT, [], True),
        (TIMEOUT, [GPU, GPU, CRASH], True),
        (TIMEOUT, [TIMEOUT], False),
        (of(StalledIoError), [TIMEOUT], False),
        (of(StalledIoError), [of(StalledIoError)], False),
        (of(TransientGpuError), [], True),
        (of(TransientGpuError), [of(TransientGpuError)], False),
        (CRASH, [], True),
        (CRASH, [CRASH], True),
        (CRASH, [STEP], True),
        (CRASH, [CRASH, STEP], False),
        (CRASH, [GPU, GPU, TIMEOUT], True),
        (STEP, [STEP], True),
        (STEP, [CRASH, STEP], False),
    ],
)
def test_failures_are_counted_by_kind(error: SortAssetsError, earlier: list[SortAssetsError], retry: bool) -> None:
    decision = decide_retry(error, earlier, EXECUTION, reduced=True)

    assert decision.retry == retry
    assert decision.reason


def test_out_of_memory_is_not_retried_when_nothing_can_take_less() -> None:
    decision = decide_retry(GPU, [], EXECUTION, reduced=False)

    assert not decision.retry
    assert "No parameter is left" in decision.reason


@pytest.mark.parametrize(
    "kind",
    [
        BadChannelsError,
        DiskFullError,
        RecordingBusyError,
        SorterEnvironmentError,
        SorterFailedError,
        UnexpectedError,
    ],
)
def test_what_would_fail_again_is_not_retried(kind: type[SortAssetsError]) -> None:
    assert not decide_retry(of(kind), [], EXECUTION, reduced=True).retry


def test_a_hot_gpu_is_given_time_to_cool() -> None:
    assert decide_retry(of(GpuOverheatedError), [], EXECUTION, reduced=False).wait_s >= 60


def test_no_retries_are_no_retries() -> None:
    none = ExecutionConfig(oom_retry_max=0, crash_retry_max=0)

    assert not decide_retry(GPU, [], none, reduced=True).retry
    assert not decide_retry(CRASH, [], none, reduced=True).retry
