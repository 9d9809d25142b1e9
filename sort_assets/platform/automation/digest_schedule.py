"""The schedule that sends the digest, every morning unless `SORT_ASSETS_DIGEST_CRON` says otherwise."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
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
from sort_assets.platform.automation.notifications import destinations, in_words, send
from sort_assets.platform.store.store import Store

if TYPE_CHECKING:
    from sort_assets.platform.automation.digest import Digest

UNTIL_TAG = "sort_assets/digest_until"
"""Of a run of the digest: up to when it told, which is where the next one begins."""
_FIRST = timedelta(days=1)
_AGAIN = dg.RetryPolicy(max_retries=3, delay=60, backoff=dg.Backoff.EXPONENTIAL)


@dg.op(retry_policy=_AGAIN, out=dg.Out(dg.Nothing))
def tell_what_happened(context: dg.OpExecutionContext) -> None:
    """Send what happened since the last digest; nothing, when nothing did."""
    digest = next_digest(context.instance, Store(Roots.from_environment().store))
    message = digest.message
    context.log.info(f"{message.title}\n\n{message.text}")
    context.add_output_metadata({**digest.counts, "text": dg.MetadataValue.text(f"{message.title}\n\n{message.text}")})
    to = destinations()
    if to and not digest.nothing_happened:
        undelivered = send(message, to)
        if len(undelivered) == len(to):
            raise dg.Failure(f"Nobody could be told: {in_words(undelivered)}.")
        if undelivered:
            context.log.warning(f"Some could not be told: {in_words(undelivered)}.")
    context.instance.add_run_tags(context.run_id, {UNTIL_TAG: digest.until.isoformat()})


@dg.job(description="Tells what happened to recordings since the last time.")
def send_digest() -> None:
    """One op, of a second or two."""
    tell_what_happened()


def next_digest(instance: dg.DagsterInstance, store: Store) -> "Digest":
    """What is to be told now."""
    from sort_assets.platform.arrivals.catalog import RecordingCatalog
    from sort_assets.platform.arrivals.folder_report import needs_attention
    from sort_assets.platform.automation.digest import digest_text

    since = last_digest(instance)
    arrivals = needs_attention(RecordingCatalog(store.root), since.timestamp())
    return digest_text(instance, store, since, arrivals, apart_from=send_digest.name)


def last_digest(instance: dg.DagsterInstance) -> datetime:
    """Up to when the last digest told; a day ago when there was none."""
    records = instance.get_run_records(
        dg.RunsFilter(job_name=send_digest.name, statuses=[dg.DagsterRunStatus.SUCCESS]), limit=1
    )
    until = records[0].dagster_run.tags.get(UNTIL_TAG) if records else None
    return datetime.fromisoformat(until) if until else datetime.now(UTC) - _FIRST


def digest_schedule(cron: str) -> dg.ScheduleDefinition:
    """The schedule at the times of a cron expression; with one that is invalid, at the default time."""
    try:
        return _schedule(cron, "")
    except dg.DagsterInvalidDefinitionError:  # raised, it would take the whole code location with it
        return _schedule(DEFAULT_DIGEST_CRON, f"{DIGEST_CRON_VARIABLE} is '{cron}', which is no cron expression. ")


def _schedule(cron: str, complaint: str) -> dg.ScheduleDefinition:
    @dg.schedule(
        name="morning_digest",
        job=send_digest,
        cron_schedule=cron,
        execution_timezone=time_zone(),
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"{complaint}Sends the digest wherever {NOTIFY_VARIABLE} says; idle while it says nothing.",
    )
    def morning_digest(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if complaint:
            context.log.warning(f"{complaint}The digest is sent at '{cron}' instead.")
        if not destinations():
            return dg.SkipReason(f"{complaint}{NOTIFY_VARIABLE} is not set.")
        return dg.RunRequest()

    return morning_digest


def time_zone() -> str:
    """The time zone of this machine, in whose time the cron expression is meant; UTC where it has no known name."""
    try:
        name = get_localzone_name()
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return "UTC"
    return name


morning_digest = digest_schedule(read_environment().digest_cron)
