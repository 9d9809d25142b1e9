"""A soak from beginning to end: the storm, the calm after it, `retry-failed` once, and the table."""

import shutil
import time
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from sort_assets.platform.pipeline.jobs import UNFINISHED
from sort_assets_tests.fixtures.home import Home
from sort_assets_tests.soak import soak_sorter
from sort_assets_tests.soak.arrivals import Arrivals
from sort_assets_tests.soak.checks import check_all
from sort_assets_tests.soak.faults import Injector
from sort_assets_tests.soak.places import Place, local_place, slurm_place
from sort_assets_tests.soak.plan import EVERY_S, FaultKind, Plan, make_plan
from sort_assets_tests.soak.recordings import Outcome, nothing_to_do, outcomes, sorts
from sort_assets_tests.soak.service import Operator
from sort_assets_tests.soak.stories import read_stories
from sort_assets_tests.soak.table import Results, first_lines

_POLL_S = 0.5
_CALMS = 3
"""Looks in a row at which there must be nothing to do."""
_ENDED = dg.RunsFilter(statuses=[one for one in dg.DagsterRunStatus if one not in UNFINISHED])
_ENTRY_POINT = "[sort_assets.backends]\nsoak = soak_sorter:SoakBackend\n"


@dataclass(frozen=True)
class Options:
    """What a soak does.

    Attributes
    ----------
    minutes : float
        How long recordings arrive and faults are injected.
    recordings : int
    seed : int
    engine : {"local", "slurm"}
    database : {"sqlite", "postgres"}
        Of the local engine; Slurm needs PostgreSQL.
    every_s : float
        Mean time from one fault to the next.
    sort_s : float
        How long each sort takes.
    settle_s : float
        After the storm, and again after `retry-failed`: how long no run may end while there is something to do.
    calm_s : float
        Pause between two looks whether there is something to do.
    patience_s : float
        How long a fault waits for something to hit.
    kinds : tuple of FaultKind or None
        Other faults than the engine's.
    fill_disk : bool
        Whether the store gets a small disk of its own.
    """

    minutes: float
    recordings: int
    seed: int
    engine: str = "local"
    database: str = "sqlite"
    every_s: float = EVERY_S
    sort_s: float = 2.0
    settle_s: float = 600.0
    calm_s: float = 5.0
    patience_s: float = 60.0
    kinds: tuple[FaultKind, ...] | None = None
    fill_disk: bool = True

    @property
    def title(self) -> str:
        """For the table."""
        where = "Slurm" if self.engine == "slurm" else f"local engine, {self.database}"
        return f"{where}, seed {self.seed}, {self.recordings} recordings, {self.minutes:g} minutes"


class Soak:
    """A soak.

    Parameters
    ----------
    options : Options
    folder : Path
        For its home, its logs and its table.
    """

    def __init__(self, options: Options, folder: Path) -> None:
        self._options, self._folder = options, folder
        self._began = time.monotonic()
        self._log = (folder / "soak.log").open("a", encoding="utf-8")

    def run(self) -> Results:
        """Run it; also after an interrupt (Ctrl-C) there are results, and the table is written."""
        with self._place() as place:
            home, plan = place.home, self._plan(place)
            arrivals = Arrivals(home.roots.recordings, len(plan.arrivals), self._options.sort_s)
            with home.instance() as instance:
                return self._run(place, plan, arrivals, instance)

    def _run(self, place: Place, plan: Plan, arrivals: Arrivals, instance: dg.DagsterInstance) -> Results:
        home, plugin = place.home, self._plugin()
        operator = Operator(home, self._folder, plugin, self._say)
        injector = Injector(home, instance, plan.faults, place.disturb, self._say, self._options.patience_s)
        before: list[Outcome] = []
        interrupted_in: str | None = "the storm"
        try:
            self._weather(plan, operator, injector, arrivals)
            self._say("the storm is over")
            interrupted_in = "the calm after the storm, before `retry-failed`"
            self._settle(home, instance, operator)
            before = outcomes(home, instance, arrivals.arrived)
            interrupted_in = "the calm after `retry-failed`"
            self._say(home.command("sort-assets", "retry-failed", python_path=plugin).output.strip())
            self._settle(home, instance, operator)
            interrupted_in = None
        except KeyboardInterrupt:
            self._say("interrupted")
        finally:
            with ExitStack() as at_end:
                at_end.callback(operator.end)
                at_end.callback(arrivals.end)
                at_end.callback(injector.end)
        self._say(home.command("sort-assets", "gc", python_path=plugin).output.strip())
        injector.write(self._folder)
        stories, after = read_stories(instance), outcomes(home, instance, arrivals.arrived)
        results = Results(
            title=self._options.title,
            interrupted_in=interrupted_in,
            injected=injector.injected,
            stories=stories,
            before=before,
            after=after,
            sorts=sorts(place.journal, "start"),
            restarts=operator.ended,
            checks=check_all(place, instance, stories, after, injector.injected),
        )
        (self._folder / "table.md").write_text(first_lines(results.lines()), encoding="utf-8")
        return results

    def _place(self) -> AbstractContextManager[Place]:
        options = self._options
        if options.engine == "slurm":
            return slurm_place()
        return local_place(self._folder, options.database, fill_disk=options.fill_disk)

    def _plan(self, place: Place) -> Plan:
        options = self._options
        kinds = options.kinds if options.kinds is not None else place.kinds
        plan = make_plan(options.seed, 60.0 * options.minutes, options.recordings, kinds, every_s=options.every_s)
        plan.write(self._folder)
        self._say(f"{options.title}: {len(plan.faults)} faults")
        return plan

    def _plugin(self) -> Path:
        """The soak's sorter as an installed package of another lab."""
        folder = self._folder / "site-packages"
        info = folder / "soak_sorter-1.0.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        shutil.copy(soak_sorter.__file__, folder)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: soak-sorter\nVersion: 1.0\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(_ENTRY_POINT, encoding="utf-8")
        return folder

    def _weather(self, plan: Plan, operator: Operator, injector: Injector, arrivals: Arrivals) -> None:
        """Let everything happen that the plan says."""
        began, due = time.monotonic(), list(plan.arrivals)
        while due or not injector.is_done or time.monotonic() - began < plan.seconds:
            now_s = time.monotonic() - began
            operator.tick()
            while due and due[0].at_s <= now_s:
                arrival = due.pop(0)
                self._say(f"{arrival.name} arrives ({arrival.how})")
                arrivals.arrive(arrival)
            injector.tick(now_s)
            time.sleep(_POLL_S)

    def _settle(self, home: Home, instance: dg.DagsterInstance, operator: Operator) -> None:
        """Wait until there is nothing to do; or until, for as long as the options say, no run has ended."""
        calms, ended, stands_since = 0, -1, time.monotonic()
        looks_at = time.monotonic()
        while calms < _CALMS and time.monotonic() - stands_since < self._options.settle_s:
            operator.tick()
            if time.monotonic() >= looks_at:
                calms = calms + 1 if nothing_to_do(home, instance) else 0
                before, ended = ended, instance.get_runs_count(_ENDED)
                stands_since = stands_since if ended == before else time.monotonic()
                looks_at = time.monotonic() + self._options.calm_s
            time.sleep(_POLL_S)
        stands = f"not settled: no run has ended for {self._options.settle_s:.0f} s"
        self._say("there is nothing to do" if calms >= _CALMS else stands)

    def _say(self, text: str) -> None:
        line = f"{time.monotonic() - self._began:7.1f} s  {text}"
        print(line, flush=True)
        self._log.write(line + "\n")
        self._log.flush()
