"""Commands about results: `status`, `digest`, `gc`, `lessons`."""

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING

import click
from rich.filesize import decimal

from sort_assets.errors import InstanceError
from sort_assets.platform.cli.printing import complain, errors_in_words, name_of, print_json, print_table, say

if TYPE_CHECKING:
    from sort_assets.config.settings import Roots
    from sort_assets.platform.automation.status import RecordingStatus, UnregisteredStatus
    from sort_assets.platform.store.living_writers import RunIsOver

_ALL = "all"


@click.command()
@click.argument("names", nargs=-1, metavar="[KEY_OR_GLOB...]")
@click.option("--failed", is_flag=True, help="Show what failed.")
@click.option("--unsortable", is_flag=True, help="Show what had nothing to sort.")
@click.option(
    "--degraded", is_flag=True, help="Show what was sorted with reduced parameters, is not whole, or lacks a group."
)
@click.option("--waiting", is_flag=True, help="Show what is incomplete, or waits for its run to start.")
@click.option("--problems", is_flag=True, help="Show what could not be registered, is no longer readable, or is gone.")
@click.option("--changed", is_flag=True, help="Show what changed since it was sorted.")
@click.option("--checks", is_flag=True, help="Show what did not pass a check, and what each check found.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(
    names: tuple[str, ...],
    failed: bool,
    unsortable: bool,
    degraded: bool,
    waiting: bool,
    problems: bool,
    changed: bool,
    checks: bool,
    as_json: bool,
) -> None:
    """Show which assets of each recording are done, the outcome, and what failed.

    Names are keys or paths relative to the recordings root, with wildcards as in a shell. With several filters,
    recordings that match any of them are shown.
    """
    from sort_assets.config.settings import Roots
    from sort_assets.platform.automation.status import Filters, recording_statuses, select, unregistered_statuses
    from sort_assets.platform.execution.gpu_choice import quarantine_notices
    from sort_assets.platform.execution.home import open_instance
    from sort_assets.platform.execution.lease_folder import lease_folder
    from sort_assets.platform.store.store import Store

    filters = Filters(failed, unsortable, degraded, waiting, problems, changed, checks)
    with errors_in_words(), open_instance() as instance:
        roots = Roots.from_environment()
        store = Store(roots.store)
        selection = select(recording_statuses(instance, store), unregistered_statuses(store), names, filters)
    if as_json:
        print_json([*(one.to_dict() for one in selection.recordings), *(one.to_dict() for one in selection.others)])
    else:
        _print_recordings(selection.recordings, checks=checks or bool(names))
        _print_others(selection.others, in_full=bool(names))
        for notice in quarantine_notices(lease_folder()):
            say(notice)
        if not names and not filters.any:
            _say_disk(roots)
        if not selection.recordings and not selection.others and not selection.unmatched:
            nothing = "No recordings are registered. Use `sort-assets register PATH`."
            say("Nothing matches." if names or filters.any else nothing)
    for name, nearest in selection.unmatched.items():
        hint = f" Did you mean {', '.join(nearest)}?" if nearest else ""
        complain(f"{name_of(name)}: there is no such recording.{hint}")
    sys.exit(1 if selection.unmatched else 0)


def _say_disk(roots: "Roots") -> None:
    from sort_assets.platform.pipeline.disk_outlook import disk_outlook

    try:
        say(f"Disk of the store: {disk_outlook(roots).words}.")
    except OSError as error:
        complain(f"The disk of the store can't be asked: {error}.")


