"""Commands about recordings: `register`, `scan`, `forget`, `purge`, `retry-failed`."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.filesize import decimal

from sort_assets.platform.cli.printing import complain, errors, errors_in_words, name_of, others_go_on, print_json, say

if TYPE_CHECKING:
    import dagster as dg

    from sort_assets.config.settings import Roots
    from sort_assets.errors import SortAssetsError
    from sort_assets.platform.arrivals.dry_run import PlannedRecording
    from sort_assets.platform.arrivals.header_reader import HeaderReader
    from sort_assets.platform.arrivals.removal import Results
    from sort_assets.platform.arrivals.resolver import RecordingMatch

_MOST_ALIKE = 5
_NEXT_TICK = "at the next tick of the sensor new_recordings"


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--each", is_flag=True, help="Register every recording directly inside a folder.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def register(paths: tuple[Path, ...], each: bool, as_json: bool) -> None:
    """Register recordings below the recordings root as partitions, and print their keys.

    A file with several streams (wells, probes) gives one key per stream. A folder of files is one recording: its files
    are concatenated in natural order. A recording that was forgotten comes back.
    """
    from sort_assets.platform.arrivals.registration import find_recordings, register_recording
    from sort_assets.platform.execution.home import open_instance, prepare_home

    failed: list[str] = []
    registered = []
    with errors_in_words():
        roots = prepare_home()
        with open_instance() as instance:
            named = [] if each else list(paths)
            for folder in paths if each else ():
                with others_go_on(folder, failed):
                    named += find_recordings(folder)
            for path in named:
                with others_go_on(path, failed):
                    registered += register_recording(
                        instance, path, roots, lambda key, problem: _complain_of_stream(key, problem, failed), complain
                    )
    if as_json:
        print_json([asdict(one) for one in registered])
    else:
        for one in registered:
            say(one.key)
            if one.clock is not None:
                complain(f"{name_of(one.key)}: {one.clock}")
    sys.exit(1 if failed else 0)


def _complain_of_stream(key: str, problem: "SortAssetsError", failed: list[str]) -> None:
    failed.append(key)
    complain(f"{name_of(key)}: {type(problem).__name__}: {problem}")


@click.command()
@click.option("--dry-run", is_flag=True, help="Only show what would be registered, and why everything else would not.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def scan(dry_run: bool, as_json: bool) -> None:
    """Register every recording below the recordings root that is complete now.

    New recordings are checked twice, with the quiet period of the rules in between (60 s by default), to see whether
    they still grow; Ctrl-C meanwhile does no harm. The sensor new_recordings starts the runs.
    """
    from sort_assets.config.settings import Roots
    from sort_assets.platform.arrivals.header_reader import HeaderReader
    from sort_assets.platform.execution.home import open_instance, prepare_home

    with errors_in_words():
        roots = Roots.from_environment() if dry_run else prepare_home()
        with open_instance() as instance, closing(HeaderReader()) as reader:
            command = _print_plan if dry_run else _scan
            try:
                command(instance, roots, reader, as_json)
            except KeyboardInterrupt:
                complain("Interrupted. What was registered stays registered; run the command again for the rest.")
                sys.exit(130)


def _print_plan(instance: "dg.DagsterInstance", roots: "Roots", reader: "HeaderReader", as_json: bool) -> None:
    from collections import Counter

    from sort_assets.platform.arrivals.dry_run import DryRun

    with errors.status("Scanning") as shown:
        dry_run = DryRun(instance, roots, reader, lambda text: shown.update(name_of(text)))
        recordings = list(dry_run.recordings())
    if dry_run.rules_problem is not None:
        complain(
            f"{dry_run.rules_problem} Until then the last good rules are in force; without any, nothing is registered."
        )
    if as_json:
        print_json([asdict(one) for one in recordings])
        return
    for line in planned_lines(recordings):
        say(line)
    counts = Counter(one.what for one in recordings)
    say(", ".join(f"{count} {what}" for what, count in counts.most_common()) or "Nothing there may be a recording.")


def planned_lines(recordings: "Sequence[PlannedRecording]") -> Iterator[str]:
    """A line for each; one for all files of a folder with the same suffix that are no recordings, such as images."""
    from collections import Counter

    from sort_assets.platform.arrivals.dry_run import FOREIGN

    def alike(one: "PlannedRecording") -> str | None:
        folder, _, name = one.path.rpartition("/")
        if one.what != FOREIGN or one.why or "." not in name:
            return None
        return f"{folder}/*.{name.rpartition('.')[2]}".lstrip("/")

    counts = Counter(alike(one) for one in recordings)
    told: set[str] = set()
    for one in recordings:
        pattern = alike(one)
        if pattern is None or counts[pattern] <= _MOST_ALIKE:
            yield _format_planned(one)
        elif pattern not in told:
            told.add(pattern)
            yield f"{name_of(pattern)}: no recordings ({counts[pattern]} files)"


def _format_planned(one: "PlannedRecording") -> str:
    from sort_assets.platform.arrivals.dry_run import NEW, PROBLEM

    what = one.what
    if one.problem is not None:
        what = "can't be registered" if one.what == PROBLEM and not one.keys else one.what
        problem = one.problem
        what += f", because {problem.failure_class}: {problem.message} Remedy: {problem.remedy}"
    elif one.keys:
        what += f" as {', '.join(one.keys)}" if one.what == NEW else f": {', '.join(one.keys)}"
    return f"{name_of(one.path)}: {what}{f'. {one.why}' if one.why else ''}"


def _scan(instance: "dg.DagsterInstance", roots: "Roots", reader: "HeaderReader", as_json: bool) -> None:
    from sort_assets.platform.arrivals.recording_catalog import RecordingCatalog
    from sort_assets.platform.arrivals.scanner import WITHOUT_LIMITS, RecordingScanner
    from sort_assets.platform.arrivals.sensor import NAME, launch_problem

    with errors.status("Scanning") as shown:
        result = RecordingScanner(
            instance,
            roots,
            reader,
            sensor=NAME,
            limits=WITHOUT_LIMITS,
            on_progress=lambda text: shown.update(name_of(text)),
        ).scan_until_quiet()
    pending = RecordingCatalog(roots.store).num_pending_runs()
    problem = launch_problem(instance) if pending else None
    if as_json:
        done = {"registered": result.registered, "news": result.changes, "warnings": result.warnings}
        left = {"waiting": result.waiting, "not_read": result.unread}
        print_json({**done, **left, "runs_wanted": pending, "not_launched_because": problem})
        return
    for key in result.registered:
        say(f"registered: {key}")
    for line in result.changes:
        say(line)
    for line in result.warnings:
        complain(line)
    say(f"{len(result.registered)} registered, {result.waiting} not complete. `sort-assets status` shows more.")
    if result.unread:
        complain(f"{result.unread} not read, because the process that reads headers did not start. Scan again.")
    if pending:
        say(f"{pending} runs are waiting; they start {_NEXT_TICK}, a few at a time.")
    if problem:
        complain(problem)


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="KEY_OR_PATH...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def forget(names: tuple[str, ...], as_json: bool) -> None:
    """Remove partitions, and ignore their recordings from now on. Results stay in the store.

    A key with a stream, such as plate.h5@well003, forgets only that stream. `sort-assets register` brings it back.
    """
    from sort_assets.config.settings import Roots
    from sort_assets.platform.arrivals.removal import RecordingRemover
    from sort_assets.platform.arrivals.resolver import RecordingResolver
    from sort_assets.platform.execution.home import open_instance

    failed: list[str] = []
    forgotten = []
    with errors_in_words():
        roots = Roots.from_environment()
        with open_instance() as instance:
            resolver, remover = RecordingResolver(instance, roots), RecordingRemover(instance, roots)
            for name in names:
                with others_go_on(name, failed):
                    forgotten.append(remover.forget(resolver.find(name)))
    if as_json:
        print_json([asdict(one) for one in forgotten])
    else:
        for one in forgotten:
            what = ", ".join(one.keys) or name_of(one.path or "")
            say(f"forgotten: {what}{'' if one.ignored else ' (other streams of its recording stay)'}")
    sys.exit(1 if failed else 0)


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="KEY_OR_PATH...")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; needs --yes.")
def purge(names: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Forget recordings and delete all their results. The raw data stays."""
    from sort_assets.config.settings import Roots
    from sort_assets.platform.arrivals.removal import RecordingRemover
    from sort_assets.platform.arrivals.resolver import RecordingResolver
    from sort_assets.platform.execution.home import open_instance

    if as_json and not yes:
        raise click.UsageError("--json can't ask for confirmation; add --yes.")
    failed: list[str] = []
    purged: list[dict[str, Any]] = []
    with errors_in_words():
        roots = Roots.from_environment()
        with open_instance() as instance:
            resolver, remover = RecordingResolver(instance, roots), RecordingRemover(instance, roots)
            matches: list[RecordingMatch] = []
            for name in names:
                with others_go_on(name, failed):
                    matches.append(resolver.find(name))
            if matches and not yes:
                _confirm(matches, [one for match in matches for one in remover.results(match)])
            for match in matches:
                with others_go_on(match.path or match.keys[0], failed):
                    forgotten, results = remover.purge(match)
                    purged.append({**asdict(forgotten), "removed": [asdict(one) for one in results]})
    if as_json:
        print_json(purged)
    else:
        for one in purged:
            freed = sum(removed["bytes"] for removed in one["removed"])
            what = ", ".join(removed["key"] for removed in one["removed"]) or name_of(one["path"] or "")
            say(f"purged: {what} ({decimal(freed)})")
    sys.exit(1 if failed else 0)


