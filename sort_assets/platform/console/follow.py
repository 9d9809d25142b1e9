"""Saying what happens while `sort-assets up` runs, from a thread of its own.

It takes at most a third of a percent of a core: after a look that cost more than usual, the next one waits for longer.
Whatever goes wrong in it is said once, and disturbs nothing else.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol

import dagster as dg

from sort_assets.config.settings import Roots
from sort_assets.platform.console.arrival_news import ArrivalNews
from sort_assets.platform.console.news import News, format_news
from sort_assets.platform.console.run_news import RunNews
from sort_assets.platform.execution.home import open_instance
from sort_assets.platform.store.store import Store

_EVERY_S = 2.0
_LONGEST_PAUSE_S = 30.0
_PAUSE_PER_CPU_S = 300.0
_END_S = 2.0


class _Source(Protocol):
    def read(self) -> list[News]: ...


@contextmanager
def follow(roots: Roots, say: Callable[[str], None]) -> Iterator[None]:
    """Say what happens to recordings, a line each.

    Parameters
    ----------
    roots : Roots
    say : callable
        Called with each line, in a thread.
    """
    ended = threading.Event()
    thread = threading.Thread(target=_go_on, args=(roots, say, ended), daemon=True, name="console")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(_END_S)  # it may be waiting for the database


def _go_on(roots: Roots, say: Callable[[str], None], ended: threading.Event) -> None:
    sources: dict[str, _Source] = {}
    troubles: dict[str, str] = {}
    instance: dg.DagsterInstance | None = None
    with ExitStack() as held:
        while not ended.is_set():
            began = time.thread_time()
            news: list[News] = []
            with _told_once(say, "What Dagster and the catalogue say", troubles):
                if not sources:
                    # One of its own, so that nothing else waits for the locks in it.
                    instance = instance or held.enter_context(open_instance())
                    arrivals = ArrivalNews(instance, roots)
                    sources = {
                        "What arrives": arrivals,
                        "What happens in runs": RunNews(instance, Store(roots.store)),
                    }
                    say(arrivals.summary())
            for what, source in sources.items():
                with _told_once(say, what, troubles):
                    news += source.read()
            for line in format_news(news):
                say(line)
            pause_s = _PAUSE_PER_CPU_S * (time.thread_time() - began)
            ended.wait(min(_LONGEST_PAUSE_S, max(_EVERY_S, pause_s)))


@contextmanager
def _told_once(say: Callable[[str], None], what: str, troubles: dict[str, str]) -> Iterator[None]:
    """Say an error when it begins, and when it is over."""
    try:
        yield
    except Exception as error:  # whatever it is, the servers continue, and so does this
        if not troubles.get(what):
            say(
                f"{what} can't be read at this moment, and it is tried again and again: {type(error).__name__}: {error}"
            )
        troubles[what] = str(error) or "?"
    else:
        if troubles.pop(what, ""):
            say(f"{what} can be read again.")
