"""The benchmark of the idle device gives its rows; how long it idles on a busy machine is no matter here."""

import pytest

from benchmarks.device_idle import Measured, rows


@pytest.mark.slow
@pytest.mark.release
def test_a_small_queue_gives_a_gap_an_idle_share_and_a_makespan() -> None:
    gap, idle, queue, makespan = rows("small")

    assert gap.figure is not None
    assert gap.figure > 0  # two sorts never have the device at once
    assert idle.figure is not None
    assert 0 < idle.figure < 100
    assert queue.figure is not None
    assert makespan.figure is not None
    assert makespan.figure > queue.figure > 1  # the first recording is filtered before
    assert "2 s of sorts" in makespan.note


def test_the_device_idles_between_the_sorts_and_not_before_the_first() -> None:
    measured = Measured(held=[(100.0, 130.0), (132.0, 162.0), (164.0, 194.0)], launched=80.0, ended=215.0)

    assert measured.gaps_s == [2.0, 2.0]
    assert measured.idle == pytest.approx(4 / 94)
    assert measured.queue_makespan == pytest.approx(94 / 90)
    assert measured.makespan == pytest.approx(1.5)
    assert measured.parts == "90 s of sorts, 20.0 s before the first, 4.0 s between them, 21.0 s after the last"
