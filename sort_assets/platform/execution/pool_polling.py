"""Waiting without taking the processor from those who work.

Two places in which Dagster's multiprocess executor (1.13.27) is in too much of a hurry for work that takes minutes to
hours; neither has a setting:

- It asks again without any pause while all that it could start waits for a full pool: a run that waits for the GPU
  takes a whole core from the sort that has it.
- It looks 50 times a second whether each step process is alive, which disturbs sorts whose threads wait for each
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
    """While this is active in a process, a failed claim of a slot and a look for liveness take a fraction of a second.

    Events of steps are still handled at once.
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
