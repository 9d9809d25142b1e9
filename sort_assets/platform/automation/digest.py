"""The digest: what happened to recordings since the last digest, sent every morning.

`SORT_ASSETS_DIGEST_CRON` sets another time, `SORT_ASSETS_NOTIFY` where it goes. A digest that nobody received is
repeated by the next one.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import dagster as dg
from tzlocal import get_localzone_name

from sort_assets.config.settings import (
    DEFAULT_DIGEST_CRON,
    DIGEST_CRON_VARIABLE,
    NOTIFY_VARIABLE,
    Roots,
    read_environment,
)
from sort_assets.platform.automation.failed_runs import RunFailure, failures_of_a_class, failures_of_run
from sort_assets.platform.automation.notifications import Message, destinations, format_undelivered, send
from sort_assets.platform.execution.step_needs import SMALL_STEP
from sort_assets.platform.pipeline.assets.observed import raw_recording
from sort_assets.platform.pipeline.jobs import UNFINISHED
from sort_assets.platform.pipeline.partitions import PARTITION_TAG
from sort_assets.platform.pipeline.recording_results import RecordingSummary
from sort_assets.platform.pipeline.rig_changes import RigChange, RigMemory, rig_changes
from sort_assets.platform.pipeline.summary_cache import recording_summaries
from sort_assets.platform.store.store import Store

UNTIL_TAG = "sort_assets/digest_until"
"""Tag of a run that sent a digest: the time up to which it reported, where the next one begins."""
_FIRST_PERIOD = timedelta(days=1)
_SEND_RETRIES = dg.RetryPolicy(max_retries=3, delay=60, backoff=dg.Backoff.EXPONENTIAL)
_LINES_LISTED = 20
_RECORDINGS_NAMED = 5
_FAILED_RUNS_READ = 200
_PAGE = 1000
_ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]


@dataclass(frozen=True)
class Digest:
    """What happened between two points in time.

    Attributes
    ----------
    since, until : datetime
    arrived : sequence of str
        Keys of the recordings that were registered.
    sorted_ : sequence of tuple
        Key and outcome, like "8 units (degraded)".
    missed : sequence of tuple
        Key of a recording in which the spikes of a group of channels were missed while others were sorted, and which.
        Counts as failed.
    unsortable : sequence of tuple
        Key, and why there was nothing to sort.
    failed : sequence of RunFailure
        What went wrong in the last run of each recording, where it failed, and in failed runs without a recording.
    failed_unread : int
        Number of further failed runs, which were too many to read.
    checks : mapping
        By name of a check, the recordings whose new results did not pass it, each with what was found.
    rigs : sequence of RigChange
        Rigs that left their usual range, or came back.
    arrivals : sequence of tuple
        Path, and a sentence about what is wrong with it: unreadable, changed, gone.
    unfinished : int
        Number of runs that were queued or running at the end.
    disk : str
        How long the disk of the store lasts; no news by itself.
    """

    since: datetime
    until: datetime
    arrived: Sequence[str] = ()
    sorted_: Sequence[tuple[str, str]] = ()
    missed: Sequence[tuple[str, str]] = ()
    unsortable: Sequence[tuple[str, str]] = ()
    failed: Sequence[RunFailure] = ()
    failed_unread: int = 0
    checks: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    rigs: Sequence[RigChange] = ()
    arrivals: Sequence[tuple[str, str]] = ()
    unfinished: int = 0
    disk: str = ""

    @property
    def nothing_happened(self) -> bool:
        """Whether there is nothing to report; runs that are still running are no news."""
        return not any(self.counts.values())

    @property
    def counts(self) -> dict[str, int]:
        """How many recordings, by what happened to them."""
        return {
            "arrived": len(self.arrived),
            "sorted": len(self.sorted_),
            "unsortable": len(self.unsortable),
            "failed": len({one.run_id for one in self.failed}) + self.failed_unread + len(self.missed),
            "with failed checks": len({key for found in self.checks.values() for key, _ in found}),
            "rigs changed": len(self.rigs),
            "to look at": len(self.arrivals),
        }

    @property
    def message(self) -> Message:
        """The digest as a message."""
        counts = ", ".join(f"{count} {what}" for what, count in self.counts.items() if count)
        sections = [
            f"From {_local(self.since)} to {_local(self.until)}:",
            _section("Arrived", self.arrived),
            _section("Sorted", map(": ".join, self.sorted_)),
            _section("Failed in part, MissedSpikesError", map(": ".join, self.missed)),
            _section("Unsortable", map(": ".join, self.unsortable)),
            *(
                f"Failed, {failure_class} ({len(failures)})\n{failures_of_a_class(failures)}"
                for failure_class, failures in _by_class(self.failed)
            ),
            f"{self.failed_unread} more runs failed; see the UI." if self.failed_unread else "",
            _section("Rigs", (change.words for change in self.rigs)),
            _section("Checks that did not pass", itertools.starmap(_of_a_check, self.checks.items())),
            _section("Recordings with problems, or changed", map(": ".join, self.arrivals)),
            f"Runs that are queued or running: {self.unfinished}" if self.unfinished else "",
            f"Disk of the store: {self.disk}" if self.disk else "",
        ]
        return Message(f"sort_assets: {counts or 'nothing happened'}", "\n\n".join(filter(None, sections)))


def make_digest(
    instance: dg.DagsterInstance,
    store: Store,
    since: datetime,
    arrivals: Sequence[tuple[str, str]] = (),
    *,
    without_job: str | None = None,
) -> Digest:
    """What happened since a point in time.

    Only what has changed since is read, so the time does not grow with the number of registered recordings. What is
    told of rigs is kept in the instance, for the digests that begin where this one ends.

    Parameters
    ----------
    instance : dg.DagsterInstance
    store : Store
    since : datetime
        With its time zone.
    arrivals : sequence of tuple
        Path and sentence of what is wrong below the recordings root.
    without_job : str or None
        A job whose runs are left out.
    """
    # First, so that a run that ends meanwhile is in one of the two, or in both.
    running = [run for run in instance.get_runs(dg.RunsFilter(statuses=[*UNFINISHED])) if run.job_name != without_job]
    until = datetime.now(UTC)
    over = dg.RunsFilter(updated_after=since, updated_before=until, statuses=[*_ENDED, dg.DagsterRunStatus.CANCELED])
    ended = [run for run in instance.get_runs(over) if run.job_name != without_job]
    runs = [run for run in ended if run.status in _ENDED]
    run_ids = {run.run_id for run in runs}
    results = _results(store, ended)
    made = [(key, one) for key, one in results.items() if one.run_id in run_ids]
    failed = [run for run in _last_runs(runs) if run.status == dg.DagsterRunStatus.FAILURE]
    return Digest(
        since=since,
        until=until,
        arrived=_arrived(instance, since),
        sorted_=[(key, one.outcome) for key, one in made if one.unsortable is None and not one.missed_groups],
        missed=[
            (key, f"{one.outcome}. {' '.join(one.missed_groups.values())}") for key, one in made if one.missed_groups
        ],
        unsortable=[(key, results.unsortable) for key, results in made if results.unsortable is not None],
        failed=[one for run in failed[:_FAILED_RUNS_READ] for one in failures_of_run(instance, run)],
        failed_unread=len(failed[_FAILED_RUNS_READ:]),
        checks=_failed_checks(results, run_ids),
        rigs=rig_changes(
            store,
            results,
            {run.run_id for run in ended},
            {run.run_id for run in running},
            RigMemory(instance, since, until),
        ),
        arrivals=arrivals,
        unfinished=len(running),
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


def _results(store: Store, runs: Sequence[dg.DagsterRun]) -> dict[str, RecordingSummary]:
    """The present results of the recordings of these runs, in the order of their keys."""
    keys = sorted({run.tags[PARTITION_TAG] for run in runs if PARTITION_TAG in run.tags})
    return recording_summaries(store, keys)


def _failed_checks(results: Mapping[str, RecordingSummary], run_ids: set[str]) -> dict[str, list[tuple[str, str]]]:
    """By name of a check, the recordings whose result by one of these runs did not pass it; the most frequent first."""
    found: dict[str, list[tuple[str, str]]] = {}
    for key, one in results.items():
        for check in one.checks_not_passed:
            if check.run_id in run_ids:
                found.setdefault(check.name, []).append((key, check.description))
    return dict(sorted(found.items(), key=lambda one: -len(one[1])))


def _of_a_check(name: str, found: Sequence[tuple[str, str]]) -> str:
    """Which recordings did not pass a check, and what was found in the first of them."""
    keys = [key for key, _ in found]
    more = f" and {len(keys) - _RECORDINGS_NAMED} more" if len(keys) > _RECORDINGS_NAMED else ""
    key, description = found[0]
    said = f" {key}: {description}" if description else ""
    return f"{name}: {', '.join(keys[:_RECORDINGS_NAMED])}{more}.{said}"


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


@dg.op(retry_policy=_SEND_RETRIES, out=dg.Out(dg.Nothing), tags=SMALL_STEP.op_tags())
def send_news(context: dg.OpExecutionContext) -> None:
    """Send what happened since the last digest, if anything did."""
    digest = next_digest(context.instance, Store(Roots.from_environment().store))
    message = digest.message
    context.log.info(f"{message.title}\n\n{message.text}")
    context.add_output_metadata({**digest.counts, "text": dg.MetadataValue.text(f"{message.title}\n\n{message.text}")})
    to = destinations()
    if to and not digest.nothing_happened:
        undelivered = send(message, to)
        if len(undelivered) == len(to):
            raise dg.Failure(f"The digest reached nobody: {format_undelivered(undelivered)}.")
        if undelivered:
            context.log.warning(f"The digest did not reach everybody: {format_undelivered(undelivered)}.")
    context.instance.add_run_tags(context.run_id, {UNTIL_TAG: digest.until.isoformat()})


@dg.job(description="Sends what happened to recordings since the last digest.")
def send_digest() -> None:
    """A single op, which takes a second or two."""
    send_news()


def next_digest(instance: dg.DagsterInstance, store: Store) -> Digest:
    """The digest that is to be sent now."""
    from sort_assets.platform.arrivals.folder_report import needs_attention
    from sort_assets.platform.arrivals.recording_catalog import RecordingCatalog

    since = last_digest(instance)
    arrivals = needs_attention(RecordingCatalog(store.root), since.timestamp())
    digest = make_digest(instance, store, since, arrivals, without_job=send_digest.name)
    return replace(digest, disk=_disk())


def _disk() -> str:
    from sort_assets.platform.pipeline.disk_outlook import disk_outlook

    try:
        return disk_outlook(Roots.from_environment()).words
    except OSError:  # what happened to recordings is told all the same
        return ""


def last_digest(instance: dg.DagsterInstance) -> datetime:
    """The time up to which the last digest reported; a day ago when there was none."""
    records = instance.get_run_records(
        dg.RunsFilter(job_name=send_digest.name, statuses=[dg.DagsterRunStatus.SUCCESS]), limit=1
    )
    until = records[0].dagster_run.tags.get(UNTIL_TAG) if records else None
    return datetime.fromisoformat(until) if until else datetime.now(UTC) - _FIRST_PERIOD


def digest_schedule(cron: str) -> dg.ScheduleDefinition:
    """The schedule at the times of a cron expression; with one that is invalid, at the default time."""
    try:
        return _schedule(cron, "")
    except dg.DagsterInvalidDefinitionError:  # it would keep the whole code location from loading
        return _schedule(DEFAULT_DIGEST_CRON, f"{DIGEST_CRON_VARIABLE} is '{cron}', which is no cron expression. ")


def _schedule(cron: str, complaint: str) -> dg.ScheduleDefinition:
    @dg.schedule(
        name="morning_digest",
        job=send_digest,
        cron_schedule=cron,
        execution_timezone=time_zone(),
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"{complaint}Sends the digest to the URLs of {NOTIFY_VARIABLE}; idle while it is not set.",
    )
    def morning_digest(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if complaint:
            context.log.warning(f"{complaint}The digest is sent at '{cron}' instead.")
        if not destinations():
            return dg.SkipReason(f"{complaint}{NOTIFY_VARIABLE} is not set.")
        return dg.RunRequest()

    return morning_digest


def time_zone() -> str:
    """The time zone of this machine, in which the cron expression is read; UTC where its name is unknown."""
    try:
        name = get_localzone_name()
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return "UTC"
    return name


morning_digest = digest_schedule(read_environment().digest_cron)
