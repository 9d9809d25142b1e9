from pathlib import Path

from sort_assets.recordings.clock import Clock, clock_from_start
from sort_assets.recordings.formats.remembered_clocks import remembered_clock


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
