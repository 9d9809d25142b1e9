"""A sample is sorted under new rules by the pipeline itself, and nothing of it becomes current."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sort_assets.forecasts.totals import PlannedRecording
from sort_assets.platform.automation.shadow_sorts import SAMPLED, MeanChange, representative
from sort_assets.platform.automation.stale_results.staleness import StalenessReader
from sort_assets.platform.store.handles import StoredCuration
from sort_assets.platform.store.layout import WHAT_IF
from sort_assets.platform.store.store import Store
from sort_assets_tests.fixtures.home import Home

RULES = """\
rules:
  - match: "*"
    preset: mountainsort5
    sorter: {params: {scheme: "1", npca_per_channel: 1}}
    execution: {isolation: in_process, n_jobs: 1}
"""
HIGHER = """\
  - match: a.nwb
    sorter: {params: {detect_threshold: 12.0}}
"""
IMPOSSIBLE = """\
  - match: b.nwb
    sorter: {params: {scheme: "7"}}
"""
STRICTER = """\
  - match: "*"
    curation: {min_snr: 1000}
"""


@pytest.fixture(scope="module")
def lab(module_home: Home, short_file: Path) -> Home:
    """Two recordings that are sorted."""
    (module_home.roots.recordings / "sort_assets.yaml").write_text(RULES)
    for name in ("a.nwb", "b.nwb"):
        shutil.copy(short_file, module_home.roots.recordings / name)
        key = module_home.register(module_home.roots.recordings / name)
        assert module_home.materialize(key, *SAMPLED, config={}).success
    return module_home


def _sample(lab: Home, further: str, number: int) -> tuple[int, dict[str, Any]]:
    (lab.folder / "new.yaml").write_text(RULES + further)
    told = lab.invoke("what-if", "--rules", str(lab.folder / "new.yaml"), "--sample", str(number), "--json")
    found: dict[str, Any] = json.loads(told.stdout)["sample"]
    return told.status, found


def _state(lab: Home) -> tuple[dict[str, list[str]], int, list[Any]]:
    """The versions in the store, the number of runs, and what is stale."""
    versions = {f"{key} {asset}": lab.store.versions(key, asset) for key in ("a.nwb", "b.nwb") for asset in SAMPLED}
    with lab.instance() as instance:
        return versions, instance.get_runs_count(), StalenessReader().read(instance, seconds=60.0).stale


@pytest.mark.slow
@pytest.mark.xdist_group("shadow_sorts")
def test_a_sample_is_sorted_apart_from_the_results_and_compared_with_them(lab: Home) -> None:
    before = _state(lab)

    status, found = _sample(lab, HIGHER + IMPOSSIBLE, 2)

    (shadow,) = found["recordings"]
    assert shadow["recording"] == "a.nwb"
    assert shadow["kept"][0] == sum(number for fate, number in shadow["fates"].items() if fate != "new")
    assert min(shadow["seconds"]) > 0
    apart = Store(Path(found["store"])).artefact("a.nwb", "sorting").manifest
    assert shadow["units"][1] == apart.details["num_units"]
    assert apart.config["sorter"]["params"]["detect_threshold"] == 12.0
    assert found["changes"]["units"] == {"mean": shadow["units"][1] - shadow["units"][0], "low": None, "high": None}
    # One that can't be sorted with these settings says so, and the other goes on.
    assert status == 1
    assert set(found["failed"]) == {"b.nwb"}
    assert "sorting: " in found["failed"]["b.nwb"]
    assert _state(lab) == before


@pytest.mark.slow
@pytest.mark.xdist_group("shadow_sorts")
def test_what_does_not_become_stale_is_linked_and_the_sample_before_is_removed(lab: Home) -> None:
    before = _state(lab)
    _, first = _sample(lab, STRICTER, 1)

    status, second = _sample(lab, STRICTER, 2)

    assert status == 0
    assert [one["recording"] for one in second["recordings"]] == ["a.nwb", "b.nwb"]
    for one in second["recordings"]:
        assert one["kept"][1] == 0 < one["kept"][0]
        assert (one["persisting"], one["fates"]["lost"]) == (0.0, one["kept"][0])
    assert second["changes"]["units"]["mean"] == 0
    assert (Path(second["store"]) / "a.nwb" / "sorting").is_symlink()
    assert not Path(first["store"]).exists()
    assert len([path for path in (lab.roots.store / WHAT_IF).iterdir() if path.is_dir()]) == 1
    assert _state(lab) == before
    with lab.environment():
        assert len(StoredCuration(lab.roots, "a.nwb").load().unit_ids) > 0  # removing links removes no results


@pytest.mark.slow
def test_it_ends_with_the_command_that_started_it(home: Home) -> None:
    reader, writer = os.pipe()
    os.close(writer)  # as the kernel does when the command dies
    try:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "sort_assets.platform.automation.shadow_run",
                "sort_assets.definitions",
                "a.nwb",
                *SAMPLED,
            ],
            env={**os.environ, **home.variables},
            cwd=home.folder,
            stdin=reader,
            capture_output=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(reader)

    assert done.returncode == -signal.SIGTERM


def test_a_sample_and_its_application_are_two_questions(home: Home) -> None:
    (home.folder / "new.yaml").write_text(RULES)

    told = home.invoke("what-if", "--rules", str(home.folder / "new.yaml"), "--sample", "1", "--apply")

    assert told.status == 2
    assert not (home.roots.recordings / "sort_assets.yaml").exists()


@pytest.mark.parametrize(
    ("number", "taken"),
    [(1, ["c"]), (2, ["b", "d"]), (5, ["a", "b", "c", "d", "e"]), (9, ["a", "b", "c", "d", "e"])],
)
def test_a_sample_has_recordings_of_all_sizes(number: int, taken: list[str]) -> None:
    planned = [PlannedRecording(name, size, ()) for name, size in zip("edcba", (5.0, 4.0, 3.0, 2.0, None), strict=True)]

    assert [one.recording for one in representative(planned, number)] == taken


def test_the_interval_of_a_mean_covers_it_in_8_of_10_cases() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(1000):
        found = MeanChange.of(generator.normal(3.0, 2.0, 4).tolist())
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 3.0 <= found.high

    assert 0.76 <= covered / 1000 <= 0.84


def test_a_part_is_not_more_than_all() -> None:
    found = MeanChange.of([1.0, 0.8], (0.0, 1.0))

    assert found.high == 1.0
    assert found.low is not None
    assert math.isclose(found.mean, 0.9)
