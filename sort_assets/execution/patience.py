"""Waiting for a pool slot without burning a core.

Dagster's multiprocess executor asks again without any pause while all that it could start waits for a full pool
(1.13.27: the interval that `InstanceConcurrencyContext` computes is never positive, and the executor does not look at
it). A run that waits for the GPU would take a whole core from the sort that has it.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext

_PAUSE_S = 0.1


@contextmanager
def patient_claims() -> Iterator[None]:
    """While this is active in a process, a claim of a pool slot that fails takes a tenth of a second."""
    claim = InstanceConcurrencyContext.claim

    def claim_and_pause(context: InstanceConcurrencyContext, *args: Any, **named: Any) -> bool:
        claimed = claim(context, *args, **named)
        if not claimed:
            time.sleep(_PAUSE_S)
        return claimed

    InstanceConcurrencyContext.claim = claim_and_pause  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        InstanceConcurrencyContext.claim = claim  # type: ignore[method-assign]
