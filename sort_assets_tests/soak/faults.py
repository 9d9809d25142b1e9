"""Injecting the faults of a plan, and taking back those that last for a while."""

import json
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import dagster as dg
import psutil

from sort_assets.platform.pipeline.jobs import UNFINISHED
from sort_assets_tests.fixtures.home import Home
from sort_assets_tests.soak.places import Disturb
from sort_assets_tests.soak.plan import Fault
from sort_assets_tests.soak.processes import Found, found_processes

_PAUSE_S = 2.0
"""Least time between two."""
_OF_RUNS = ("sorter", "step", "forkserver", "run worker")


@dataclass
class Injected:
    """What became of a fault.

    Attributes
    ----------
    name : str
        Of its kind.
    at : float
        When, in seconds since 1970.
    target : str
        What was hit; empty where there was nothing to hit.
    runs : list of str
        The runs that it may have disturbed.
    ends_up : bool
        Whether `sort-assets up` ends with it.
    taken_back_at : float or None
        When it was taken back.
    """

    name: str
    at: float
    target: str
    runs: list[str]
    ends_up: bool = False
    taken_back_at: float | None = None


class Injector:
    """Injects faults when they are due.

    Parameters
    ----------
    home : Home
    instance : dg.DagsterInstance
        Asked which runs are unfinished.
    faults : iterable of Fault
    disturb : Mapping[str, Disturb]
        How to inject those that hit no process of the home, by their role.
    say : callable
        Told of each.
    patience_s : float
        How long a fault waits for a process of its role.

    Attributes
    ----------
    injected : list of Injected
    """

    def __init__(
        self,
        home: Home,
        instance: dg.DagsterInstance,
        faults: Iterable[Fault],
        disturb: Mapping[str, Disturb],
        say: Callable[[str], None],
        patience_s: float,
    ) -> None:
        self._home, self._instance, self._disturb, self._say = home, instance, disturb, say
        self._due = sorted(faults, key=lambda fault: fault.at_s)
        self._patience_s = patience_s
        self._looked = 0.0
        self._to_take_back: list[tuple[float, Injected, Callable[[], None]]] = []
        self.injected: list[Injected] = []

    @property
    def is_done(self) -> bool:
        """Whether all were injected and taken back."""
        return not self._due and not self._to_take_back

    @property
    def database_is_away(self) -> bool:
        """Whether nobody can be asked about runs."""
        return any(one.name == "away database" for _, one, _ in self._to_take_back)

    def tick(self, now_s: float) -> None:
        """Inject what is due and take back what has lasted long enough; `now_s` counts from the storm's beginning."""
        for late in [one for one in self._to_take_back if one[0] <= now_s]:
            self._take_back(late)
        while self._due and self._due[0].at_s <= now_s:
            fault = self._due[0]
            if self._to_take_back and fault.lasts_s:
                break  # one at a time of those that last
            if self.database_is_away:
                break  # whom it hits could not be told
            if now_s - self._looked < _PAUSE_S:
                break
            self._looked = now_s
            if self._inject(fault, now_s):
                self._due.pop(0)
            elif now_s - fault.at_s > self._patience_s:
                self._due.pop(0)
                self.injected.append(Injected(fault.kind.name, time.time(), "", []))
            else:
                break

    def end(self) -> None:
        """Take everything back, and inject nothing more."""
        self._due.clear()
        for one in self._to_take_back[:]:
            self._take_back(one)

    def write(self, folder: Path) -> None:
        """Write what was injected."""
        rows = [asdict(one) for one in self.injected]
        (folder / "faults.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")

    def _inject(self, fault: Fault, now_s: float) -> bool:
        role = fault.kind.role
        if role in self._disturb:
            runs, at = self._unfinished(), time.time()
            target, undo = self._disturb[role](fault)
            self._note(fault, target, runs, at, now_s, undo)
            return True
        found = [one for one in found_processes(self._home) if one.role == role]
        if role in _OF_RUNS:
            found = [one for one in found if one.runs]
        if not found:
            return False
        self._signal(fault, found[int(fault.choice * len(found))], now_s)
        return True

    def _signal(self, fault: Fault, chosen: Found, now_s: float) -> None:
        process = chosen.process
        runs = list(chosen.runs) if fault.kind.role in _OF_RUNS else self._unfinished()

        def go_on() -> None:
            with suppress(psutil.NoSuchProcess):
                process.resume()

        self._note(fault, f"process {process.pid}", runs, time.time(), now_s, go_on)
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.Signals[fault.kind.act])

    def _note(
        self, fault: Fault, target: str, runs: list[str], at: float, now_s: float, undo: Callable[[], None]
    ) -> None:
        injected = Injected(fault.kind.name, at, target, runs, fault.kind.ends_all)
        self.injected.append(injected)
        lasts = f" for {fault.lasts_s:.0f} s" if fault.lasts_s else ""
        self._say(f"{injected.name}: {target}{lasts}; runs {', '.join(run[:8] for run in runs) or 'none'}")
        if fault.lasts_s:
            self._to_take_back.append((now_s + fault.lasts_s, injected, undo))

    def _take_back(self, one: tuple[float, Injected, Callable[[], None]]) -> None:
        self._to_take_back.remove(one)
        _, injected, undo = one
        undo()
        injected.taken_back_at = time.time()
        self._say(f"{injected.name} is taken back")

    def _unfinished(self) -> list[str]:
        started = [status for status in UNFINISHED if status is not dg.DagsterRunStatus.QUEUED]
        return [run.run_id for run in self._instance.get_runs(dg.RunsFilter(statuses=started))]
