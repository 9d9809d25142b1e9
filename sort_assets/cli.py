"""The `sort-assets` command."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from sort_assets.errors import SortAssetsError

_console = Console(highlight=False)
_errors = Console(stderr=True, highlight=False)
_MARKS = {True: "[green]done[/]", False: "-"}
_COLOURS = {"ok": "green", "warning": "yellow", "error": "red"}


@contextmanager
def _errors_in_words() -> Iterator[None]:
    try:
        yield
    except SortAssetsError as error:
        _errors.print(f"[red]{type(error).__name__}[/]: ", end="")
        _errors.print(error.message, markup=False)
        _errors.print("Remedy: ", end="")
        _errors.print(error.remedy, markup=False)
        sys.exit(1)


@contextmanager
def _others_go_on(path: Path, failed: list[Path]) -> Iterator[None]:
    """Print what is wrong with one of several recordings, and note that it failed."""
    try:
        yield
    except SortAssetsError as error:
        failed.append(path)
        _errors.print(f"{path}: {error}", markup=False, soft_wrap=True)


def _say(line: str) -> None:
    _console.print(line, markup=False, soft_wrap=True)


@click.group()
@click.version_option(package_name="sort-assets")
def main() -> None:
    """Spike sorting as a Dagster asset platform."""
    from sort_assets.execution.home import load_environment

    load_environment()


@main.command()
def init() -> None:
    """Write the checkout's .env unless there is one, and set up the Dagster instance."""
    from sort_assets.execution.home import load_environment, prepare_home, write_environment

    with _errors_in_words():
        env = write_environment(Path.cwd())
        load_environment()
        roots = prepare_home()
    _say(f"Settings: {env}\nRecordings: {roots.recordings}\nStore: {roots.store}")


@main.command()
def demo() -> None:
    """Sort a small recording with known spikes, and compare the result with the truth."""
    from sort_assets.demo import run_demo
    from sort_assets.execution.home import open_instance, prepare_home

    with _errors_in_words():
        roots = prepare_home()
        with open_instance() as instance:
            result = run_demo(instance, roots, _say)
    table = Table(title=f"Demo: {result.recording}")
    table.add_column("result")
    table.add_column("value", justify="right")
    table.add_row("units found", f"{result.units_found} of {result.units_true}")
    table.add_row("units with accuracy of at least 0.8", str(result.units_well_detected))
    table.add_row("mean accuracy", f"{result.mean_accuracy:.3f}")
    for asset, seconds in result.seconds.items():
        table.add_row(f"{asset}", f"{seconds:.1f} s")
    table.add_row("everything", f"{result.total_s:.1f} s")
    _console.print(table)
    _say("Open the UI with `make up`, then http://127.0.0.1:3000/assets/sorting")


@main.command()
@click.option("--port", default=3000, show_default=True, help="Port of the Dagster UI on 127.0.0.1.")
def up(port: int) -> None:
    """Open the Dagster UI with its daemon, and serve the figures."""
    from sort_assets.execution.home import open_instance, prepare_home, size_gpu_pool
    from sort_assets.execution.servers import run_servers

    with _errors_in_words():
        roots = prepare_home()
        with open_instance() as instance:
            _say(f"Sorts at the same time: {size_gpu_pool(instance)}")
        sys.exit(run_servers(roots, port, _say))


