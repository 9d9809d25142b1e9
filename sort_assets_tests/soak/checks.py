"""What must hold after a storm, asked of the event log, the store, the locks and the processes."""

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import psutil

from sort_assets.config.settings import DAGSTER_HOME_VARIABLE
from sort_assets.platform.pipeline.catalog import PIPELINE
from sort_assets.platform.pipeline.jobs import UNFINISHED
from sort_assets.platform.store.dead_staging import leftovers
from sort_assets.platform.store.layout import SORT_LOCK
from sort_assets.platform.store.locks import is_locked
from sort_assets_tests.fixtures.home import Home
from sort_assets_tests.soak.faults import Injected
from sort_assets_tests.soak.places import Place
from sort_assets_tests.soak.processes import processes_of
from sort_assets_tests.soak.recordings import SORTED, Outcome, sorts
from sort_assets_tests.soak.stories import RunStory


@dataclass(frozen=True)
class Check:
    """Something that must hold.

    Attributes
    ----------
    name : str
    wrong : list of str
        What does not; empty where all is well.
    """

    name: str
    wrong: list[str]


def check_all(
    place: Place,
    instance: dg.DagsterInstance,
    stories: Mapping[str, RunStory],
    found: Collection[Outcome],
    injected: Collection[Injected],
) -> list[Check]:
    """Everything that can be asked while the instance is open and its servers have ended."""
    home, runs = place.home, list(stories.values())
    asked: dict[str, Callable[[], Iterable[str]]] = {
        "every recording is sorted or has one classified failure": lambda: _unclassified(found),
        "every run has ended": lambda: _unfinished(runs),
        "every run has one start and one end, which agree with its status": lambda: _ends(runs),
        "nothing was materialized after the end of its run": lambda: _late(runs),
        "every materialization is a version of the store, made by that run": lambda: _materializations(home, runs),
        "the UI shows what the store has": lambda: _tables(home, instance, found),
        "no recording was sorted more often than its faults explain": lambda: _needless(place.journal, runs, injected),
        "no slot of a pool is held": lambda: _slots(instance),
        "no lock is held": lambda: _locks(place),
        "no process is left": lambda: _processes(home),
        "no job of Slurm is left": lambda: [] if place.cluster is None else place.cluster.unfinished(),
        "no half artefact is left": lambda: _halves(home),
    }
    return [Check(name, sorted(ask())) for name, ask in asked.items()]


def _unclassified(found: Iterable[Outcome]) -> Iterator[str]:
    for one in found:
        if one.state == "on its way":
            yield f"{one.name} ({one.how}) is {one.state}"


def _unfinished(runs: Iterable[RunStory]) -> Iterator[str]:
    return (f"run {run.run_id} of {run.key} is {run.status.value}" for run in runs if run.status in UNFINISHED)


def _ends(runs: Iterable[RunStory]) -> Iterator[str]:
    for run in runs:
        never_began = run.starts == 0 and run.status in (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
        if run.status in UNFINISHED:
            continue
        if (run.starts != 1 and not never_began) or run.ends != [run.status]:
            ends = [end.value for end in run.ends]
            yield f"run {run.run_id} of {run.key} is {run.status.value}: {run.starts} starts, ends {ends}"


def _late(runs: Iterable[RunStory]) -> Iterator[str]:
    for run in runs:
        late = [one.asset for one in run.materialized if one.after_end]
        if late:
            yield f"run {run.run_id} of {run.key} materialized {', '.join(late)} after its end"


def _materializations(home: Home, runs: Iterable[RunStory]) -> Iterator[str]:
    for run in runs:
        for one in run.materialized:
            if one.asset not in PIPELINE:
                continue
            manifest = home.store.asset_folder(run.key, one.asset) / one.version / "manifest.json"
            if not manifest.is_file():
                yield f"run {run.run_id} materialized {one.asset} of {run.key}, and the store has no {one.version}"
                continue
            by = one.taken_from or run.run_id
            if home.store.artefact(run.key, one.asset, one.version).manifest.run_id != by:
                yield f"{one.version} of {one.asset} of {run.key} says that another run made it than {by}"
            elif by not in (run.run_id, *run.follows):
                yield f"run {run.run_id} took {one.asset} of {run.key} over from {by}, which it does not follow"


def _tables(home: Home, instance: dg.DagsterInstance, found: Iterable[Outcome]) -> Iterator[str]:
    for asset in PIPELINE:
        shown = instance.get_materialized_partitions(dg.AssetKey(asset))
        for key in home.store.recordings():
            stored = home.store.summary(key, asset)
            if (stored is not None) != (key in shown):
                said = "materialized" if key in shown else "missing"
                yield f"{asset} of {key}: Dagster says {said}, the store has {stored and stored['version']}"
    states = {one.name: one.state for one in found}
    for key in home.store.recordings():
        missing = [asset for asset in PIPELINE if home.store.summary(key, asset) is None]
        if states.get(key) == SORTED and missing:
            yield f"{key} is said to be sorted, and the store lacks {', '.join(missing)}"


def _needless(journal: Path, runs: Iterable[RunStory], injected: Iterable[Injected]) -> Iterator[str]:
    key_of = {run.run_id: run.key for run in runs}
    hits = Counter(key for one in injected for key in {key_of.get(run, "") for run in one.runs})
    for key, number in sorts(journal, "start").items():
        if number > 1 + hits[key]:
            yield f"{key} was sorted {number} times, and {hits[key]} faults hit its runs"


def _slots(instance: dg.DagsterInstance) -> Iterator[str]:
    storage = instance.event_log_storage
    for pool in storage.get_concurrency_keys():
        for slot in storage.get_concurrency_info(pool).claimed_slots:
            yield f"pool {pool}: {slot.run_id}, {slot.step_key}"


def _locks(place: Place) -> Iterator[str]:
    folders = [*place.lease_folders, Path(place.home.variables[DAGSTER_HOME_VARIABLE]) / "run_locks"]
    files = [path for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_file()]
    files += place.home.roots.store.glob(f"*/*/{SORT_LOCK}")
    yield from (f"{path} is held" for path in files if is_locked(path))
    yield from (f"{path} is left" for path in files if path.parent.name == "run_locks")


def _processes(home: Home) -> Iterator[str]:
    for process in processes_of(home):
        if process.pid != os.getpid():
            try:
                yield f"process {process.pid}: {' '.join(process.cmdline())[:200]} ({process.status()})"
            except psutil.Error:
                continue


def _halves(home: Home) -> Iterator[str]:
    for key in home.store.recordings():
        for asset in home.store.assets(key):
            yield from (str(path) for path in leftovers(home.store.asset_folder(key, asset)))
