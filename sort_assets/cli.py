"""The `sort-assets` command."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
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
    """Show which assets of which recordings are done."""
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
    for column in ("recording", *PIPELINE, "units", "last run"):
        table.add_column(column, overflow="fold")
    for one in statuses:
        marks = [_MARKS[one.assets[asset]] for asset in PIPELINE]
        units = "" if one.units is None else str(one.units)
        table.add_row(one.recording, *marks, units, (one.last_run_status or "never").lower())
    _console.print(table)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Show what is installed and set up, and what is wrong with it."""
    from sort_assets.execution.doctor import ERROR, examine

    findings = examine()
    if as_json:
        _say(json.dumps([asdict(finding) for finding in findings]))
    else:
        table = Table()
        for column in ("", "what", "found", "remedy"):
            table.add_column(column, overflow="fold")
        for finding in findings:
            colour = _COLOURS[finding.level]
            table.add_row(f"[{colour}]{finding.level}[/]", finding.subject, finding.detail, finding.remedy)
        _console.print(table)
    sys.exit(1 if any(finding.level == ERROR for finding in findings) else 0)