def _confirm(matches: "list[RecordingMatch]", results: "list[Results]") -> None:
    for match in matches:
        say(f"To be forgotten: {', '.join(match.keys) or name_of(match.path or '')}")
    for one in results:
        say(f"To be removed: {one.key} ({', '.join(one.assets) or 'nothing finished'}, {decimal(one.bytes)})")
    total = decimal(sum(one.bytes for one in results))
    click.confirm(f"Delete {total} for good? The raw data stays", abort=True)


@click.command("retry-failed")
@click.argument("names", nargs=-1, metavar="[KEY_OR_PATH...]")
@click.option("--class", "failure_class", metavar="CLASS", help="Retry only what failed with this class of error.")
@click.option("--unreadable", is_flag=True, help="Also read again what could not be registered.")
@click.option("--dry-run", is_flag=True, help="Only show what would be retried.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def retry_failed(
    names: tuple[str, ...], failure_class: str | None, unreadable: bool, dry_run: bool, as_json: bool
) -> None:
    """Retry what failed, from the asset that failed onwards; without names, for all recordings.

    An unsortable recording has not failed. A path that could not be registered is read again.
    """
    from sort_assets.config.settings import Roots
    from sort_assets.platform.arrivals.resolver import RecordingResolver
    from sort_assets.platform.arrivals.sensor import launch_problem
    from sort_assets.platform.automation import retries
    from sort_assets.platform.automation.status import recording_statuses
    from sort_assets.platform.execution.home import open_instance
    from sort_assets.platform.store.store import Store

    not_done: list[str] = []
    matches: list[RecordingMatch] = []
    retried: list[retries.FailedRecording] = []
    with errors_in_words():
        roots = Roots.from_environment()
        with open_instance() as instance:
            if names:
                resolver = RecordingResolver(instance, roots)
                for name in names:
                    with others_go_on(name, not_done):
                        matches.append(resolver.find(name))
            keys = {key for match in matches for key in match.keys}
            statuses = recording_statuses(instance, Store(roots.store))
            failed = retries.failed_recordings(roots, [one for one in statuses if not names or one.recording in keys])
            for one in failed if failure_class is None else retries.of_class(failed, failure_class):
                with others_go_on(one.key, not_done):
                    if not (dry_run or one.wanted):
                        retries.request_retry(instance, roots, one)
                    retried.append(one)
            paths = retries.unreadable(roots, matches, everything=unreadable and not names)
            read_again = [path for path in paths if dry_run or retries.read_again(roots, path)]
            problem = launch_problem(instance) if retried or read_again else None
    if as_json:
        runs = [asdict(one) for one in retried]
        print_json({"runs": runs, "read_again": read_again, "dry_run": dry_run, "not_launched_because": problem})
    else:
        for one in retried:
            say(f"{one.key}: {', '.join(one.assets)} (failed with {one.failure_class}: {one.message})")
        for path in read_again:
            say(f"{name_of(path)}: to be read again")
        if retried or read_again:
            say(f"This {'would happen' if dry_run else 'happens'} {_NEXT_TICK}.")
        elif not not_done:
            say("Nothing of what you named has failed." if names else "Nothing has failed.")
    if problem:
        complain(problem)
    sys.exit(1 if not_done else 0)
