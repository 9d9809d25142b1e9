"""Which log the sort that runs inside this process writes."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_ACTIVE: ContextVar[Path | None] = ContextVar("sort_assets_active_log", default=None)


@contextmanager
def active_log(path: Path) -> Iterator[None]:
    """Name the log that the sorter writes inside of the block; an in-process watchdog follows it.

    Parameters
    ----------
    path : Path
        It need not exist yet.
    """
    token = _ACTIVE.set(path)
    try:
        yield
    finally:
        _ACTIVE.reset(token)


def active_log_path() -> Path | None:
    """The log that `active_log` named in this context; None outside."""
    return _ACTIVE.get()
