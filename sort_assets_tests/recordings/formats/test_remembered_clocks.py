import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sort_assets.recordings.clock import Clock, clock_from_start
from sort_assets.recordings.formats import remembered_clocks
from sort_assets.recordings.formats.remembered_clocks import remembered_clock
from sort_assets.recordings.sample_numbers import clock_from_numbers


def test_a_file_is_read_again_when_it_changed(tmp_path: Path) -> None:
    path = tmp_path / "recording.nwb"
    path.write_bytes(b"12")
    read = []

    def clock() -> Clock:
        read.append(path.stat().st_size)
        return clock_from_start(path.stat().st_size, 30_000.0)

    first, again = (remembered_clock(path, "series", 30_000.0, clock) for _ in range(2))
    path.write_bytes(b"123")
    changed = remembered_clock(path, "series", 30_000.0, clock)

    assert first is again
    assert (first.num_samples, changed.num_samples) == (2, 3)
    assert read == [2, 3]


@pytest.fixture
def other_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], None]:
    """An empty cache of the user, in which every clock is kept; returns what forgets those of this process."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(remembered_clocks, "WORTH_KEEPING_S", -1.0)
    monkeypatch.setattr(remembered_clocks, "_clocks", OrderedDict())
    return remembered_clocks._clocks.clear


def test_a_clock_that_took_long_is_kept_for_other_processes(tmp_path: Path, other_process: Callable[[], None]) -> None:
    path = tmp_path / "recording.nwb"
    path.write_bytes(b"12")
    numbers = np.arange(1000) + 1_700_000_000 * 30_000
    numbers[321:] += 5

    read = remembered_clock(path, "series", 30_000.0, lambda: clock_from_numbers(numbers, 29_999.7))
    other_process()
    kept = remembered_clock(path, "series", 30_000.0, lambda: pytest.fail("it was read again"))

    assert kept == read


def test_a_kept_clock_of_a_changed_file_is_not_used(tmp_path: Path, other_process: Callable[[], None]) -> None:
    path = tmp_path / "recording.nwb"
    path.write_bytes(b"12")
    times = path.stat()
    remembered_clock(path, "series", 30_000.0, lambda: clock_from_start(2, 30_000.0))

    path.write_bytes(b"21")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    other_process()

    assert remembered_clock(path, "series", 30_000.0, lambda: clock_from_start(3, 30_000.0)).num_samples == 3


@pytest.mark.parametrize("content", ["", "{}", '{"pieces": [], "nominal'])
def test_a_kept_clock_that_is_damaged_is_read_again(
    content: str, tmp_path: Path, other_process: Callable[[], None]
) -> None:
    path = tmp_path / "recording.nwb"
    path.write_bytes(b"12")
    remembered_clock(path, "series", 30_000.0, lambda: clock_from_start(2, 30_000.0))
    (kept,) = (tmp_path / "cache").rglob("*.json")

    kept.write_text(content)
    other_process()

    assert remembered_clock(path, "series", 30_000.0, lambda: clock_from_start(2, 30_000.0)).num_samples == 2