def _print_recordings(statuses: "list[RecordingStatus]", *, checks: bool) -> None:
    if not statuses:
        return
    columns = ("recording", "done", "outcome", "last run")
    rows = [(one.recording, _done(one.assets), one.outcome, _last_run(one)) for one in statuses]
    print_table(columns, rows, wrapped={"recording", "outcome"}, styles={_ALL: "green"})
    for one in statuses:
        failure = one.results.standing
        if failure is not None:
            say(f"{one.recording}: {failure.error} Logs: {one.results.failure_folder}")
        for why in one.results.missed_groups.values():
            say(f"{one.recording}: MissedSpikesError: {why}")
        if one.problem is not None:
            say(f"{one.recording}: {type(one.problem).__name__}: {one.problem}")
        for check in one.results.checks_not_passed if checks else ():
            say(f"{one.recording}: {check.asset} did not pass {check.name} ({check.severity}): {check.description}")
        if one.missing_since is not None:
            say(f"{one.recording}: the recording is gone since {one.missing_since}; its results are kept.")


def _last_run(one: "RecordingStatus") -> str:
    if one.last_run is not None:
        return ", ".join(filter(None, (one.last_run.status.value.lower(), one.estimate)))
    return "wanted" if one.run_wanted else "never"


def _done(assets: Mapping[str, bool]) -> str:
    """How far the pipeline is: "all", "nothing", or "4 of 8, not unit_metrics, curated_units, …"."""
    missing = [asset for asset, is_done in assets.items() if not is_done]
    if not missing:
        return _ALL
    if len(missing) == len(assets):
        return "nothing"
    return f"{len(assets) - len(missing)} of {len(assets)}, not {missing[0]}{', …' if len(missing) > 1 else ''}"


def _print_others(others: "Iterable[UnregisteredStatus]", *, in_full: bool) -> None:
    """What is no partition; only numbers of what is ignored or forgotten."""
    from collections import Counter

    skipped: Counter[str] = Counter()
    for one in others:
        path = name_of(one.path)
        state, problem = one.state.value, one.problem
        if state in ("ignored", "forgotten") and not in_full:
            skipped[state] += 1
        elif problem is not None:
            say(f"{path}: not registered, {type(problem).__name__}: {problem}")
        else:
            say(f"{path}: {state}, unchanged since {one.since}")
    if skipped:
        counts = ", ".join(f"{count} {state}" for state, count in sorted(skipped.items()))
        say(f"Skipped: {counts}. `sort-assets scan --dry-run` lists them.")


