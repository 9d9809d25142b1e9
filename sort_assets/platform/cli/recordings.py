"""Commands about which recordings there are: `register`, `scan`, `forget`, `purge`, `retry-failed`."""

import sys
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
    from sort_assets.platform.arrivals.preview import Finding
    from sort_assets.platform.arrivals.removal import Results
    from sort_assets.platform.arrivals.resolver import RecordingMatch

_NEXT_LOOK = "at the next look of the sensor new_recordings"


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--each", is_flag=True, help="Of a folder, register every recording directly inside.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def register(paths: tuple[Path, ...], each: bool, as_json: bool) -> None:
    """Make recordings below the recordings root partitions, and print their keys.

    A file with several streams (wells, probes) gives one key each; a folder of files is one recording, its files
    concatenated in natural order. What was forgotten is known again.
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
                    registered += register_recording(instance, path, roots)
    if as_json:
        print_json([asdict(one) for one in registered])
    else:
        for one in registered:
            say(one.key)
    sys.exit(1 if failed else 0)


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be registered, and of everything else why not.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def scan(dry_run: bool, as_json: bool) -> None:
    """Register every recording below the recordings root that is complete now.

    What is new is looked at twice, with the quiet period of the rules in between (60 s unless they say otherwise), to
    see whether it still grows; Ctrl-C meanwhile does no harm. The runs that are wanted are started by the sensor.
    """
    from sort_assets.config.settings import Roots
    from sort_assets.platform.arrivals.header_reader import HeaderReader
    from sort_assets.platform.execution.home import open_instance, prepare_home

    with errors_in_words():
        roots = Roots.from_environment() if dry_run else prepare_home()
        with open_instance() as instance, closing(HeaderReader()) as reader:
            act = _preview if dry_run else _scan
            try:
                act(instance, roots, reader, as_json)
            except KeyboardInterrupt:
                complain("Interrupted; what was registered stays registered, and the rest can be scanned again.")
                sys.exit(130)


def _preview(instance: "dg.DagsterInstance", roots: "Roots", reader: Any, as_json: bool) -> None:
    from collections import Counter

    from sort_assets.platform.arrivals.preview import Preview

    with errors.status("Looking") as shown:
        preview = Preview(instance, roots, reader, lambda words: shown.update(name_of(words)))
        findings = list(preview.findings())
    if preview.rules_problem is not None:
        complain(f"{preview.rules_problem} Until then the last good rules count; without any, nothing is registered.")
    if as_json:
        print_json([asdict(one) for one in findings])
        return
    for one in findings:
        say(_finding_in_words(one))
    counts = Counter(one.what for one in findings)
    say(", ".join(f"{count} {what}" for what, count in counts.most_common()) or "There is nothing that may be one.")


def _finding_in_words(one: "Finding") -> str:
    from sort_assets.platform.arrivals.preview import NEW, PROBLEM

    what = one.what
    if one.problem is not None:
        what = "can't be registered" if one.what == PROBLEM and not one.keys else one.what
        problem = one.problem
        what += f", because {problem.failure_class}: {problem.message} Remedy: {problem.remedy}"
    elif one.keys:
        what += f" as {', '.join(one.keys)}" if one.what == NEW else f": {', '.join(one.keys)}"
    return f"{name_of(one.path)}: {what}{f'. {one.why}' if one.why else ''}"


def _scan(instance: "dg.DagsterInstance", roots: "Roots", reader: Any, as_json: bool) -> None:
    from sort_assets.platform.arrivals.catalog import RecordingCatalog
    from sort_assets.platform.arrivals.preview import Scan
    from sort_assets.platform.arrivals.sensor import launch_problem

    with errors.status("Looking") as shown:
        look = Scan(instance, roots, reader, lambda words: shown.update(name_of(words))).run()
    wanted = RecordingCatalog(roots.store).num_pending_runs()
    trouble = launch_problem(instance) if wanted else None
    if as_json:
        summary = {"registered": look.registered, "news": look.news, "warnings": look.warnings}
        left = {"waiting": look.waiting, "not_read": look.left}
        print_json({**summary, **left, "runs_wanted": wanted, "not_launched_because": trouble})
        return
    for key in look.registered:
        say(f"registered: {key}")
    for line in look.news:
        say(line)
    for line in look.warnings:
        complain(line)
    say(f"{len(look.registered)} registered, {look.waiting} not complete. `sort-assets status` says more.")
    if look.left:
        complain(f"{look.left} could not be read, since the process that reads them did not start; see above.")
    if wanted:
        say(f"{wanted} runs are wanted; they start {_NEXT_LOOK}, some at a time.")
    if trouble:
        complain(trouble)


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="KEY_OR_PATH...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def forget(names: tuple[str, ...], as_json: bool) -> None:
    """Remove partitions, and ignore their recordings from then on; results stay in the store.

    A key with a stream, like plate.h5@well003, forgets that stream alone. `sort-assets register` makes known again.
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
            naming, forgetting = RecordingResolver(instance, roots), RecordingRemover(instance, roots)
            for name in names:
                with others_go_on(name, failed):
                    forgotten.append(forgetting.forget(naming.find(name)))
    if as_json:
        print_json([asdict(one) for one in forgotten])
    else:
        for one in forgotten:
            what = ", ".join(one.keys) or name_of(one.path or "")
            say(f"forgotten: {what}{'' if one.ignored else ' (other streams of its recording stay)'}")
    sys.exit(1 if failed else 0)


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="KEY_OR_PATH...")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; needs --yes.")
def purge(names: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Forget recordings, and remove everything that was made of them. The raw data stays."""
    from sort_assets.config.settings import Roots
    from sort_assets.platform.arrivals.removal import RecordingRemover
    from sort_assets.platform.arrivals.resolver import RecordingResolver
    from sort_assets.platform.execution.home import open_instance

    if as_json and not yes:
        raise click.UsageError("With --json nobody can be asked; add --yes.")
    failed: list[str] = []
    purged: list[dict[str, Any]] = []
    with errors_in_words():
        roots = Roots.from_environment()
        with open_instance() as instance:
            naming, forgetting = RecordingResolver(instance, roots), RecordingRemover(instance, roots)
            found: list[RecordingMatch] = []
            for name in names:
                with others_go_on(name, failed):
                    found.append(naming.find(name))
            if found and not yes:
                _ask(found, [one for named in found for one in forgetting.results(named)])
            for named in found:
                with others_go_on(named.path or named.keys[0], failed):
                    forgotten, results = forgetting.purge(named)
                    purged.append({**asdict(forgotten), "removed": [asdict(one) for one in results]})
    if as_json:
        print_json(purged)
    else:
        for one in purged:
            freed = sum(removed["bytes"] for removed in one["removed"])
            what = ", ".join(removed["key"] for removed in one["removed"]) or name_of(one["path"] or "")
            say(f"purged: {what} ({decimal(freed)})")
    sys.exit(1 if failed else 0)


def _ask(found: "list[RecordingMatch]", results: "list[Results]") -> None:
    for named in found:
        say(f"To be forgotten: {', '.join(named.keys) or name_of(named.path or '')}")
    for one in results:
        say(f"To be removed: {one.key} ({', '.join(one.assets) or 'nothing finished'}, {decimal(one.bytes)})")
    total = decimal(sum(one.bytes for one in results))
    click.confirm(f"Remove {total} for good? The raw data stays", abort=True)


@click.command("retry-failed")
@click.argument("names", nargs=-1, metavar="[KEY_OR_PATH...]")
@click.option("--class", "failure_class", metavar="CLASS", help="Only what failed with this class of error.")
@click.option("--unreadable", is_flag=True, help="Also read again what could not be registered.")
@click.option("--dry-run", is_flag=True, help="Only say what would be tried again.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def retry_failed(
    names: tuple[str, ...], failure_class: str | None, unreadable: bool, dry_run: bool, as_json: bool
) -> None:
    """Try again what failed, from the asset that failed on; without names, of all recordings.

    What was unsortable has not failed. A path that could not be read or registered is read again.
    """
    from sort_assets.config.settings import Roots
    from sort_assets.platform.arrivals.resolver import RecordingResolver
    from sort_assets.platform.arrivals.sensor import launch_problem
    from sort_assets.platform.automation import retrying
    from sort_assets.platform.automation.status import recording_statuses
    from sort_assets.platform.execution.home import open_instance
    from sort_assets.platform.store.store import Store

    not_done: list[str] = []
    named: list[RecordingMatch] = []
    retried: list[retrying.Failed] = []
    with errors_in_words():
        roots = Roots.from_environment()
        with open_instance() as instance:
            if names:
                naming = RecordingResolver(instance, roots)
                for name in names:
                    with others_go_on(name, not_done):
                        named.append(naming.find(name))
            keys = {key for one in named for key in one.keys}
            statuses = recording_statuses(instance, Store(roots.store))
            failed = retrying.failed_recordings(
                instance, roots, [one for one in statuses if not names or one.recording in keys]
            )
            for one in failed if failure_class is None else retrying.of_class(failed, failure_class):
                with others_go_on(one.key, not_done):
                    if not (dry_run or one.wanted):
                        retrying.want_again(instance, roots, one)
                    retried.append(one)
            paths = retrying.unreadable(roots, named, everything=unreadable and not names)
            read_again = [path for path in paths if dry_run or retrying.read_again(roots, path)]
            trouble = launch_problem(instance) if retried or read_again else None
    if as_json:
        runs = [asdict(one) for one in retried]
        print_json({"runs": runs, "read_again": read_again, "dry_run": dry_run, "not_launched_because": trouble})
    else:
        for one in retried:
            say(f"{one.key}: {', '.join(one.assets)} (failed with {one.failure_class}: {one.message})")
        for path in read_again:
            say(f"{name_of(path)}: is read again")
        if retried or read_again:
            say(f"{'That would happen' if dry_run else 'That happens'} {_NEXT_LOOK}.")
        elif not not_done:
            say("Nothing of what you named has failed." if names else "Nothing has failed.")
    if trouble:
        complain(trouble)
    sys.exit(1 if not_done else 0)
