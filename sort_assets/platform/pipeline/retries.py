"""Which failures are tried again, and how often.

Dagster counts all attempts of a step alike, crashes too. Here they are counted by what went wrong: running out of
memory, as often as the configuration says and only while something can take less; silence and passing trouble of a GPU,
once; crashes, as often as the configuration says; the time limit of an engine, once, with more time; a node that was
lost, a few times. Where another program uses the GPU, the sort waits before anything is lowered. Everything else would
go wrong again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import dagster as dg

from sort_assets.config import ExecutionConfig
from sort_assets.errors import (
    GPU_BYTES_OF_OTHERS,
    MEMORY_LIMIT_GB,
    GpuBusyError,
    GpuMemoryTakenError,
    GpuOverheatedError,
    GpuShareTooSmallError,
    JobLostError,
    NodeSetupError,
    OutOfMemoryError,
    SortAssetsError,
    SorterCrashedError,
    SorterTimeoutError,
    StepCrashedError,
    TimeLimitError,
    TransientGpuError,
)

CRASH_RETRIES = dg.RetryPolicy(max_retries=20, delay=2)
"""For assets. Dagster retries the crash of a step's process only with a policy, which counts all attempts alike; an
attempt that should not have followed ends as it starts (`Attempt.run`). All else says itself whether to retry."""

_CRASHES = (SorterCrashedError, StepCrashedError)
_ONCE = (SorterTimeoutError, TransientGpuError, GpuOverheatedError)
_OTHERS = (GpuBusyError, GpuMemoryTakenError)
_LOST = (JobLostError, NodeSetupError)
_LOST_MOST = 5
"""How often a step is tried on another node: what befell it there is no fault of its own, nor of the recording."""
_COOLING_S = 300.0
_WAITS_FOR_OTHERS_S = (300.0, 1200.0)
"""How long to wait, one after the other, for a program of somebody else to leave the GPU. Meanwhile neither a GPU nor a
slot of the pool is held."""


@dataclass(frozen=True)
class RetryDecision:
    """What follows a failed attempt.

    Attributes
    ----------
    retry : bool
        Whether another attempt follows.
    reason : str
        Why, or why not, as a sentence.
    wait_s : float
        How long to wait before it.
    """

    retry: bool
    reason: str
    wait_s: float = 0.0


def decide_retry(
    error: SortAssetsError, earlier: Sequence[SortAssetsError], execution: ExecutionConfig, *, reduced: bool
) -> RetryDecision:
    """Decide what follows a failed attempt.

    Parameters
    ----------
    error : SortAssetsError
        How it failed.
    earlier : sequence of SortAssetsError
        How the attempts before it failed.
    execution : ExecutionConfig
        How often to try.
    reduced : bool
        Whether a parameter that drives memory could be lowered for the next attempt.
    """
    wait = wait_for_others_s(error, earlier)
    if wait is not None:
        return RetryDecision(
            True, f"Another program uses the GPU; it is tried again in {wait / 60:g} minutes, as configured.", wait
        )
    if isinstance(error, _OTHERS) and not _began(error):
        return RetryDecision(False, "The other program did not leave the GPU.")
    if isinstance(error, GpuShareTooSmallError):
        return RetryDecision(True, "Its part of the GPU had too little memory; it is tried again with all of one.")
    if isinstance(error, OutOfMemoryError):
        ended = sum(MEMORY_LIMIT_GB in one.diagnostics for one in earlier)
        tried, most = len(failures_to_reduce_after(earlier)) + ended, execution.oom_retry_max
        if tried >= most:
            reason = f"{_times('Memory ran out', tried + 1)}, and execution.oom_retry_max is {most}."
            return RetryDecision(False, reason)
        if MEMORY_LIMIT_GB in error.diagnostics:
            return RetryDecision(True, f"Memory ran out; retry {tried + 1} of {most} asks the engine for more.")
        if not reduced:
            return RetryDecision(False, "No parameter is left that could take less memory in this stage.")
        return RetryDecision(True, f"Memory ran out; retry {tried + 1} of {most} takes less.")
    for kind in _ONCE:
        if isinstance(error, kind):
            if _count(earlier, kind):
                return RetryDecision(False, "It went wrong in the same way before.")
            wait_s = _COOLING_S if isinstance(error, GpuOverheatedError) else 0.0
            return RetryDecision(True, "This may pass; it is tried once more.", wait_s)
    if isinstance(error, TimeLimitError):
        if _count(earlier, TimeLimitError):
            return RetryDecision(False, "Twice the time was not enough.")
        return RetryDecision(True, "It is tried once more, with twice the time.")
    if isinstance(error, _LOST):
        lost = _count(earlier, _LOST)
        if lost >= _LOST_MOST:
            return RetryDecision(False, f"Its job was lost {lost + 1} times.")
        return RetryDecision(True, f"That was the node's fault or Slurm's; retry {lost + 1} of {_LOST_MOST}.")
    if isinstance(error, _CRASHES):
        crashes, most = _count(earlier, _CRASHES), execution.crash_retry_max
        if crashes >= most:
            reason = f"{_times('It crashed', crashes + 1)}, and execution.crash_retry_max is {most}."
            return RetryDecision(False, reason)
        return RetryDecision(True, f"A crash may pass; retry {crashes + 1} of {most}.")
    return RetryDecision(False, "Another attempt would fail in the same way.")


def wait_for_others_s(error: SortAssetsError, earlier: Sequence[SortAssetsError]) -> float | None:
    """How long to wait for another program to leave the GPU; None where none is to blame, or it did not go.

    Parameters
    ----------
    error : SortAssetsError
        How an attempt failed.
    earlier : sequence of SortAssetsError
        How the attempts before it failed.
    """
    waited = _count(earlier, _OTHERS)
    if not isinstance(error, _OTHERS) or waited >= len(_WAITS_FOR_OTHERS_S):
        return None
    return _WAITS_FOR_OTHERS_S[waited]


def failures_to_reduce_after(errors: Iterable[SortAssetsError]) -> list[OutOfMemoryError]:
    """Those of a run's failures, oldest first, after which the next attempt took less memory.

    Not those that only waited for another program, nor those before which the sort could not even begin; and not where
    an engine ended the step at the memory that it had asked for, or a part of a GPU had too little, since the next
    attempt gets more.
    """
    before: list[SortAssetsError] = []
    reducing: list[OutOfMemoryError] = []
    for error in errors:
        waited = wait_for_others_s(error, before) is not None or (isinstance(error, _OTHERS) and not _began(error))
        larger = isinstance(error, GpuShareTooSmallError) or MEMORY_LIMIT_GB in error.diagnostics
        if isinstance(error, OutOfMemoryError) and not waited and not larger:
            reducing.append(error)
        before.append(error)
    return reducing


def _began(error: SortAssetsError) -> bool:
    """Whether a sort met the other program while it computed: with less, it might have fitted."""
    return GPU_BYTES_OF_OTHERS in error.diagnostics


def _count(errors: Sequence[SortAssetsError], kinds: type | tuple[type, ...]) -> int:
    return sum(isinstance(error, kinds) for error in errors)


def _times(what: str, number: int) -> str:
    return f"{what} once" if number == 1 else f"{what} {number} times"
