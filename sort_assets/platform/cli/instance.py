"""Commands about the installation: `init`, `demo`, `up`, `doctor`."""

import sys
import threading
from collections.abc import Iterable
from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from sort_assets.platform.cli.printing import errors_in_words, print_json, print_table, say, say_now

if TYPE_CHECKING:
    from sort_assets.checks.result import CheckResult

_COLOURS = {"ok": "green", "warning": "yellow", "error": "red"}


@click.command()
@click.argument("folder", required=False, type=click.Path(file_okay=False, path_type=Path))
def init(folder: Path | None) -> None:
    """Set up FOLDER: its .env, a recordings folder, a store, and a Dagster home with our settings.

    Run the other commands in FOLDER. Without FOLDER, the working directory is set up, with everything below `data`.
    What is there already is kept.
    """
    from sort_assets.platform.execution.home import load_environment, prepare_home, write_environment

    with errors_in_words():
        if folder is None:
            place = Path.cwd()
            env = write_environment(place, place / "data")
        else:
            place = folder.resolve()
            place.mkdir(parents=True, exist_ok=True)
            env = write_environment(place, place, may_be_overridden=False)
        with chdir(place):
            load_environment()
            roots = prepare_home()
    say(f"Settings: {env}\nRecordings: {roots.recordings}\nStore: {roots.store}")
    if folder is not None:
        say(f"Next: cd {place}, then `sort-assets demo` or `sort-assets up`.")


@click.command()
def demo() -> None:
    """Sort a small recording with known spikes, and compare the result with the truth."""
    from sort_assets.platform.cli.demo import run_demo
    from sort_assets.platform.cli.doctor_gpus import tell_unusable_gpus
    from sort_assets.platform.execution.home import open_instance, prepare_home

    with errors_in_words():
        roots = prepare_home()
        with open_instance() as instance:
            # A sort waits for minutes for what may pass by itself, and says so in its log only.
            tell_unusable_gpus(say)
            result = run_demo(instance, roots, say)
    rows = [
        ("units found", f"{result.units_found} of {result.units_true}"),
        ("units with accuracy of at least 0.8", str(result.units_well_detected)),
        ("mean accuracy", f"{result.mean_accuracy:.3f}"),
        ("units kept by curation", str(result.units_kept)),
        *((asset, f"{seconds:.1f} s") for asset, seconds in result.seconds.items()),
        ("total time", f"{result.total_s:.1f} s"),
    ]
    say(f"\nDemo: {result.recording}")
    print_table(("result", "value"), rows, wrapped=())
    say("\n".join([f"Report: {result.report}", *(f"Delivered: {file}" for file in result.delivered)]))
    say("Open the UI with `sort-assets up` (`make up`), then http://127.0.0.1:3000/assets/sorting")


@click.command()
@click.option("--port", default=3000, show_default=True, help="Port of the Dagster UI on 127.0.0.1.")
@click.option("--verbose", is_flag=True, help="Print what Dagster's servers print too, instead of into files.")
def up(port: int, verbose: bool) -> None:
    """Open the Dagster UI with its daemon, serve the figures, and say what happens to recordings."""
    from sort_assets.platform.cli.doctor_gpus import tell_unusable_gpus
    from sort_assets.platform.console.follow import follow
    from sort_assets.platform.execution.home import allow_runs_for, open_instance, prepare_home, size_gpu_pool
    from sort_assets.platform.execution.servers import run_servers

    with errors_in_words():
        roots = prepare_home()
        with open_instance() as instance:
            sorts = size_gpu_pool(instance)
        allow_runs_for(sorts)
        say_now(f"Sorts at the same time: {sorts}")
        # Importing torch takes seconds, for which the servers need not wait.
        threading.Thread(target=tell_unusable_gpus, args=(say_now,), daemon=True).start()
        sys.exit(run_servers(roots, port, say_now, follow=lambda: follow(roots, say_now), verbose=verbose))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--cluster", is_flag=True, help="Ask every node of the engine, through the engine; takes up to minutes.")
def doctor(as_json: bool, cluster: bool) -> None:
    """Show what is installed and set up, and what is wrong with it."""
    if cluster:
        _doctor_of_nodes(as_json=as_json)
    from sort_assets.platform.automation.notifications import inspect_notifications
    from sort_assets.platform.cli.doctor import examine

    results = [*examine(), inspect_notifications()]
    if as_json:
        print_json([result.to_dict() for result in results])
    else:
        print_check_results(results)
    sys.exit(1 if any(result.level == "error" for result in results) else 0)


def _doctor_of_nodes(*, as_json: bool) -> NoReturn:
    from sort_assets.platform.cli.doctor_cluster import examine_cluster

    rows = examine_cluster()
    if as_json:
        print_json([{"node": node, **result.to_dict()} for node, result in rows])
    else:
        cells = [
            (one.level, node, one.name, f"{one.description}\nRemedy: {one.remedy}" if one.remedy else one.description)
            for node, one in rows
        ]
        print_table(("level", "node", "what", "found"), cells, wrapped={"found"}, styles=_COLOURS)
    sys.exit(1 if any(result.level == "error" for _, result in rows) else 0)


def print_check_results(results: "Iterable[CheckResult]") -> None:
    """Print what was examined, each remedy below what it is for."""
    rows = [
        (one.level, one.name, f"{one.description}\nRemedy: {one.remedy}" if one.remedy else one.description)
        for one in results
    ]
    print_table(("level", "what", "found"), rows, wrapped={"found"}, styles=_COLOURS)
