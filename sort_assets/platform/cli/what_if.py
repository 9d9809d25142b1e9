"""The command `what-if`: what an edit of the rules would make stale, and what that would cost; and making it."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.filesize import decimal

from sort_assets.platform.cli.printing import complain, errors, errors_in_words, name_of, print_json, print_table, say

if TYPE_CHECKING:
    from sort_assets.forecasts.totals import AtATime
    from sort_assets.platform.automation.shadow_sorts import Sample, Shadow
    from sort_assets.platform.automation.what_if import EditedRecording, RulesEdit

_COLUMNS = ("recording", "settings", "becomes stale", "made again")
_SAMPLE_COLUMNS = ("recording", "units", "kept", "kept units before", "time", "disk")
_UNCHANGED = "-"


@click.command("what-if")
@click.option(
    "--rules",
    "file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The rules to come: an edited copy of the rules file.",
)
@click.option("--device", help="The GPU to sort on, as the history names it; by default the one that was used last.")
@click.option("--apply", is_flag=True, help="Make it the rules file. The old one stays beside it.")
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    metavar="N",
    help="Sort N of the recordings under these rules, apart from their results, and compare.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def what_if(file: Path, device: str | None, apply: bool, sample: int | None, as_json: bool) -> None:
    """Show which recordings an edit of the rules would make stale, from which step on, and what that would cost.

    The rules file is sort_assets.yaml in the recordings root: edit a copy of it, and name the copy. Nothing is changed
    without --apply.

    With --sample, some of the recordings of which a sort, or what follows, would be made again are sorted under the new
    rules on this host, one after the other, and their units, time and disk are compared with the present ones.
    """
    from sort_assets.config.settings import Roots
    from sort_assets.platform.automation.shadow_sorts import sort_sample
    from sort_assets.platform.automation.stale_results.sensor import launch_problem
    from sort_assets.platform.automation.what_if import find_rules_edit
    from sort_assets.platform.execution.home import open_instance
    from sort_assets.platform.pipeline.recording_forecast import runs_at_a_time
    from sort_assets.platform.pipeline.recording_rules import RecordingRules
    from sort_assets.platform.pipeline.step_history import cost_history
    from sort_assets.platform.store.store import Store

    if sample and apply:
        raise click.UsageError(
            "Look at the sample before you apply the rules: --sample and --apply exclude each other."
        )
    old: Path | None = None
    sorted_sample: Sample | None = None
    with errors_in_words(), open_instance() as instance:
        roots = Roots.from_environment()
        present, edited = RecordingRules(roots), RecordingRules(roots, in_place_of_file=file)
        history = cost_history(Store(roots.store))
        with errors.status("Reading") as shown:
            found = find_rules_edit(
                instance, roots, history, present, edited, device=device, on_progress=lambda text: shown.update(text)
            )
            if sample and not found.invalid:
                sorted_sample = sort_sample(roots, found, file, sample, on_progress=lambda text: shown.update(text))
        at_a_time, problem = runs_at_a_time(instance), launch_problem(instance)
        applied = apply and not found.invalid
        if applied:
            old = edited.replace_file(present)
    if present.problem is not None:
        in_force = "compared with the last good rules" if present.in_force else "compared with no rules"
        complain(f"The rules file has a mistake; it is {in_force}. {present.problem}")
    if as_json:
        told = _to_dict(found, at_a_time, applied=applied, old=old, problem=problem)
        print_json({**told, "sample": None if sorted_sample is None else sorted_sample.to_dict()})
    else:
        _print_edit(found, at_a_time)
        if sorted_sample is not None:
            _print_sample(sorted_sample)
        if applied:
            say(f"The new rules are in force.{f' The old ones are in {name_of(str(old))}' if old else ''}")
            say(_what_follows(found, problem))
        elif not apply:
            say("Nothing has been changed. --apply makes these the rules.")
    for key, why in found.invalid.items():
        complain(f"{name_of(key)}: {why}")
    if apply and found.invalid:
        complain("Nothing was applied: under these rules, the settings of the recordings above are not valid.")
    failed = {} if sorted_sample is None else sorted_sample.failed
    for key, why in failed.items():
        complain(f"{name_of(key)}, under the new rules: {why}")
    sys.exit(1 if found.invalid or failed else 0)


def _print_edit(found: "RulesEdit", at_a_time: "AtATime") -> None:
    from sort_assets.forecasts.totals import forecast
    from sort_assets.platform.cli.forecast import print_total

    if found.edited:
        print_table(_COLUMNS, [_row(one) for one in found.edited], wrapped={"settings", "becomes stale", "made again"})
    say(
        f"Of {found.recordings} registered recordings, other settings: {len(found.edited)}, with results that become "
        f"stale: {len(found.stale)}."
    )
    if found.stale_anyway:
        say(f"Stale under the present rules too, and not counted: {found.stale_anyway} recordings.")
    for words, names in (
        ("No longer stale", found.fresh),
        ("Ignored from then on (their results stay)", found.ignored),
        ("No longer ignored (a scan registers them; not counted)", found.taken),
        ("With other streams or files (a scan says which; not counted)", found.arranged),
    ):
        if names:
            say(f"{words}: {', '.join(map(name_of, names))}.")
    if found.planned:
        print_total(forecast(found.planned, at_a_time), at_a_time)


def _print_sample(sample: "Sample") -> None:
    if not sample.shadows:
        say("No recording of a sample was sorted." if sample.failed else "No units would be made again: no sample.")
        return
    print_table(_SAMPLE_COLUMNS, [_sample_row(one) for one in sample.shadows], wrapped={"kept units before"})
    rows = [
        (
            _CHANGES[name][0],
            *("-" if value is None else _CHANGES[name][1](value) for value in (one.mean, one.low, one.high)),
        )
        for name, one in sample.changes.items()
    ]
    print_table(("mean per recording", "sample", "from", "to"), rows, wrapped=set())
    say("In 8 of 10 cases the mean of all recordings lies between these.")
    say(f"The sorts are in {name_of(str(sample.folder))}")


def _sample_row(one: "Shadow") -> tuple[str, ...]:
    fates = ", ".join(f"{number} {fate}" for fate, number in one.fates.items() if number) or "none"
    return (
        one.recording,
        *(" -> ".join(f"{value:.0f}" for value in pair) for pair in (one.units, one.kept)),
        fates,
        " -> ".join("?" if value is None else _duration(value) for value in one.seconds),
        " -> ".join(decimal(round(value)) for value in one.bytes),
    )


def _duration(seconds: float) -> str:
    """A time in words."""
    from sort_assets.platform.pipeline.recording_forecast import duration as in_words

    return in_words(seconds)


def _signed(in_words: Callable[[float], str]) -> Callable[[float], str]:
    return lambda value: f"{'-' if value < 0 else '+'}{in_words(abs(value))}"


_CHANGES: Mapping[str, tuple[str, Callable[[float], str]]] = {
    "units": ("units found", _signed("{:.1f}".format)),
    "kept": ("units kept", _signed("{:.1f}".format)),
    "seconds": ("time of these steps", _signed(_duration)),
    "bytes": ("disk", _signed(lambda value: decimal(round(value)))),
    "persisting": ("units kept before that are still there", "{:.0%}".format),
}


def _row(one: "EditedRecording") -> tuple[str, ...]:
    changes = "\n".join(f"{name}: {_value(old)} -> {_value(new)}" for name, (old, new) in one.changes.items())
    if not one.stale:
        return one.recording, changes, _UNCHANGED, _UNCHANGED
    again = one.obstacle or ("the same" if one.made_again == one.stale else _steps(one.made_again))
    return one.recording, changes, _steps(one.stale), again if one.obstacle is None else f"no: {again}"


def _steps(assets: "Sequence[str]") -> str:
    """Steps in a few words: all behind one another are named by their first."""
    from sort_assets.platform.pipeline.catalog import from_asset

    if len(assets) > 1 and tuple(assets) == from_asset(assets[0]):
        return f"{assets[0]} and all that follows"
    return ", ".join(assets)


def _value(value: Any) -> str:
    return "default" if value is None else value if isinstance(value, str) else json.dumps(value)


def _what_follows(found: "RulesEdit", problem: str | None) -> str:
    number = sum(one.obstacle is None for one in found.stale)
    observed = "The sensor new_recordings, or `sort-assets scan`, takes them up."
    if not number:
        return observed
    if problem is None:
        return f"{observed} Then the sensor stale_recordings starts {number} runs, some at a time, behind all others."
    return f"{observed} Then {number} recordings are shown as stale. {problem}"


def _to_dict(
    found: "RulesEdit", at_a_time: "AtATime", *, applied: bool, old: Path | None, problem: str | None
) -> Mapping[str, Any]:
    from sort_assets.forecasts.totals import forecast

    def edited(one: "EditedRecording") -> dict[str, Any]:
        changes = {name: {"before": before, "after": after} for name, (before, after) in one.changes.items()}
        return {**asdict(one), "changes": changes}

    return {
        "recordings": found.recordings,
        "edited": [edited(one) for one in found.edited],
        "stale": [one.recording for one in found.stale],
        **{name: getattr(found, name) for name in ("invalid", "ignored", "taken", "arranged", "stale_anyway", "fresh")},
        "cost": forecast(found.planned, at_a_time).to_dict(),
        "at_a_time": asdict(at_a_time),
        "applied": applied,
        "old_rules": None if old is None else str(old),
        "not_launched_because": problem,
    }
