"""The doors through which people come in: three of Dagster's, and the `sort-assets` command."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from spikeinterface.core import BaseRecording, BaseSorting

from sort_assets.platform.pipeline.catalog import PIPELINE
from sort_assets.platform.store.handles import StoredBinary, StoredSorting
from sort_assets.platform.store.memory_profiles import MemoryProfiles, Shape
from sort_assets_tests.fixtures.home import CHEAP, CHECKOUT, SORT, Home, materialize_words
from sort_assets_tests.platform.store.writers import publish
from sort_assets_tests.recordings.writers import write_maxwell

pytestmark = pytest.mark.slow

LOAD = """
import json, sys
from sort_assets.config.settings import Roots
from sort_assets.platform.store.handles import StoredAnalyzer, StoredSorting
roots, key = Roots.from_environment(), sys.argv[1]
handles = (StoredSorting(roots, key), StoredAnalyzer(roots, key))
print(json.dumps({handle.asset: handle.load().unit_ids.tolist() for handle in handles}))
"""


@pytest.mark.release
def test_dagster_asset_materialize_with_the_sorter_of_another_lab_which_needs_no_dat(
    home: Home,
    short: tuple[BaseRecording, BaseSorting],
    short_file: Path,
    tmp_path: Path,
    plugin: Callable[[str], Path],
) -> None:
    key = home.register(home.link(short_file, "mouse1/day 2.nwb"))
    (nothing_yet,) = _status(home)
    words = materialize_words(key, config={"sorter": {"name": "threshold"}}, config_file=tmp_path / "run.json")

    package = plugin("threshold_sorter:ThresholdBackend")
    done = home.command(*words, python_path=package)

    assert done.status == 0, done.output[-3000:]
    with home.instance() as instance:
        (run,) = instance.get_runs(limit=1)
    assert home.metadata(run.run_id, "binary_dat")["dat"].value == ("Not needed: threshold reads the recording itself.")
    assert StoredBinary(home.roots, key).dat_paths == {}
    loaded = home.command("python", "-c", LOAD, key, python_path=package)
    assert loaded.status == 0, loaded.output
    units = json.loads(loaded.stdout)
    true_channels = {int(channel) for channel in short[1].get_property("main_channel_id")}
    assert true_channels <= set(units["sorting"])
    assert units["waveforms"] == units["sorting"]
    assert key == "mouse1~day=202.nwb"
    assert nothing_yet == nothing_yet | {
        "recording": key,
        "assets": dict.fromkeys(PIPELINE, False),
        "units": None,
        "unsortable": None,
        "degraded": False,
        "failure": None,
        "last_run": None,
        "last_run_status": None,
    }
    (all_done,) = _status(home)
    assert all_done["assets"] == {asset: asset in SORT for asset in PIPELINE}
    assert all_done["units"] == len(units["sorting"])
    assert (all_done["unsortable"], all_done["degraded"], all_done["failure"]) == (None, False, None)
    assert all_done["last_run_status"] == "SUCCESS"


@pytest.mark.release
def test_dg_launch(home: Home, short_file: Path) -> None:
    key = home.register(home.link(short_file, "day.nwb"))
    # dg works in a project, and reads the .env of its folder: this is our project without it.
    for name in ("pyproject.toml", "sort_assets"):
        (home.folder / name).symlink_to(CHECKOUT / name)
    run_config = json.dumps({"resources": {"backend": {"config": CHEAP}}})

    done = home.command(*("dg", "launch", "--assets", ",".join(SORT), "--partition", key, "--config-json", run_config))

    assert done.status == 0, done.output[-3000:]
    sorting = StoredSorting(home.roots, key)
    assert len(sorting.load().unit_ids) == 8
    assert sorting.manifest.cost is not None
    assert sorting.manifest.cost.cpu_s > 1  # the sorter's process has to import SpikeInterface


def test_register_prints_the_keys_and_says_which_are_new(
    home: Home, short: tuple[BaseRecording, BaseSorting], short_file: Path
) -> None:
    folder = home.roots.recordings / "mouse1"
    home.link(short_file, "mouse1/day2.nwb")
    home.link(short_file, "mouse1/day10.nwb")
    two_wells = {f"well{well:03}": short[0].frame_slice(0, 30_000) for well in (0, 3)}
    write_maxwell(two_wells, folder / "plate.raw.h5")
    (folder / "notes.txt").write_text("a mouse", encoding="utf-8")
    keys = ["mouse1~day2.nwb", "mouse1~day10.nwb", "mouse1~plate.raw.h5@well000", "mouse1~plate.raw.h5@well003"]

    one = home.command("sort-assets", "register", "recordings/mouse1/day2.nwb")
    each = home.invoke("register", "--each", str(folder), "--json")

    assert (one.status, one.stdout) == (0, "mouse1~day2.nwb\n")
    assert each.status == 0, each.output
    assert json.loads(each.stdout) == [{"key": key, "new": key != keys[0], "clock": None} for key in keys]
    assert [one["recording"] for one in _status(home)] == sorted(keys)


def test_doctor_finds_nothing_wrong_with_a_prepared_home(home: Home) -> None:
    done = home.command("sort-assets", "doctor", "--json")

    findings = json.loads(done.stdout)
    assert [finding for finding in findings if finding["level"] == "error"] == []
    assert done.status == 0
    found = {finding["subject"]: finding for finding in findings}
    assert found["sorter kilosort4"]["level"] == "ok"
    assert found["versions"]["level"] == "ok"
    assert found["instance"]["detail"] == f"{home.variables['DAGSTER_HOME']}, 0 recordings registered"
    assert found["store"]["detail"].startswith(str(home.roots.store))


def test_doctor_names_what_is_missing_and_what_to_do(home: Home) -> None:
    done = home.without("SORT_ASSETS_STORE").command("sort-assets", "doctor", "--json")

    (error,) = [finding for finding in json.loads(done.stdout) if finding["level"] == "error"]
    assert done.status == 1
    assert error["subject"] == "folders"
    assert "SORT_ASSETS_STORE is not set" in error["detail"]
    assert error["remedy"]


def test_gc_says_what_it_removes_and_how_much_that_frees(home: Home) -> None:
    for _ in range(3):
        publish(home.store, "binary_dat", bytes(1_000_000))
    old, middle, new = home.store.versions("rec", "binary_dat")

    kept = home.invoke("gc", "--keep", "binary_dat=all")
    dry = home.invoke("gc", "--dry-run")
    done = home.command("sort-assets", "gc", "--keep", "binary_dat=2", "--json")
    wrong = home.invoke("gc", "--keep", "binary_dat=none")

    assert (kept.status, kept.stdout) == (0, "Freed 0 bytes.\n")
    assert dry.stdout.splitlines() == [
        f"old version: rec/binary_dat/{old} (1.0 MB)",
        f"old version: rec/binary_dat/{middle} (1.0 MB)",
        "Would free 2.0 MB.",
    ]
    assert json.loads(done.stdout) == {
        "removed": [{"what": "old version", "path": f"rec/binary_dat/{old}", "bytes": 1_000_000}],
        "in_use": [],
        "failed": {},
        "logs": {"runs": 0, "lines": 0},
        "bytes": 1_000_000,
        "dry_run": False,
    }
    assert home.store.versions("rec", "binary_dat") == [middle, new]
    assert wrong.status == 1
    assert "ConfigError" in wrong.stderr
    assert "Remedy: Write a whole number" in wrong.stderr


def test_lessons_are_shown_and_can_be_forgotten(home: Home) -> None:
    shape = Shape(sorter="kilosort4", device="CPU", channels=16, sampling_hz=30_000.0)
    source = {"recording": "mouse1~day2.nwb", "version": "v", "run_id": "run"}
    lesson = MemoryProfiles(home.roots.store).save(shape, failures=[], params={"batch_size": 30_000}, days=30, **source)

    shown = home.command("sort-assets", "lessons")
    as_json = home.invoke("lessons", "--json")
    cleared = home.invoke("lessons", "--clear")
    nothing = home.invoke("lessons")

    name = "kilosort4-16ch-30000Hz-CPU"
    assert shown.stdout == (f'{name}: {{"batch_size": 30000}}, from mouse1~day2.nwb, until {lesson.expires:%Y-%m-%d}\n')
    assert json.loads(as_json.stdout) == [lesson.model_dump(mode="json")]
    assert cleared.stdout.endswith("forgotten\n")
    assert nothing.stdout == "There are no lessons.\n"
    assert MemoryProfiles(home.roots.store).all() == []


def _status(home: Home) -> list[dict[str, Any]]:
    done = home.invoke("status", "--json")
    assert done.status == 0, done.output
    statuses: list[dict[str, Any]] = json.loads(done.stdout)
    return statuses