@click.command()
@click.option("--send", "is_sent", is_flag=True, help="Send it to the URLs of SORT_ASSETS_NOTIFY.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def digest(is_sent: bool, as_json: bool) -> None:
    """Show the digest that would be sent now; with --send, send it, which tests the notification settings."""
    from sort_assets.config.settings import NOTIFY_VARIABLE, Roots
    from sort_assets.errors import ConfigError
    from sort_assets.platform.automation.digest import next_digest
    from sort_assets.platform.automation.notifications import check_destinations, destinations, send
    from sort_assets.platform.execution.home import open_instance
    from sort_assets.platform.store.store import Store

    with errors_in_words(), open_instance() as instance:
        store = Store(Roots.from_environment().store)
        if is_sent and not destinations():
            raise ConfigError(
                f"{NOTIFY_VARIABLE} is not set, so there is nowhere to send it.",
                remedy="Set it to one or more URLs of Apprise, https://appriseit.com/services.",
            )
        if is_sent:
            check_destinations()
        news = next_digest(instance, store)
    undelivered = send(news.message) if is_sent else []
    if as_json:
        content = {"title": news.message.title, "text": news.message.text, "counts": news.counts}
        period = {"since": news.since.isoformat(), "until": news.until.isoformat()}
        print_json({**content, **period, "sent": is_sent, "undelivered": [str(one) for one in undelivered]})
    else:
        say(f"{news.message.title}\n\n{news.message.text}")
        if is_sent and not undelivered:
            say("\nSent.")
    for one in undelivered:
        complain(f"Not delivered to {one}")
    sys.exit(1 if undelivered else 0)


@click.command()
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
@click.option(
    "--keep", multiple=True, metavar="ASSET=N", help="Number of versions of an asset to keep, or 'all'; repeatable."
)
@click.option(
    "--logs-older-than",
    type=click.FloatRange(min=0),
    metavar="DAYS",
    help="Also remove the logs of runs that ended so many days ago, from Dagster's database and what steps printed.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def gc(dry_run: bool, keep: tuple[str, ...], logs_older_than: float | None, as_json: bool) -> None:
    """Clean the store, and this node's scratch: leftovers of killed steps, old versions and failure records, lessons.

    By default the newest versions of large assets are kept (of .dat, waveforms and variants one), and all versions of
    other assets; SORT_ASSETS_KEEP, like "binary_dat=2,waveforms=all", and --keep change that. A recording that is being
    written or sorted is skipped. Logs of runs stay, unless --logs-older-than is given; materializations, verdicts of
    checks, failures and the runs themselves stay in any case.
    """
    from sort_assets.config.settings import Roots
    from sort_assets.platform.automation.run_logs import RemovedLogs, remove_logs
    from sort_assets.platform.execution.home import open_instance
    from sort_assets.platform.execution.scratch import remove_leftovers, scratch_root
    from sort_assets.platform.pipeline.catalog import is_on_demand
    from sort_assets.platform.pipeline.retention import versions_kept
    from sort_assets.platform.store.garbage import SCRATCH, Removal, collect_garbage
    from sort_assets.platform.store.store import Store

    with errors_in_words():
        store = Store(Roots.from_environment().store, _asks_the_instance())
        collected = collect_garbage(store, versions_kept(keep), on_demand=is_on_demand, dry_run=dry_run)
        if (scratch := scratch_root()) is not None:
            left = remove_leftovers(scratch, dry_run=dry_run)
            collected.removed += [Removal(SCRATCH, str(path), size) for path, size in left]
        logs = RemovedLogs(0, 0)
        if logs_older_than is not None:
            with open_instance() as instance:
                logs = remove_logs(instance, logs_older_than, dry_run=dry_run)
    if as_json:
        print_json({**asdict(collected), "bytes": collected.bytes, "logs": asdict(logs), "dry_run": dry_run})
    else:
        for removal in collected.removed:
            say(f"{removal.what}: {removal.path} ({decimal(removal.bytes)})")
        for recording in collected.in_use:
            say(f"skipped, in use: {recording}")
        if logs_older_than is not None:
            say(f"logs of {logs.runs} runs {'would be removed' if dry_run else f'removed, {logs.lines} lines'}")
        say(f"{'Would free' if dry_run else 'Freed'} {decimal(collected.bytes)}.")
    for recording, reason in collected.failed.items():
        complain(f"{recording}: {reason}")
    sys.exit(1 if collected.failed else 0)


def _asks_the_instance() -> "RunIsOver":
    """Opens the Dagster instance once something is found of which only it can say whether its run is over."""

    @cache
    def opened() -> "RunIsOver | None":
        from sort_assets.platform.execution.home import open_instance
        from sort_assets.platform.execution.remote_steps import run_is_over_in

        try:
            return run_is_over_in(open_instance())
        except InstanceError as error:
            complain(f"What writers on other hosts left is kept, since nobody can say whether they live: {error}")
            return None

    def is_over(run_id: str) -> bool | None:
        asked = opened()
        return None if asked is None else asked(run_id)

    return is_over


@click.command()
@click.option("--clear", is_flag=True, help="Remove them all.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def lessons(clear: bool, as_json: bool) -> None:
    """Show the reduced parameters that sorts start with because earlier ones ran out of memory."""
    from sort_assets.config.settings import Roots
    from sort_assets.platform.store.memory_profiles import MemoryProfiles

    with errors_in_words():
        profiles = MemoryProfiles(Roots.from_environment().store)
    found = profiles.forget() if clear else profiles.all()
    if as_json:
        print_json([lesson.model_dump(mode="json") for lesson in found])
        return
    for lesson in found:
        until = "forgotten" if clear else f"{'expired' if lesson.expired else 'until'} {lesson.expires:%Y-%m-%d}"
        say(f"{lesson.shape.name}: {json.dumps(lesson.params)}, from {lesson.recording}, {until}")
    if not found:
        say("There are no lessons.")
