"""The comparison with the plain script, at its smallest size."""

import subprocess
import sys
from pathlib import Path

import pytest
from spikeinterface.core import BaseSorting

from benchmarks.end_to_end import COMPARED, Setting, Sorted, compare
from benchmarks.process_tree import Used
from benchmarks.rows import at_most
from sort_assets.platform.pipeline.catalog import PIPELINE
from sort_assets_tests.fixtures.home import CHECKOUT


def test_the_script_has_a_step_for_each_asset_that_is_compared() -> None:
    script = (CHECKOUT / "benchmarks" / "plain_spikeinterface.py").read_text(encoding="utf-8")

    assert [line.split('"')[1] for line in script.splitlines() if line.startswith('    with step("')] == list(COMPARED)
    assert set(PIPELINE) - set(COMPARED) == {"sorting_report", "spike_data"}  # the script has nothing like them


def test_the_figure_is_the_median_of_the_ratios_of_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    def took(seconds: float) -> Sorted:
        return Sorted(Used(0.0, seconds, seconds, 1, 1, 1, 1, 1, 0, 0), {"sorting": 90.0}, 0.9)

    rounds = [{"platform": took(104.0), "script": took(100.0)}, {"platform": took(120.0), "script": took(100.0)}]
    monkeypatch.setattr("benchmarks.end_to_end.sort_in_turn", lambda *_: iter(rounds))

    wall, *_, accuracy = compare(Setting(2, 32), {"platform": run_nothing, "script": run_nothing}, at_most(1.05))

    assert (wall.figure, wall.reached) == (pytest.approx(1.12), False)
    assert "in s: 104.0 by 100.0 and 120.0 by 100.0" in wall.note
    assert accuracy.figure == 0


def run_nothing(*_: object) -> tuple[Used, dict[str, float], BaseSorting]:
    raise NotImplementedError


@pytest.mark.release
def test_both_sides_sort_a_short_recording(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.bench", "end_to_end", "--size", "small"]

    done = subprocess.run(
        [*command, "--json", str(tmp_path / "bench.json")], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout
    assert "0.1 min x 12 channels, wall time" in done.stdout
