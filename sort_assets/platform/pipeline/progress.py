"""How far long work is, said now and then in the log of its step."""

from collections.abc import Callable, Sequence
from time import monotonic

from sort_assets.backends.base import Observer
from sort_assets.checks.result import CheckResult
from sort_assets.running.progress import Progress

_EVERY_S = 10.0
_RARER = 1.5
_RAREST_S = 600.0


class StepObserver(Observer):
    """Tells the log of a step what its backend is doing.

    Parameters
    ----------
    log, warn : callable
        Where to say it.
    what : str
        "binary_dat of mouse1~day2.nwb".

    Attributes
    ----------
    results : list of CheckResult
        Of the checks before the sort.
    expected : str
        How long all of it takes, in words; empty where nobody knows.
    """

    def __init__(self, log: Callable[[str], None], warn: Callable[[str], None], what: str) -> None:
        self._log = log
        self._warn = warn
        self._what = what
        self._start = monotonic()
        self._next = self._start + _EVERY_S
        self._pause_s = _EVERY_S
        self._stage: str | None = None
        self.results: list[CheckResult] = []
        self.expected = ""

    def writing(self, fraction: float) -> None:
        now = monotonic()
        if fraction <= 0 or now < self._next:
            return
        self._next = now + _EVERY_S
        left_s = (now - self._start) * (1 - fraction) / fraction
        self._log(f"{self._what}: {fraction:.0%} done, about {left_s:.0f} s left.")

    def sorting(self, progress: Progress) -> None:
        # A new stage is said at once; within one, ever more rarely: the event log keeps every line for ever.
        now = monotonic()
        if progress.stage != self._stage:
            self._stage, self._pause_s = progress.stage, _EVERY_S
        elif now < self._next:
            return
        else:
            self._pause_s = min(_RAREST_S, self._pause_s * _RARER)
        self._next = now + self._pause_s
        of = f" of {self.expected}" if self.expected else ""
        self._log(f"{self._what}, {now - self._start:.0f} s{of}: {progress}.")

    def checked(self, results: Sequence[CheckResult]) -> None:
        self.results += results
        for result in results:
            if result.level != "ok":
                detail = result.description.rstrip(".")
                self._warn(f"{self._what}: {result.name}: {detail}. {result.remedy}".strip())
