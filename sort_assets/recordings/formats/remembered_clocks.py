"""Clocks that this process has read: a recording is opened several times, and its times are the same each time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from sort_assets.recordings.clock import Clock

_MOST = 64
_clocks: OrderedDict[tuple[str, str, float, int, int, int], Clock] = OrderedDict()


def remembered_clock(path: Path, name: str, rate_hz: float, read: Callable[[], Clock]) -> Clock:
    """The clock of a file that did not change since it was read; else it is read.

    Parameters
    ----------
    path : Path
        The file that holds numbers or timestamps.
    name : str
        Of the data set in it.
    rate_hz : float
        Nominal samples per second.
    read : callable
        Reads it.
    """
    stat = path.stat()
    key = (str(path), name, rate_hz, stat.st_ino, stat.st_size, stat.st_mtime_ns)
    if key not in _clocks:
        _clocks[key] = read()
        while len(_clocks) > _MOST:
            _clocks.popitem(last=False)
    return _clocks[key]
