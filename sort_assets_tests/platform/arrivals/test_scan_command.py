"""`sort-assets scan`: what would be registered and why not, and registering it at once."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from sort_assets.platform.arrivals.catalog_entry import State
from sort_assets.platform.arrivals.dry_run import (
    CHANGED,
    FOREIGN,
    FORGOTTEN,
    GONE,
    IGNORED,
    NEW,
    OUTSIDE,
    PROBLEM,
    REGISTERED,
    WAITING,
    DryRun,
    PlannedRecording,
)
from sort_assets.platform.arrivals.header_reader import HeaderReader
from sort_assets.platform.arrivals.scanner import WITHOUT_LIMITS, RecordingScanner
from sort_assets.testing.ground_truth import make_ground_truth
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.fixtures.home import Home
from sort_assets_tests.recordings.writers import write_maxwell

NO_QUIET = "arrival: {quiet_s: 0}\n"


def _rules(home: Home, text: str) -> None:
    (home.roots.recordings / "sort_assets.yaml").write_text(text, encoding="utf-8")


def _dry_run(home: Home, reader: HeaderReader) -> dict[str, PlannedRecording]:
    with home.instance() as instance:
        return {one.path: one for one in DryRun(instance, home.roots, reader).recordings()}


def _everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_it_says_of_everything_what_would_happen_and_why(
    home: Home, reader: HeaderReader, small_file: Path, tmp_path: Path
) -> None:
    root = home.roots.recordings
    _rules(
        home,
        NO_QUIET
        + "rules:\n  - match: [test_*, old/]\n    ignore: true\n  - match: slow.nwb\n    arrival: {quiet_s: 3600}\n",
    )
    for name in ("day.nwb", "here.nwb", "gone.nwb", "left.nwb", "test_1.nwb", "old/day.nwb", "slow.nwb", "marked.nwb"):
        home.link(small_file, name)
    (root / "marked.nwb.sort_assets.yaml").write_text("arrival: {marker: .done}", encoding="utf-8")
    (root / "broken.nwb").write_bytes(small_file.read_bytes()[:5000])
    (root / "notes.h5").write_bytes(small_file.read_bytes())
    (tmp_path / "elsewhere.nwb").touch()
    (root / "link.nwb").symlink_to(tmp_path / "elsewhere.nwb")
    recording, _ = make_ground_truth(duration_s=0.5, num_channels=4, num_units=2)
    write_maxwell({"well000": recording, "well001": recording}, root / "plate.raw.h5")
    for name in ("here.nwb", "gone.nwb", "left.nwb"):
        home.register(root / name)
    assert home.invoke("forget", "left.nwb").status == 0
    (root / "gone.nwb").unlink()

    found = _dry_run(home, reader)

    assert {path: one.what for path, one in found.items()} == {
        "day.nwb": NEW,
        "plate.raw.h5": NEW,
        "here.nwb": REGISTERED,
        "gone.nwb": GONE,
        "left.nwb": FORGOTTEN,
        "test_1.nwb": IGNORED,
        "old": IGNORED,
        "slow.nwb": WAITING,
        "marked.nwb": WAITING,
        "broken.nwb": PROBLEM,
        "notes.h5": FOREIGN,
        "link.nwb": OUTSIDE,
    }
    assert found["plate.raw.h5"].keys == ("plate.raw.h5@well000", "plate.raw.h5@well001")
    assert "sort_assets.yaml, line 3" in found["test_1.nwb"].why
    assert "sort_assets.yaml, line 3" in found["old"].why
    assert "s ago; it is complete after 3600 s of quiet" in found["slow.nwb"].why
    assert "marker '.done'" in found["marked.nwb"].why
    assert found["broken.nwb"].problem is not None
    assert found["broken.nwb"].problem.failure_class == "UnreadableRecordingError"
    assert found["broken.nwb"].problem.remedy


def test_it_writes_nothing_at_all(home: Home, reader: HeaderReader, small_file: Path) -> None:
    home.link(small_file, "day.nwb")
    before = _everything(home.folder)

    _dry_run(home, reader)

    assert _everything(home.folder) == before
    assert not home.catalog().file.exists()


def test_a_recording_that_was_copied_long_ago_need_not_be_looked_at_twice(
    home: Home, reader: HeaderReader, small_file: Path
) -> None:
    _rules(home, "arrival: {quiet_s: 0.6}")
    shutil.copy(small_file, home.roots.recordings / "day.nwb")
    fresh = _dry_run(home, reader)["day.nwb"]
    time.sleep(0.7)

    quiet = _dry_run(home, reader)["day.nwb"]

    assert (fresh.what, quiet.what) == (WAITING, NEW)


def test_a_recording_that_was_replaced_has_changed(home: Home, reader: HeaderReader, small_file: Path) -> None:
    _rules(home, NO_QUIET)
    home.register(home.link(small_file, "day.nwb"))
    recording, _ = make_ground_truth(duration_s=0.5, num_channels=4, num_units=2, seed=1)
    (home.roots.recordings / "day.nwb").unlink()
    write_nwb(recording, home.roots.recordings / "day.nwb")

    assert _dry_run(home, reader)["day.nwb"].what == CHANGED


@pytest.mark.slow
def test_the_commands_preview_and_register_what_is_complete(home: Home, small_file: Path) -> None:
    _rules(home, "arrival: {quiet_s: 0.6}")
    home.link(small_file, "day.nwb")
    home.link(small_file, "two\nlines \x1b[31m.nwb")
    no_utf8 = os.fsdecode(b"\xff.nwb")
    (home.roots.recordings / no_utf8).touch()
    time.sleep(0.7)

    preview = home.invoke("scan", "--dry-run")
    done = home.invoke("scan", "--json")
    as_json = home.invoke("scan", "--dry-run", "--json")

    assert preview.status == 0, preview.output
    assert "day.nwb: would be registered as day.nwb\n" in preview.stdout
    assert "two\\nlines \\x1b[31m.nwb: would be registered as two=0Alines=20=1B=5B31m.nwb\n" in preview.stdout
    assert "\\xff.nwb: can't be registered, because UnreadableRecordingError: " in preview.stdout
    assert preview.stdout.endswith("2 would be registered, 1 problem\n")
    assert [(one["path"], one["what"]) for one in json.loads(as_json.stdout)] == [
        ("day.nwb", REGISTERED),
        ("two\nlines \x1b[31m.nwb", REGISTERED),
        (no_utf8, PROBLEM),
    ]
    result = json.loads(done.stdout)
    assert sorted(result["registered"]) == ["day.nwb", "two=0Alines=20=1B=5B31m.nwb"]
    assert (result["waiting"], result["runs_wanted"]) == (0, 2)
    assert "daemon does not run" in result["not_launched_because"]
    known = home.catalog()
    assert known.counts() == {State.REGISTERED: 2, State.PROBLEM: 1}
    assert [one.key for one in known.pending_runs(10)] == sorted(result["registered"])


def test_what_is_new_is_looked_at_again_after_the_quiet_period_and_what_grows_is_not_waited_for(
    home: Home, reader: HeaderReader, small_file: Path
) -> None:
    _rules(home, "arrival: {quiet_s: 0.6}")
    home.link(small_file, "day.nwb")
    growing = home.roots.recordings / "growing.nwb"
    growing.touch()
    told: list[str] = []

    def tell(words: str) -> None:
        told.append(words)
        with growing.open("ab") as file:
            file.write(b"x")

    with home.instance() as instance:
        scanner = RecordingScanner(instance, home.roots, reader, sensor="s", limits=WITHOUT_LIMITS, on_progress=tell)
        look = scanner.scan_until_quiet()

    assert look.registered == ["day.nwb"]
    assert look.waiting == 1
    assert any(words.startswith("Waiting 1 s") for words in told)


@pytest.mark.slow
def test_an_interrupt_while_it_waits_does_no_harm(home: Home, small_file: Path) -> None:
    home.link(small_file, "day.nwb")

    scan = home.start("sort-assets", "scan", output=home.folder / "scan.log")
    known = home.catalog(read_only=True)
    deadline = time.monotonic() + 60
    while not known.all() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.3)
    scan.send_signal(signal.SIGINT)
    status = scan.wait(30)

    assert status == 130
    assert "Interrupted" in (home.folder / "scan.log").read_text()
    assert known.counts() == {State.WAITING: 1}
