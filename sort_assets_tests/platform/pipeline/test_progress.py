"""The log of a step hears of long work at once when something is new, and ever more rarely while nothing is."""

from collections.abc import Sequence

import pytest

from sort_assets.checks.result import CheckResult, ok, warning
from sort_assets.platform.pipeline import progress as progress_module
from sort_assets.platform.pipeline.progress import StepObserver
from sort_assets.running.progress import Progress

DAY_S = 24 * 3600


class Heard:
    """An observer on a clock that the test sets, and the times at which it said something."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.lines: list[str] = []
        self.times: list[float] = []
        self.warnings: list[str] = []
        # Hours can't be waited for.
        monkeypatch.setattr(progress_module, "monotonic", lambda: self.now)
        self.observer = StepObserver(self._hear, self.warnings.append, "sorting of rec")

    def _hear(self, line: str) -> None:
        self.lines.append(line)
        self.times.append(self.now)

    def sort(self, stage: str | None, seconds: Sequence[float]) -> None:
        for self.now in seconds:
            self.observer.sorting(Progress(stage))

    def write(self, at_s: float, fraction: float) -> None:
        self.now = at_s
        self.observer.writing(fraction)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Heard:
    return Heard(monkeypatch)


def test_a_new_stage_is_said_at_once(heard: Heard) -> None:
    heard.sort("spike detection", [5.0, 6.0])
    heard.sort("clustering", [7.0])

    assert heard.times == [5.0, 7.0]
    assert heard.lines == ["sorting of rec, 5 s: spike detection.", "sorting of rec, 7 s: clustering."]


def test_within_a_stage_it_is_said_ever_more_rarely(heard: Heard) -> None:
    heard.sort("clustering", [float(second) for second in range(60)])

    assert heard.times == [0.0, 10.0, 25.0, 48.0]  # the pauses are 10, 15, 22.5 and 33.75 s


def test_a_new_stage_is_followed_as_closely_as_the_first(heard: Heard) -> None:
    heard.sort("detection", [float(second) for second in range(60)])
    heard.sort("clustering", [float(second) for second in range(60, 90)])

    assert heard.times[-3:] == [60.0, 70.0, 85.0]


def test_a_day_in_one_stage_is_not_a_flood_and_not_silence(heard: Heard) -> None:
    heard.sort(None, [5.0 * look for look in range(DAY_S // 5)])

    pauses = [after - before for before, after in zip(heard.times, heard.times[1:], strict=False)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == 600.0
    assert len(heard.lines) < 200


def test_what_is_known_of_the_stage_is_in_the_line(heard: Heard) -> None:
    heard.now = 61.0

    heard.observer.sorting(Progress("clustering", number=3, of=5, percent=40, left_s=90.0))

    assert heard.lines == ["sorting of rec, 61 s: clustering (stage 3 of 5), 40 %, about 90 s left in this stage."]


def test_writing_that_is_soon_done_says_nothing(heard: Heard) -> None:
    heard.write(1.0, 0.2)
    heard.write(9.0, 1.0)

    assert heard.lines == []


def test_long_writing_says_how_long_it_takes_every_ten_seconds(heard: Heard) -> None:
    for second in range(31):
        heard.write(float(second), second / 40)

    assert heard.times == [10.0, 20.0, 30.0]
    assert heard.lines[0] == "sorting of rec: 25% done, about 30 s left."


def test_writing_that_has_not_begun_has_no_end_in_sight(heard: Heard) -> None:
    heard.write(100.0, 0.0)

    assert heard.lines == []


def test_results_are_kept_and_the_bad_ones_logged(heard: Heard) -> None:
    fine = ok("disk", "100 GB are free")
    bad = warning("GPU", "60 % of its memory is in use.", "End other programs.")
    worse = CheckResult("probe", False, "error", "no locations", remedy="Add a probe.")

    heard.observer.checked([fine, bad])
    heard.observer.checked([worse])

    assert heard.observer.results == [fine, bad, worse]
    assert heard.warnings == [
        "sorting of rec: GPU: 60 % of its memory is in use. End other programs.",
        "sorting of rec: probe: no locations. Add a probe.",
    ]
