"""The command `compare`: what became of the units, in one recording or in many."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sort_assets.config.comparison import BEFORE
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
    from sort_assets.config.settings import Roots
    from sort_assets.platform.pipeline.compared_sortings import ComparedPair

_CURRENT = "current"
_MOST_ROWS = 50


@click.command()
@click.argument("names", nargs=-1, metavar="[KEY_OR_PATH...]")
@click.option(
    "--versions",
    nargs=2,
    default=(BEFORE, _CURRENT),
    metavar="A B",
    help="Compare A with B: versions of sorting, or NAME=VALUE for the newest sorting that was made with this version "
    "of a package, or this setting, such as kilosort=4.1.6. A may be any baseline (before, ground_truth, "
    "curated_units, a folder), B may be current.",
)
@click.option("--page", type=click.Path(path_type=Path, dir_okay=False), help="Also write a page, an HTML file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(names: tuple[str, ...], versions: tuple[str, str], page: Path | None, as_json: bool) -> None:
    """Show what became of the units: the current sorting against the one before, or A against B.

    Of one recording every unit that was not kept is shown, of several a row for each. Without names, all recordings are
    compared that have both sortings. Nothing is kept in the store: the job compare_sortings does that.
    """
    from sort_assets.config.settings import Roots
    from sort_assets.platform.pipeline.comparisons_across_recordings import compare_versions, comparison_row

    failed: list[str] = []
    rows: dict[str, dict[str, object]] = {}
    pair = None
    with errors_in_words():
        roots = Roots.from_environment()
        keys = _named(roots, names, failed) if names else _with_both(roots, versions)
    for key in keys:
        with others_go_on(key, failed):
            pair = compare_versions(roots, key, *versions)
            rows[key] = comparison_row(pair)
    of_one = pair if len(keys) == 1 else None
    if as_json:
        print_json(rows if of_one is None else {keys[0]: {**rows[keys[0]], **_details(of_one)}})
    elif of_one is not None:
        _print_pair(keys[0], of_one)
    elif rows:
        _print_many(rows)
    elif not failed:
        say("No recording has both sortings.")
    if page is not None and rows:
        try:
            _write_page(page, rows, of_one, versions)
            complain(f"The page is in '{name_of(str(page))}'.")
        except OSError as error:
            complain(f"The page can't be written: {error}")
            failed.append(str(page))
    sys.exit(1 if failed else 0)


def _named(roots: "Roots", names: Sequence[str], failed: list[str]) -> list[str]:
    from sort_assets.platform.arrivals.resolver import RecordingResolver
    from sort_assets.platform.execution.home import open_instance

    keys: list[str] = []
    with open_instance() as instance:
        resolver = RecordingResolver(instance, roots)
        for name in names:
            with others_go_on(name, failed):
                keys += resolver.find(name).keys
    return list(dict.fromkeys(keys))


def _with_both(roots: "Roots", versions: tuple[str, str]) -> list[str]:
    from sort_assets.platform.pipeline.comparisons_across_recordings import has_both
    from sort_assets.platform.store.store import Store

    store = Store(roots.store)
    return [key for key in store.recordings() if has_both(store, key, *versions)]


def _print_pair(key: str, pair: "ComparedPair") -> None:
    from sort_assets.reports.comparison_report import pairs_table

    found = pair.found
    say(f"{name_of(key)}: {found.headline}")
    say(f"Before: {pair.old.name}. Now: {pair.new.name}.")
    if len(pair.judged):
        say(f"{pair.judged_persisting} of {len(pair.judged)} {pair.judged_words} are still there.")
    if found.cut_s > 0:
        say(f"The sortings are of different stretches; {found.cut_s:.1f} s that only one has are left out.")
    changed = pairs_table(found.pairs[found.pairs["fate"] != "kept"], "")
    if changed.rows:
        print_table(changed.columns, changed.rows[:_MOST_ROWS], wrapped=set())
    if len(changed.rows) > _MOST_ROWS:
        say(f"and {len(changed.rows) - _MOST_ROWS} more; --json and --page have all.")
    if pair.differing_settings:
        print_table(("What differs", "before", "now"), pair.differing_settings, wrapped={"before", "now"})


def _details(pair: "ComparedPair") -> dict[str, Any]:
    differing = [dict(zip(("name", "before", "now"), one, strict=True)) for one in pair.differing_settings]
    units = pair.found.pairs
    return {"differing": differing, "units": units.astype(object).where(units.notna(), None).to_dict("records")}


def _print_many(rows: "dict[str, dict[str, object]]") -> None:
    from sort_assets.platform.pipeline.comparisons_across_recordings import comparisons_table, totals
    from sort_assets.reports.comparison_report import comparisons_report_table

    table = comparisons_table(rows)
    shown = comparisons_report_table(table)
    print_table(shown.columns, shown.rows, wrapped={"Recording"})
    say(totals(table).words)


def _write_page(
    page: Path, rows: "dict[str, dict[str, object]]", pair: "ComparedPair | None", versions: tuple[str, str]
) -> None:
    """The page of one comparison, or of many."""
    from tempfile import TemporaryDirectory

    from sort_assets.checks.usual_on_rig import as_before
    from sort_assets.platform.pipeline.comparisons_across_recordings import comparisons_table, totals
    from sort_assets.recordings.key import RecordingKey
    from sort_assets.reports.comparison_report import comparison_content, comparisons_content, draw_comparison
    from sort_assets.reports.recording_report import write_report

    with TemporaryDirectory() as name:
        folder = Path(name)
        if pair is None:
            table, words = comparisons_table(rows), " → ".join(versions)
            content = comparisons_content(table, headline=totals(table).words, versions=words, folder=folder)
        else:
            (key,) = rows
            content = comparison_content(
                pair.found,
                title=RecordingKey.parse(key).path,
                recording_key=key,
                old_name=pair.old.name,
                new_name=pair.new.name,
                check=as_before(pair.judged_persisting, len(pair.judged), [], of=pair.judged_words),
                figures=draw_comparison(pair.found, folder),
                differing=pair.differing_settings,
            )
        write_report(page, content)
