"""The digest: what happened to recordings since a point in time, for somebody who has just come in."""

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg

from sort_assets.platform.automation.failed_runs import RunFailure, failures_of_a_class, failures_of_run
from sort_assets.platform.automation.notifications import Message
from sort_assets.platform.pipeline.assets.raw_recording import raw_recording
from sort_assets.platform.pipeline.partitions import PARTITION_TAG
from sort_assets.platform.pipeline.recording_results import RecordingSummary, recording_summary
from sort_assets.platform.store.store import Store

_LINES_LISTED = 20
_FAILED_RUNS_READ = 200
_PAGE = 1000
_ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


@dataclass(frozen=True)
class Digest:
    """What happened between two points in time.

    Attributes
    ----------
    since, until : datetime
    arrived : sequence of str
        Keys of the recordings that were registered.
    sorted_ : sequence of tuple
        Key, and what came out: "8 units (degraded)".
    unsortable : sequence of tuple
        Key, and why there was nothing to sort.
    failed : sequence of RunFailure
        Of each recording whose last run failed, what went wrong; of runs without a recording too.
    failed_unread : int
        Failed runs besides, that were too many to look into.
    arrivals : sequence of tuple
        Path, and in a sentence why it is no recording yet: waiting, unreadable, changed, vanished.
    unfinished : int
        Runs that are queued or at work at the end.
    """

    since: datetime
    until: datetime
    arrived: Sequence[str] = ()
    sorted_: Sequence[tuple[str, str]] = ()
    unsortable: Sequence[tuple[str, str]] = ()
    failed: Sequence[RunFailure] = ()
    failed_unread: int = 0
    arrivals: Sequence[tuple[str, str]] = ()
    unfinished: int = 0

    @property
    def nothing_happened(self) -> bool:
        """Whether there is nothing to tell; runs that are still at work are not news."""
        return not any(self.counts.values())

    @property
    def counts(self) -> dict[str, int]:
        """How many recordings, by what happened to them."""
        return {
            "arrived": len(self.arrived),
            "sorted": len(self.sorted_),
            "unsortable": len(self.unsortable),
            "failed": len({one.run_id for one in self.failed}) + self.failed_unread,
            "to look at": len(self.arrivals),
        }

    @property
    def message(self) -> Message:
        """The digest in words."""
        counts = ", ".join(f"{count} {what}" for what, count in self.counts.items() if count)
        sections = [
            f"From {_local(self.since)} to {_local(self.until)}:",
            _section("Arrived", self.arrived),
            _section("Sorted", map(": ".join, self.sorted_)),
            _section("Unsortable", map(": ".join, self.unsortable)),
            *(
                f"Failed, {failure_class} ({len(failures)})\n{failures_of_a_class(failures)}"
                for failure_class, failures in _by_class(self.failed)
            ),
            f"Failed besides: {self.failed_unread} runs; see the UI." if self.failed_unread else "",
            _section("No recordings yet, or not as they were", map(": ".join, self.arrivals)),
            f"Runs that are queued or at work: {self.unfinished}" if self.unfinished else "",
        ]
        return Message(f"sort_assets: {counts or 'nothing happened'}", "\n\n".join(filter(None, sections)))


def digest_text(
    instance: dg.DagsterInstance,
    store: Store,
    since: datetime,
    arrivals: Sequence[tuple[str, str]] = (),
    *,
    apart_from: str | None = None,
) -> Digest:
    """What happened since a point in time.

    Only what has changed since is looked at: the time does not grow with the number of known recordings.

    Parameters
    ----------
    instance : dg.DagsterInstance
    store : Store
    since : datetime
        With its time zone.
    arrivals : sequence of tuple
        Path and sentence, of what lies below the recordings root and is no recording yet, or not as it was.
    apart_from : str or None
        A job that does not count.
    """
    until = datetime.now(UTC)
    ended = dg.RunsFilter(updated_after=since, updated_before=until, statuses=_ENDED)
    runs = [run for run in instance.get_runs(ended) if run.job_name != apart_from]
    at_work = [run for run in instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED)) if run.job_name != apart_from]
    made = _sortings(store, runs)
    failed = [run for run in _last_runs(runs) if run.status == dg.DagsterRunStatus.FAILURE]
    return Digest(
        since=since,
        until=until,
        arrived=_arrived(instance, since),
        sorted_=[(key, results.outcome) for key, results in made if results.unsortable is None],
        unsortable=[(key, results.unsortable) for key, results in made if results.unsortable is not None],
        failed=[one for run in failed[:_FAILED_RUNS_READ] for one in failures_of_run(instance, run)],
        failed_unread=len(failed[_FAILED_RUNS_READ:]),
        arrivals=arrivals,
        unfinished=len(at_work),
    )


def _arrived(instance: dg.DagsterInstance, since: datetime) -> list[str]:
    """Recordings that were observed since, and never before."""
    after = dg.AssetRecordsFilter(raw_recording.key, after_timestamp=since.timestamp())
    seen = _observed(instance, after)
    if not seen:
        return []
    before = dg.AssetRecordsFilter(raw_recording.key, asset_partitions=sorted(seen), before_timestamp=since.timestamp())
    return sorted(seen - _observed(instance, before))


def _observed(instance: dg.DagsterInstance, which: dg.AssetRecordsFilter) -> set[str]:
    found: set[str] = set()
    cursor = None
    while True:
        page = instance.fetch_observations(which, limit=_PAGE, cursor=cursor)
        found |= {record.partition_key for record in page.records if record.partition_key}
        if not page.has_more:
            return found
        cursor = page.cursor


def _last_runs(runs: Sequence[dg.DagsterRun]) -> list[dg.DagsterRun]:
    """Of each recording its newest run, and every run without one; newest first, as they come."""
    last: dict[str, dg.DagsterRun] = {}
    for run in runs:
        last.setdefault(run.tags.get(PARTITION_TAG, run.run_id), run)
    return list(last.values())


def _sortings(store: Store, runs: Sequence[dg.DagsterRun]) -> list[tuple[str, RecordingSummary]]:
    """The results of recordings whose current sorting these runs made, in the order of their keys."""
    run_ids = {run.run_id for run in runs}
    keys = sorted({run.tags[PARTITION_TAG] for run in runs if PARTITION_TAG in run.tags})
    results = ((key, recording_summary(store, key)) for key in keys)
    return [(key, one) for key, one in results if one.run_id in run_ids]


def _by_class(failures: Sequence[RunFailure]) -> list[tuple[str, list[RunFailure]]]:
    """Failures by their class, the most frequent first."""
    often = Counter(one.failure_class for one in failures)
    return [
        (failure_class, [one for one in failures if one.failure_class == failure_class])
        for failure_class, _ in often.most_common()
    ]


def _section(title: str, lines: Iterable[str]) -> str:
    listed = list(lines)
    if not listed:
        return ""
    shown = [f"- {line}" for line in itertools.islice(listed, _LINES_LISTED)]
    if more := len(listed) - len(shown):
        shown.append(f"and {more} more")
    return "\n".join([f"{title} ({len(listed)})", *shown])


def _local(moment: datetime) -> str:
    return f"{moment.astimezone():%A %d %B, %H:%M}"
