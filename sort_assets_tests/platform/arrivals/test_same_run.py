"""A run of SpikeGLX and what CatGT made of it: one of them is sorted, and it is said which."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sort_assets.platform.arrivals.catalog_entry import State
from sort_assets.platform.arrivals.dry_run import FOREIGN, NEW, WAITING, DryRun, PlannedRecording
from sort_assets.platform.arrivals.header_reader import HeaderReader
from sort_assets.platform.arrivals.registration import register_recording
from sort_assets.recordings.formats.spikeglx_runs import common_streams, run_folder
from sort_assets.testing.ground_truth import make_ground_truth
from sort_assets_tests.fixtures.home import Home
from sort_assets_tests.platform.arrivals.lab import QUIET_S, Lab
from sort_assets_tests.recordings.writers import write_spikeglx

COMMAND = "<CatGT -dir=D:\\rig\\day1 -run=run -g=0 -t=0 -ap>"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recording, _ = make_ground_truth(duration_s=0.3, num_channels=4, num_units=2)
    return write_spikeglx(
        {"imec0": recording, "imec1": recording}, tmp_path_factory.mktemp("spikeglx") / "run_g0", lf=False
    )


@pytest.fixture
def lab(home: Home, reader: HeaderReader) -> Iterator[Lab]:
    with home.instance() as instance:
        yield Lab(home, instance, reader)


def _copy(written: Path, folder: Path, *, run: str = "run", created: str = "2024-01-01T12:00:00") -> Path:
    """A copy under another name, made at another time."""
    shutil.copytree(written, folder)
    for path in sorted(folder.rglob("run_g0*"), reverse=True):
        path.rename(path.with_name(path.name.replace("run_g0", f"{run}_g0")))
    for meta in folder.rglob("*.meta"):
        meta.write_text(meta.read_text().replace("2024-01-01T12:00:00", created))
    return folder


def _catgt(written: Path, folder: Path, command: str = COMMAND, **changed: str) -> Path:
    """What CatGT would make of it."""
    _copy(written, folder, **changed)
    for path in folder.rglob("*_t0.*"):
        path.rename(path.with_name(path.name.replace("_t0.", "_tcat.")))
    for meta in folder.rglob("*.meta"):
        meta.write_text(f"{meta.read_text()}catGTCmdline0={command}\n")
    return folder


def _dry_run(lab: Lab) -> dict[str, PlannedRecording]:
    return {one.path: one for one in DryRun(lab.instance, lab.home.roots, lab.reader).recordings()}


def test_of_both_catgt_s_is_registered_and_the_run_again_when_that_is_forgotten(lab: Lab, written: Path) -> None:
    _copy(written, lab.root / "Raw" / "run_g0")
    _catgt(written, lab.root / "done" / "catgt_run_g0")
    lab.rules("arrival: {quiet_s: 0}\n")

    planned = _dry_run(lab)
    scanned = lab.scan()
    later = lab.scan(QUIET_S)
    known = _dry_run(lab)

    assert (planned["done/catgt_run_g0"].what, planned["Raw/run_g0"].what) == (NEW, FOREIGN)
    for why in (planned["Raw/run_g0"].why, known["Raw/run_g0"].why, *scanned.changes):
        assert "are those of 'done/catgt_run_g0', which CatGT made of this run" in why
    assert lab.keys() == {"done~catgt_run_g0@imec0.ap", "done~catgt_run_g0@imec1.ap"}
    assert (later.changes, later.registered, later.warnings) == ([], [], [])

    lab.home.invoke("forget", "done/catgt_run_g0")
    lab.scan(QUIET_S)

    assert lab.keys() == {"Raw~run_g0@imec0.ap", "Raw~run_g0@imec1.ap"}


def test_what_catgt_makes_later_is_not_sorted_as_well(lab: Lab, written: Path) -> None:
    _copy(written, lab.root / "run_g0")
    lab.arrive()
    _catgt(written, lab.root / "catgt_run_g0")

    look = lab.arrive()

    assert look.registered == []
    (change,) = look.changes
    assert "are those of 'run_g0', of which CatGT made this" in change
    assert "ignore the runs themselves with a rule" in change
    assert lab.state("catgt_run_g0") is State.FOREIGN

    register_recording(lab.instance, lab.root / "catgt_run_g0", lab.home.roots)  # a person's word counts
    assert lab.state("catgt_run_g0") is State.REGISTERED


def test_a_run_waits_as_long_as_catgt_is_at_work(lab: Lab, written: Path) -> None:
    _copy(written, lab.root / "run_g0")
    output = _catgt(written, lab.root / "catgt_run_g0")
    (output / "run_g0_imec0" / "more.bin.part").touch()

    waiting = lab.arrive()
    why = _dry_run(lab)["run_g0"]
    (output / "run_g0_imec0" / "more.bin.part").unlink()
    lab.arrive()

    assert (waiting.registered, waiting.waiting) == ([], 2)
    assert (why.what, why.why) == (
        WAITING,
        "It waits for 'catgt_run_g0', which CatGT made of this run and which is not complete yet.",
    )
    assert lab.keys() == {"catgt_run_g0@imec0.ap", "catgt_run_g0@imec1.ap"}


def test_probes_that_catgt_left_out_are_sorted_from_the_run(lab: Lab, written: Path) -> None:
    _copy(written, lab.root / "run_g0")
    shutil.rmtree(_catgt(written, lab.root / "catgt_run_g0") / "run_g0_imec1")

    lab.scan()
    look = lab.scan(QUIET_S)

    assert lab.keys() == {"catgt_run_g0@imec0.ap", "run_g0@imec1.ap"}
    assert "The spikes of imec0.ap are those of 'catgt_run_g0'" in look.changes[0]


@pytest.mark.release
def test_a_run_is_sorted_where_what_catgt_made_can_t_be_read(lab: Lab, written: Path) -> None:
    _copy(written, lab.root / "run_g0")
    for samples in _catgt(written, lab.root / "catgt_run_g0").rglob("*.bin"):
        os.truncate(samples, 1001)

    lab.arrive()

    assert lab.keys() == {"run_g0@imec0.ap", "run_g0@imec1.ap"}
    assert lab.state("catgt_run_g0") is State.PROBLEM


@pytest.mark.parametrize(
    ("raw", "made", "command"),
    [
        ("raw/run_g0", "out/catgt_run_g0", COMMAND),
        ("raw/run_g0", "raw/catgt_run_g0", ""),
        ("raw/run_g0", "out/run_g0", COMMAND),  # -no_catgt_fld
        ("raw/run_g0", "out/supercat_run_g0", "<CatGT -supercat={D:\\x,run_g0}{D:\\x,other_g0}>"),
        ("day1/run_g0", "out/catgt_run_g0", COMMAND),
    ],
)
def test_what_catgt_made_is_known_by_its_run_and_time(
    raw: str, made: str, command: str, written: Path, tmp_path: Path
) -> None:
    run = run_folder(_copy(written, tmp_path / raw), "")
    output = run_folder(_catgt(written, tmp_path / made, command), "")

    assert run is not None
    assert output is not None
    assert common_streams(run, output) == common_streams(output, run) == {"imec0.ap", "imec1.ap"}


def test_a_run_of_the_same_name_from_another_day_is_another_one(written: Path, tmp_path: Path) -> None:
    run = run_folder(_copy(written, tmp_path / "day2" / "run_g0", created="2024-01-02T09:00:00"), "")
    output = run_folder(_catgt(written, tmp_path / "out" / "catgt_run_g0"), "")

    assert run is not None
    assert output is not None
    assert common_streams(run, output) == set()


def test_several_gates_and_runs_are_in_what_catgt_put_together(written: Path, tmp_path: Path) -> None:
    gates = run_folder(
        _catgt(written, tmp_path / "catgt_run_g0", "<CatGT -dir=D:\\rig\\day1 -run=run -g=0,2 -t=0,9>"), ""
    )
    runs = run_folder(
        _catgt(written, tmp_path / "supercat_run_g0", "<CatGT -supercat={E:/day1,catgt_run_g0}{E:/day2,late_g1}>"), ""
    )

    assert gates is not None
    assert runs is not None
    assert gates.streams["imec0.ap"] == {"run_g0", "run_g1", "run_g2"}
    assert runs.streams["imec1.ap"] == {"run_g0", "late_g1"}
    assert runs.sources == {"day1", "day2"}
    assert common_streams(gates, runs) == {"imec0.ap", "imec1.ap"}
