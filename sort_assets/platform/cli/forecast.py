"""The command `forecast`: what sorting will take, by what it has taken in this lab."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
from rich.filesize import decimal

from sort_assets.platform.cli.printing import (
    complain,
    errors_in_words,
    name_of,
    others_go_on,
    print_json,
    print_table,
    say,
)

if TYPE_CHECKING:
    from sort_assets.forecasts.totals import AtATime, Forecast, PlannedRecording, Quantiles
    from sort_assets.platform.automation.backlog import Backlog

_COLUMNS = ("", "likely", "from", "to")
_STEP_COLUMNS = ("step", "time", "CPU", "GPU", "memory", "disk", "by")
_NAMED = 5


@click.command()
@click.argument("names", nargs=-1, metavar="[KEY_OR_PATH...]")
@click.option("--device", help="The GPU to sort on, as the history names it; by default the one that was used last.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def forecast(names: tuple[str, ...], device: str | None, as_json: bool) -> None:
    """Show what sorting recordings will take: time, memory and disk, by what it has taken in this lab.

    Without names, of everything that waits: runs in the queue, and recordings that are not sorted yet. With names, of
    each recording as if all of its results were made now. In 8 of 10 cases a number lies between "from" and "to". A
    step tells nothing before it has run five times on the same device.
    """
    from sort_assets.config.settings import Roots
    from sort_assets.platform.arrivals.resolver import RecordingResolver
    from sort_assets.platform.automation.backlog import find_backlog, plan_recordings
    from sort_assets.platform.execution.home import open_instance
    from sort_assets.platform.pipeline.recording_forecast import runs_at_a_time
    from sort_assets.platform.pipeline.step_history import cost_history
    from sort_assets.platform.store.store import Store

    failed: list[str] = []
    with errors_in_words(), open_instance() as instance:
        roots = Roots.from_environment()
        history, at_a_time = cost_history(Store(roots.store)), runs_at_a_time(instance)
        if not names:
            backlog = find_backlog(instance, roots, history, device=device)
            (_print_backlog_json if as_json else _print_backlog)(backlog, at_a_time)
            for key, why in backlog.unresolved.items():
                complain(f"{name_of(key)}: {why}")
            return
        keys: list[str] = []
        resolver = RecordingResolver(instance, roots)
        for name in names:
            with others_go_on(name, failed):
                keys += resolver.find(name).keys
        planned, unresolved = plan_recordings(instance, roots, history, dict.fromkeys(keys), device=device)
    for key, why in unresolved.items():
        complain(f"{name_of(key)}: {why}")
    (_print_recordings_json if as_json else _print_recordings)(planned)
    sys.exit(1 if failed or unresolved else 0)


def _print_recordings(planned: "Sequence[PlannedRecording]") -> None:
    from sort_assets.forecasts.totals import forecast as forecast_of
    from sort_assets.forecasts.totals import forecast_step

    for one in planned:
        say(name_of(one.recording))
        if one.size is None:
            say("No forecast: its channels and length are not known yet.")
            continue
        rows = [(step.name, *_step_cells(forecast_step(step, one.size)), step.basis.words) for step in one.steps]
        print_table(_STEP_COLUMNS, rows, wrapped={"by"})
        print_total(forecast_of([one]))


def _print_recordings_json(planned: "Sequence[PlannedRecording]") -> None:
    from sort_assets.forecasts.totals import forecast as forecast_of
    from sort_assets.forecasts.totals import forecast_step

    def steps(one: "PlannedRecording") -> Iterator[tuple[str, dict[str, Any]]]:
        for step in one.steps:
            found = {} if one.size is None else forecast_step(step, one.size)
            costs = {name: asdict(quantiles) for name, quantiles in found.items()}
            yield step.name, {"runs": step.basis.runs, "device": step.basis.device, "by": step.basis.words, **costs}

    print_json({one.recording: {**forecast_of([one]).to_dict(), "steps": dict(steps(one))} for one in planned})


def _print_backlog(backlog: "Backlog", at_a_time: "AtATime") -> None:
    from sort_assets.config.settings import Roots
    from sort_assets.forecasts.totals import forecast as forecast_of
    from sort_assets.platform.pipeline.disk_outlook import disk_outlook

    say(f"{len(backlog.queued)} runs in the queue, {len(backlog.unsorted)} recordings without a run or a sorting.")
    if backlog.planned:
        print_total(forecast_of(backlog.planned, at_a_time), at_a_time)
    say(f"Disk of the store: {disk_outlook(Roots.from_environment()).words}.")


def _print_backlog_json(backlog: "Backlog", at_a_time: "AtATime") -> None:
    from sort_assets.config.settings import Roots
    from sort_assets.forecasts.totals import forecast as forecast_of
    from sort_assets.platform.pipeline.disk_outlook import disk_outlook

    print_json(
        {
            "queued": [one.recording for one in backlog.queued],
            "unsorted": [one.recording for one in backlog.unsorted],
            **forecast_of(backlog.planned, at_a_time).to_dict(),
            "at_a_time": asdict(at_a_time),
            "disk": disk_outlook(Roots.from_environment()).to_dict(),
        }
    )


def print_total(found: "Forecast", at_a_time: "AtATime | None" = None) -> None:
    """Print what work will cost together, and what is not in it."""
    if found.costs:
        print_table(_COLUMNS, total_rows(found.costs, at_a_time), wrapped=set())
    else:
        say("No forecast: no history of at least five runs of each step on the same device.")
    if found.without_forecast and found.costs:
        left_out = [f"{name_of(key)} ({'; '.join(why)})" for key, why in found.without_forecast.items()]
        more = f", and {len(left_out) - _NAMED} more" if len(left_out) > _NAMED else ""
        say(f"Not in it, for want of a history: {', '.join(left_out[:_NAMED])}{more}.")


def total_rows(costs: "Mapping[str, Quantiles]", at_a_time: "AtATime | None" = None) -> list[tuple[str, ...]]:
    """A row for each number that is forecast, with its likely value and its interval in words."""
    from sort_assets.forecasts.totals import CPU_S, DISK_BYTES, GPU_S, PEAK_MEMORY_BYTES, WALL_S

    together = f" (runs at a time: {at_a_time.runs}, sorts: {at_a_time.sorts})" if at_a_time else ""
    labels = {
        WALL_S: f"time{together}",
        CPU_S: "CPU time",
        GPU_S: "GPU time",
        PEAK_MEMORY_BYTES: "memory of the largest step",
        DISK_BYTES: "disk",
    }
    return [(labels[name], *(amount(name, value) for value in _in_order(one))) for name, one in costs.items()]


def amount(quantity: str, value: float) -> str:
    """A forecast number with its unit."""
    from sort_assets.platform.pipeline.recording_forecast import duration

    return decimal(round(value)) if quantity.endswith("_bytes") else duration(value)


def _in_order(one: "Quantiles") -> tuple[float, float, float]:
    return one.p50, one.p10, one.p90


def _step_cells(found: "Mapping[str, Quantiles]") -> Iterator[str]:
    from sort_assets.forecasts.totals import QUANTITIES

    for name in QUANTITIES:
        if name not in found:
            yield "-"
            continue
        middle, low, high = (amount(name, value) for value in _in_order(found[name]))
        yield middle if low == high else f"{middle} ({low} to {high})"
