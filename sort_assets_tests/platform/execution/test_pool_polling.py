"""How soon a run notices what its steps do, with Dagster's executor as our runs use it."""

import multiprocessing
import time
from collections.abc import Iterator

from dagster._core.executor.child_process_executor import ChildProcessCommand, execute_child_process_command

from sort_assets.platform.execution.pool_polling import paused_pool_polling

EVENTS = 20


class Talks(ChildProcessCommand):
    """Has many events at once."""

    def execute(self) -> Iterator[str]:  # type: ignore[override]
        yield from ["event"] * EVENTS


class IsSilent(ChildProcessCommand):
    """Has one event, and then works for a while."""

    def execute(self) -> Iterator[str]:  # type: ignore[override]
        yield "begins"
        time.sleep(1.5)


def test_the_events_of_a_step_do_not_wait_for_another_step_that_is_silent() -> None:
    context = multiprocessing.get_context("fork")
    with paused_pool_polling():
        silent = execute_child_process_command(context, IsSilent())
        while next(silent) != "begins":
            pass
        talks, begin, seen = execute_child_process_command(context, Talks()), time.monotonic(), 0
        while seen < EVENTS:
            seen += next(talks) == "event"
            next(silent)
        took_s = time.monotonic() - begin
        for _ in talks:
            next(silent)
        for _ in silent:
            pass

    assert took_s < 1  # a quarter of a second for each event, if it waited for the silent one
