"""Pauses in the loops of Dagster's multiprocess executor, so that waiting runs leave the processor to sorts.

Two of its loops (1.13.27) are too fast for steps that take minutes to hours, and neither has a setting:

- While all steps that it could start wait for a full pool, it claims a slot again and again without a pause: a run
  that waits for the GPU takes a whole core from the sort that has it.
- It checks 50 times a second whether each step process is alive, which disturbs sorts whose threads wait for each
  other.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.executor import child_process_executor

_PAUSE_S = 0.1
_LIVENESS_CHECK_S = 0.25


@contextmanager
def paused_pool_polling() -> Iterator[None]:
    """Pause after each failed claim of a slot, and between checks whether a step process is alive, in this process.

    Events of steps are still handled immediately.
    """
    claim, tick = InstanceConcurrencyContext.claim, child_process_executor.TICK

    def claim_and_pause(context: InstanceConcurrencyContext, *args: Any, **named: Any) -> bool:
        claimed = claim(context, *args, **named)
        if not claimed:
            time.sleep(_PAUSE_S)
        return claimed

    InstanceConcurrencyContext.claim = claim_and_pause  # type: ignore[method-assign,assignment]
    child_process_executor.TICK = _LIVENESS_CHECK_S
    try:
        yield
    finally:
        InstanceConcurrencyContext.claim = claim  # type: ignore[method-assign]
        child_process_executor.TICK = tick
