"""Clocks that were read: a recording is opened by several processes, and its times are the same each time.

A clock that takes long to read is kept in the user's cache, too: to unpack the compressed timestamps of two hours takes
ten seconds of a processor, and a fault may lie in any of them.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

from sort_assets.machine.user_cache import user_cache
from sort_assets.recordings import clock, corrupt_times, jitter, polyline, sample_numbers, step_range, timestamps
from sort_assets.recordings.clock import Clock

WORTH_KEEPING_S = 0.5
"""Clocks that were read in less time are read again by the next process."""
_MOST = 64
_Key = tuple[str, str, float, int, int, int, int]
_clocks: OrderedDict[_Key, Clock] = OrderedDict()


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
    key = _key(path, name, rate_hz)
    if key not in _clocks:
        _clocks[key] = _kept(key) or _read(path, key, read)
        while len(_clocks) > _MOST:
            _clocks.popitem(last=False)
    return _clocks[key]


def _key(path: Path, name: str, rate_hz: float) -> _Key:
    stat = path.stat()
    # Nobody can set the time of the last change of a file's state, as copying tools set that of its content.
    return (str(path.resolve()), name, rate_hz, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


def _read(path: Path, key: _Key, read: Callable[[], Clock]) -> Clock:
    started = time.perf_counter()
    found = read()
    if time.perf_counter() - started > WORTH_KEEPING_S and _key(path, *key[1:3]) == key:
        _keep(key, found)
    return found


def _file(key: _Key) -> Path:
    digest = hashlib.sha256(json.dumps([_code(), *key]).encode()).hexdigest()[:32]
    return user_cache() / "clocks" / f"{digest}.json"


@cache
def _code() -> str:
    """Another text where clocks are read in another way than before."""
    modules = (clock, corrupt_times, jitter, polyline, sample_numbers, step_range, timestamps)
    return hashlib.sha256(b"".join(Path(str(module.__file__)).read_bytes() for module in modules)).hexdigest()


def _kept(key: _Key) -> Clock | None:
    try:
        return Clock.from_dict(json.loads(_file(key).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):  # not there, or no clock: it is read
        return None


def _keep(key: _Key, found: Clock) -> None:
    file = _file(key)
    # Not by the process's number: hosts may share the user's home.
    part = file.with_suffix(f".{uuid.uuid4().hex}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(found.to_dict()), encoding="utf-8")
        part.replace(file)
    except OSError:  # no room, or none that may be written to: the next process reads it again
        with suppress(OSError):
            part.unlink()
