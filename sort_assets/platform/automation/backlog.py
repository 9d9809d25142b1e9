"""The work that waits: runs in the queue, and recordings that are registered and not sorted; and what it will cost."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import dagster as dg

from sort_assets.config.settings import Roots
from sort_assets.errors import SortAssetsError
from sort_assets.forecasts.history import CostHistory
from sort_assets.forecasts.totals import PlannedRecording
from sort_assets.platform.arrivals.catalog_entry import State
from sort_assets.platform.automation.status import RecordingStatus, recording_statuses
from sort_assets.platform.pipeline.catalog import PIPELINE
from sort_assets.platform.pipeline.config_resolver import RecordingConfigResolver
from sort_assets.platform.pipeline.partitions import PARTITION_TAG
from sort_assets.platform.pipeline.recording_forecast import plan_recording, plan_run, recording_size
from sort_assets.platform.pipeline.recording_rules import RecordingRules
from sort_assets.platform.store.store import Store

_WAITING = (dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING)


@dataclass(frozen=True)
class Backlog:
    """The work that waits.

    Attributes
    ----------
    queued, unsorted : list of PlannedRecording
        What runs in the queue are to make; and recordings that have no run and no sorting, as if all were made.
    unresolved : dict
        By recording, why its settings can't be resolved.
    """

    queued: list[PlannedRecording]
    unsorted: list[PlannedRecording]
    unresolved: dict[str, str]

    @property
    def planned(self) -> list[PlannedRecording]:
        """All of it."""
        return [*self.queued, *self.unsorted]


def find_backlog(
    instance: dg.DagsterInstance, roots: Roots, history: CostHistory, *, device: str | None = None
) -> Backlog:
    """What waits to be made.

    Recordings that failed, have nothing to sort, are gone or have a problem are left out: no run of theirs starts by
    itself.
    """
    waiting = instance.get_runs(dg.RunsFilter(statuses=[*_WAITING]))
    planned = (plan_run(instance, run, history, device=device) for run in waiting)
    queued = [one for one in planned if one is not None]
    with_run = {run.tags.get(PARTITION_TAG) for run in waiting}
    statuses = recording_statuses(instance, Store(roots.store))
    keys = [one.recording for one in statuses if _waits(one) and one.recording not in with_run]
    unsorted, unresolved = plan_recordings(instance, roots, history, keys, device=device)
    return Backlog(queued, unsorted, unresolved)


def plan_recordings(
    instance: dg.DagsterInstance,
    roots: Roots,
    history: CostHistory,
    recordings: Iterable[str],
    assets: Sequence[str] = PIPELINE,
    *,
    device: str | None = None,
    rules: RecordingRules | None = None,
) -> tuple[list[PlannedRecording], dict[str, str]]:
    """Plan the same assets of several recordings, each with the settings that rules and sidecar give it.

    Parameters
    ----------
    instance, roots, history
    recordings : iterable of str
        Their keys.
    assets : sequence of str
    device : str or None
        The GPU to sort on.
    rules : RecordingRules or None
        None reads those that are in force.

    Returns
    -------
    list of PlannedRecording
    dict
        By recording whose settings can't be resolved, why.
    """
    rules = rules or RecordingRules(roots)
    planned, unresolved = [], {}
    for key in recordings:
        try:
            config = RecordingConfigResolver().resolve(key, rules.settings(key)).config
            size = recording_size(instance, roots, key, config, again=PIPELINE[0] in assets)
        except SortAssetsError as error:
            unresolved[key] = str(error)
            continue
        planned.append(plan_recording(history, key, config, size, assets, device=device))
    return planned, unresolved


def _waits(one: RecordingStatus) -> bool:
    is_registered = one.entry is not None and one.entry.state is State.REGISTERED and one.missing_since is None
    is_made = one.results.units_found is not None or one.results.failure is not None
    return is_registered and not (is_made or one.is_running or one.last_run_failed or one.problem)
