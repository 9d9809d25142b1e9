"""What follows a failure, counted by what went wrong."""

import pytest

from sort_assets.config import ExecutionConfig
from sort_assets.errors import (
    MEMORY_LIMIT_GB,
    BadChannelsError,
    DeviceOutOfMemoryError,
    DiskFullError,
    GpuBusyError,
    GpuMemoryTakenError,
    GpuOverheatedError,
    GpuShareTooSmallError,
    HostOutOfMemoryError,
    JobLostError,
    RecordingBusyError,
    SortAssetsError,
    SorterCrashedError,
    SorterEnvironmentError,
    SorterFailedError,
    SorterTimeoutError,
    StalledIoError,
    StepCrashedError,
    TimeLimitError,
    TransientGpuError,
    UnexpectedError,
)
from sort_assets.platform.pipeline.failure_rendering import why_lowered
from sort_assets.platform.pipeline.retries import decide_retry, failures_to_reduce_after

EXECUTION = ExecutionConfig(oom_retry_max=2, crash_retry_max=2)


def of(kind: type[SortAssetsError]) -> SortAssetsError:
    return kind("It failed.", remedy="Mend it.")


GPU, HOST = of(DeviceOutOfMemoryError), of(HostOutOfMemoryError)
ENDED = HostOutOfMemoryError("Slurm job 7 is OUT_OF_MEMORY.", remedy="Launch it again.", **{MEMORY_LIMIT_GB: 16})
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


TAKEN = GpuMemoryTakenError("It failed.", remedy="Mend it.", gpu_bytes_of_others=17 * 2**30)
NO_ROOM_TO_BEGIN, BUSY = of(GpuMemoryTakenError), of(GpuBusyError)


def test_where_another_program_holds_the_gpu_the_sort_waits_before_anything_is_lowered() -> None:
    waits = [decide_retry(TAKEN, [TAKEN] * count, EXECUTION, reduced=True) for count in range(3)]

    assert [one.wait_s for one in waits] == [300, 1200, 0]
    assert all(one.retry for one in waits)
    assert "as configured" in waits[1].reason
    assert "takes less" in waits[2].reason
    assert failures_to_reduce_after([TAKEN, TAKEN]) == []
    assert failures_to_reduce_after([TAKEN, GPU, TAKEN, TAKEN]) == [GPU, TAKEN]


def test_a_result_with_lowered_parameters_names_the_program_that_held_the_memory() -> None:
    scaled = {"sorter.params.batch_size": [60000, 30000]}

    assert why_lowered(scaled, [TAKEN, TAKEN, TAKEN]).endswith("Another program held the GPU's memory. It failed.")
    assert why_lowered(scaled, [TAKEN, GPU]).endswith("batch_size 60000 -> 30000.")


def test_waiting_for_others_takes_no_retry_from_memory() -> None:
    assert decide_retry(GPU, [TAKEN, TAKEN, GPU], EXECUTION, reduced=True).retry
    assert not decide_retry(TAKEN, [TAKEN, TAKEN, GPU, GPU], EXECUTION, reduced=True).retry


@pytest.mark.parametrize("error", [BUSY, NO_ROOM_TO_BEGIN])
def test_a_gpu_that_another_program_does_not_leave_is_a_failure_in_the_end(error: SortAssetsError) -> None:
    decisions = [decide_retry(error, [error] * count, EXECUTION, reduced=True) for count in range(3)]

    assert [(one.retry, one.wait_s) for one in decisions] == [(True, 300), (True, 1200), (False, 0)]
    assert failures_to_reduce_after([error] * 4) == []


def test_after_too_small_a_part_of_a_gpu_a_sort_gets_all_of_one_at_once_instead_of_taking_less() -> None:
    part = of(GpuShareTooSmallError)

    decision = decide_retry(part, [], EXECUTION, reduced=False)

    assert decision.retry
    assert decision.wait_s == 0
    assert failures_to_reduce_after([part, GPU]) == [GPU]
    assert [decide_retry(GPU, [part, GPU], EXECUTION, reduced=True).retry] == [True]


def test_no_retries_are_no_retries() -> None:
    none = ExecutionConfig(oom_retry_max=0, crash_retry_max=0)

    assert not decide_retry(GPU, [], none, reduced=True).retry
    assert not decide_retry(CRASH, [], none, reduced=True).retry


def test_after_an_engine_ended_it_for_memory_a_step_gets_more_instead_of_taking_less() -> None:
    decision = decide_retry(ENDED, [], EXECUTION, reduced=False)

    assert decision.retry
    assert "asks the engine for more" in decision.reason
    assert failures_to_reduce_after([ENDED, HOST]) == [HOST]


def test_more_memory_is_asked_for_as_often_as_less_is_taken() -> None:
    assert decide_retry(ENDED, [ENDED], EXECUTION, reduced=True).retry
    assert not decide_retry(ENDED, [ENDED, HOST], EXECUTION, reduced=True).retry


def test_a_lost_node_is_no_crash_of_the_step() -> None:
    lost, no_crashes = of(JobLostError), EXECUTION.model_copy(update={"crash_retry_max": 0})

    assert decide_retry(lost, [lost] * 4, no_crashes, reduced=False).retry
    assert not decide_retry(lost, [lost] * 5, no_crashes, reduced=False).retry


def test_after_the_time_limit_of_an_engine_one_attempt_gets_more_time() -> None:
    limit = of(TimeLimitError)

    assert decide_retry(limit, [TIMEOUT], EXECUTION, reduced=False).retry
    assert not decide_retry(limit, [limit], EXECUTION, reduced=False).retry
