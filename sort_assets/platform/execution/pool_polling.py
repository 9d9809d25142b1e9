"""How often Dagster's multiprocess executor looks around: waiting runs leave the processor to sorts, and start at once.

Two of its loops (1.13.27) are too fast for steps that take minutes to hours, one is too slow, and none has a setting:

- While all steps that it could start wait for a full pool, it claims a slot again and again without a pause: a run
  that waits for the GPU takes a whole core from the sort that has it.
- It asks 50 times a second whether there is an event of each step and whether its process is alive, which disturbs
  sorts whose threads wait for each other. Asked less often, it would notice the end of a step late while another one
  is silent: it takes one event of each step in turn. So it waits for an event of any step.
- A step that waits for a slot claims it ever more rarely, in the end every 15 seconds: for so long a free slot may stay
  unused.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.queues import Queue
from typing import Any
from weakref import WeakSet

from dagster._core.execution.plan import instance_concurrency_context
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.executor import child_process_executor

_PAUSE_S = 0.1
_LIVENESS_CHECK_S = 0.25
_LONGEST_WAIT_S = 1.5


@contextmanager
def paused_pool_polling() -> Iterator[None]:
    """Pause after each failed claim of a slot, but not for long, and wait for events of all steps at once.

    That holds for this process.

    Events of steps are still handled immediately.
    """
    claim, tick = InstanceConcurrencyContext.claim, child_process_executor.TICK
    longest_s = instance_concurrency_context.MAX_CONCURRENCY_CLAIM_BLOCKED_INTERVAL
    poll = child_process_executor._poll_for_event
    queues: WeakSet[Queue[Any]] = WeakSet()

    def claim_and_pause(context: InstanceConcurrencyContext, *args: Any, **named: Any) -> bool:
        claimed = claim(context, *args, **named)
        if not claimed:
            time.sleep(_PAUSE_S)
        return claimed

    def wait_and_poll(process: Any, event_queue: "Queue[Any]") -> Any:
        queues.add(event_queue)
        readers = [queue._reader for queue in queues]  # type: ignore[attr-defined]
        wait([reader for reader in readers if not reader.closed], _LIVENESS_CHECK_S)
        return poll(process, event_queue)

    InstanceConcurrencyContext.claim = claim_and_pause  # type: ignore[method-assign,assignment]
    instance_concurrency_context.MAX_CONCURRENCY_CLAIM_BLOCKED_INTERVAL = _LONGEST_WAIT_S  # type: ignore[assignment]
    child_process_executor.TICK = 0.0
    child_process_executor._poll_for_event = wait_and_poll
    try:
        yield
    finally:
        InstanceConcurrencyContext.claim = claim  # type: ignore[method-assign]
        instance_concurrency_context.MAX_CONCURRENCY_CLAIM_BLOCKED_INTERVAL = longest_s
        child_process_executor.TICK = tick
        child_process_executor._poll_for_event = poll
