"""How the recordings of a soak stand: sorted, failed with one class, or on their way."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from sort_assets.platform.arrivals.catalog_entry import State
from sort_assets.platform.automation.retries import failed_recordings
from sort_assets.platform.automation.status import RecordingStatus, recording_statuses, unregistered_statuses
from sort_assets_tests.fixtures.home import Home
from sort_assets_tests.soak.arrivals import write_times
from sort_assets_tests.soak.plan import Arrival

SORTED = "sorted"
ON_ITS_WAY = "on its way"
GONE = "gone before it was registered"


@dataclass(frozen=True)
class Outcome:
    """How a recording stands.

    Attributes
    ----------
    name : str
        Its file.
    how : str
        How it arrived.
    state : str
        `SORTED`, `ON_ITS_WAY`, `GONE`, or the class of its failure.
    message : str
        Of the failure.
    """

    name: str
    how: str
    state: str
    message: str = ""


def outcomes(home: Home, instance: dg.DagsterInstance, arrivals: Iterable[Arrival]) -> list[Outcome]:
    """How each recording that has arrived stands."""
    statuses = {status.path: status for status in recording_statuses(instance, home.store)}
    failed = {one.key: one for one in failed_recordings(home.roots, statuses.values())}
    others = {one.path: one for one in unregistered_statuses(home.store)}
    found = []
    for arrival in arrivals:
        status, other = statuses.get(arrival.name), others.get(arrival.name)
        state, message = ON_ITS_WAY, ""
        if status is not None and status.recording in failed:
            failure = failed[status.recording]
            state, message = failure.failure_class, failure.message
        elif status is not None:
            state = SORTED if _is_sorted(status) else ON_ITS_WAY
        elif other is not None and other.problem is not None:
            state, message = type(other.problem).__name__, other.problem.message
        elif other is None and not (home.roots.recordings / arrival.name).exists():
            state = GONE
        found.append(Outcome(arrival.name, arrival.how, state, message))
    return found


def nothing_to_do(home: Home, instance: dg.DagsterInstance) -> bool:
    """Whether no run is unfinished, or wanted of a recording that is there, and no file waits to be read."""
    statuses = recording_statuses(instance, home.store)
    busy = any(
        status.is_running
        or (status.run_wanted and not status.missing_since)
        or (status.run_failure is not None and status.run_failure.launched_again)
        for status in statuses
    )
    return not busy and all(one.state is not State.WAITING for one in unregistered_statuses(home.store))


def sorts(journal: Path, what: str) -> Mapping[str, int]:
    """By recording, how often its sorter did "start" or "finish"."""
    return Counter(key for _, done, _, key in write_times(journal) if done == what)


def _is_sorted(status: RecordingStatus) -> bool:
    whole = all(status.assets.values()) and not status.is_running and not status.run_wanted
    return whole and status.last_run is not None and status.last_run.status is dg.DagsterRunStatus.SUCCESS