@main.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--each", is_flag=True, help="Of a folder, register every recording directly inside.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def register(paths: tuple[Path, ...], each: bool, as_json: bool) -> None:
    """Make recordings below the recordings root partitions, and print their keys.

    A file with several streams (wells, probes) gives one key each; a folder of files is one recording, its files
    concatenated in natural order.
    """
    from sort_assets.automation.registration import find_recordings, register_recording
    from sort_assets.execution.home import open_instance, prepare_home

    failed: list[Path] = []
    registered = []
    with _errors_in_words():
        roots = prepare_home()
        with open_instance() as instance:
            named = [] if each else list(paths)
            for folder in paths if each else ():
                with _others_go_on(folder, failed):
                    named += find_recordings(folder)
            for path in named:
                with _others_go_on(path, failed):
                    registered += register_recording(instance, path, roots.recordings)
    if as_json:
        _say(json.dumps([asdict(one) for one in registered]))
    else:
        for one in registered:
            _say(one.key)
    sys.exit(1 if failed else 0)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(as_json: bool) -> None:
    """Show which assets of which recordings are done, what came out, and what failed."""
    from sort_assets.automation.jobs import PIPELINE
    from sort_assets.automation.status import recording_statuses
    from sort_assets.execution.home import open_instance
    from sort_assets.storage import Roots, Store

    with _errors_in_words(), open_instance() as instance:
        statuses = recording_statuses(instance, Store(Roots.from_environment().store))
    if as_json:
        _say(json.dumps([asdict(one) for one in statuses]))
        return
    if not statuses:
        _say("No recordings are registered. Use `sort-assets register PATH`.")
        return
    table = Table()
    for column in ("recording", *PIPELINE, "outcome", "last run"):
        table.add_column(column, overflow="fold")
    for one in statuses:
        marks = [_MARKS[one.assets[asset]] for asset in PIPELINE]
        table.add_row(one.recording, *marks, escape(one.outcome), (one.last_run_status or "never").lower())
    _console.print(table)
    for one in statuses:
        if one.failure is not None:
            _say(f"{one.recording}: {one.failure.message} Remedy: {one.failure.remedy} Logs: {one.failure.folder}")


@main.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("--keep", multiple=True, metavar="ASSET=N", help="Versions of an asset to keep, or 'all'; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def gc(dry_run: bool, keep: tuple[str, ...], as_json: bool) -> None:
    """Clean the store: remains of killed steps, old versions, old failure records, expired lessons.

    By default the newest .dat and waveforms stay, and every version of anything else; SORT_ASSETS_KEEP, like
    "binary_dat=2,waveforms=all", and --keep change that. A recording that is being written or sorted is left alone.
    """
    from sort_assets.storage import Roots, Store
    from sort_assets.storage.garbage import collect_garbage
    from sort_assets.storage.retention import versions_kept

    with _errors_in_words():
        store = Store(Roots.from_environment().store)
        collected = collect_garbage(store, versions_kept(keep), dry_run=dry_run)
    if as_json:
        _say(json.dumps({**asdict(collected), "bytes": collected.bytes, "dry_run": dry_run}))
    else:
        for removal in collected.removed:
            _say(f"{removal.what}: {removal.path} ({decimal(removal.bytes)})")
        for recording in collected.in_use:
            _say(f"left alone, in use: {recording}")
        _say(f"{'Would free' if dry_run else 'Freed'} {decimal(collected.bytes)}.")
    for recording, reason in collected.failed.items():
        _errors.print(f"{recording}: {reason}", markup=False, soft_wrap=True)
    sys.exit(1 if collected.failed else 0)


@main.command()
@click.option("--clear", is_flag=True, help="Forget them all.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def lessons(clear: bool, as_json: bool) -> None:
    """Show with which lowered parameters sorts start, because earlier ones ran out of memory."""
    from sort_assets.storage import Roots
    from sort_assets.storage.lessons import Lessons

    with _errors_in_words():
        known = Lessons(Roots.from_environment().store)
    found = known.forget() if clear else known.all()
    if as_json:
        _say(json.dumps([lesson.model_dump(mode="json") for lesson in found]))
        return
    for lesson in found:
        until = "forgotten" if clear else f"{'expired' if lesson.expired else 'until'} {lesson.expires:%Y-%m-%d}"
        _say(f"{lesson.shape.name}: {json.dumps(lesson.params)}, from {lesson.recording}, {until}")
    if not found:
        _say("There are no lessons.")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Show what is installed and set up, and what is wrong with it."""
    from sort_assets.execution.doctor import examine
    from sort_assets.guards.findings import ERROR

    findings = examine()
    if as_json:
        _say(json.dumps([finding.to_dict() for finding in findings]))
    else:
        table = Table()
        for column in ("", "what", "found", "remedy"):
            table.add_column(column, overflow="fold")
        for finding in findings:
            colour = _COLOURS[finding.level]
            table.add_row(f"[{colour}]{finding.level}[/]", finding.subject, finding.detail, finding.remedy)
        _console.print(table)
    sys.exit(1 if any(finding.level == ERROR for finding in findings) else 0)
