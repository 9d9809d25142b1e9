"""What the shortcut of a scan leaves out is what would have been kept, and nothing else."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from sort_assets.errors import UnreadableRecordingError
from sort_assets.platform.arrivals.actions import Action, EndWalk, Keep
from sort_assets.platform.arrivals.catalog_entry import State
from sort_assets.platform.arrivals.classification import SettledRecordings
from sort_assets.platform.arrivals.plan import plan
from sort_assets.platform.arrivals.recording_catalog import RecordingCatalog
from sort_assets.platform.pipeline.recording_rules import RecordingRules
from sort_assets_tests.fixtures.home import Home

NOW = 1_000_000.0
NAMES = ("a.nwb", "b.nwb", "sub/c.nwb", "sub/d.h5", "sub/e.plx")


def _register_all(home: Home) -> RecordingCatalog:
    """All of `NAMES` are there, registered, and up to date; `sub/d.h5` is no recording."""
    root, catalog, rules = home.roots.recordings, home.catalog(), RecordingRules(home.roots)
    for name in NAMES:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"samples")
    entries = [action.entry for action in plan(root, rules, {}, clock=lambda: NOW) if not isinstance(action, EndWalk)]  # type: ignore[union-attr]
    registered = [replace(one, state=State.REGISTERED, read_stamp=one.stamp) for one in entries]
    catalog.put(*(replace(one, state=State.FOREIGN) if one.path == "sub/d.h5" else one for one in registered))
    return catalog


def _plans(home: Home, catalog: RecordingCatalog) -> tuple[list[Action], list[Action], set[str]]:
    """The plan with all actions but those that keep something, the one of a scan, and what that leaves out."""
    root, entries, rules = home.roots.recordings, catalog.all(), RecordingRules(home.roots)
    settled = SettledRecordings(rules, entries)
    whole = [one for one in plan(root, rules, entries, clock=lambda: NOW) if not isinstance(one, Keep)]
    short = list(plan(root, RecordingRules(home.roots), entries, settled=settled, clock=lambda: NOW))
    return whole, [one for one in short if not isinstance(one, Keep)], settled.paths


def test_what_is_up_to_date_is_left_out(home: Home) -> None:
    catalog = _register_all(home)

    whole, short, left_out = _plans(home, catalog)

    assert left_out == set(NAMES)
    assert short == whole == [EndWalk(None)]


@pytest.mark.parametrize("change", ["touched", "gone", "renamed", "rule", "sidecar", "problem", "missing", "forgotten"])
def test_what_has_changed_is_planned_as_without_the_shortcut(home: Home, change: str) -> None:
    catalog = _register_all(home)
    file = home.roots.recordings / "b.nwb"
    entry = catalog.all()["b.nwb"]
    match change:
        case "touched":
            os.utime(file, ns=(1, 1))
        case "gone":
            file.unlink()
        case "renamed":
            file.rename(file.with_name("z.nwb"))
        case "rule":
            (home.roots.recordings / "sort_assets.yaml").write_text("rules: [{match: b.nwb, ignore: true}]")
        case "sidecar":
            Path(f"{file}.sort_assets.yaml").write_text("ignore: true\n")
        case "problem":
            catalog.put(replace(entry, problem=UnreadableRecordingError("Damaged.", remedy="Copy it again.")))
        case "missing":
            catalog.put(replace(entry, missing_since=NOW - 10.0))
        case "forgotten":
            catalog.put(replace(entry, state=State.FORGOTTEN, stamp="another"))

    whole, short, left_out = _plans(home, catalog)

    assert list(map(repr, short)) == list(map(repr, whole))  # errors are equal to themselves alone
    assert "b.nwb" not in left_out
