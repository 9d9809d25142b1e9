"""Stage, percent and time left, read from what sorters really write."""

from pathlib import Path

import pytest

from sort_assets.backends.kilosort4.stages import DETECTION, MERGING, STAGES
from sort_assets.isolation.progress import Progress, current_stage, read_progress

BEGINNING = (
    "2026-11-24 13:42:00,786 kilosort.run_kilosort INFO     Computing preprocessing variables.\n"
    "2026-11-24 13:42:01,146 kilosort.run_kilosort INFO     Extracting spikes using templates\n"
)
BARS = "  0%|          | 0/10 [00:00<?, ?it/s]\r 30%|███       | 3/10 [00:12<01:28,  0.08it/s]"


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("", Progress(DETECTION, 3, 8)),
        (BARS, Progress(DETECTION, 3, 8, percent=30, left_s=88.0)),
        ("  0%|          | 0/10 [00:00<?, ?it/s]", Progress(DETECTION, 3, 8, percent=0)),
        (f"{BARS}\r100%|██████████| 10/10 [01:40<00:00,  0.1it/s]", Progress(DETECTION, 3, 8)),
        (
            " 70%|███████   | 70/100 [1:00:00<1:02:03,  9.9s/it]",
            Progress(DETECTION, 3, 8, percent=70, left_s=3723.0),
        ),
    ],
)
def test_stage_percent_and_time_left_of_kilosort(tmp_path: Path, output: str, expected: Progress) -> None:
    (tmp_path / "kilosort4.log").write_text(BEGINNING)
    (tmp_path / "sorter.log").write_text(output)

    progress = read_progress(tmp_path / "sorter.log", tmp_path / "kilosort4.log", STAGES)

    assert progress == expected


def test_without_known_stages_the_title_of_the_bar_is_the_stage(tmp_path: Path) -> None:
    (tmp_path / "sorter.log").write_text(
        "noise_level (no parallelization): 45%|####      | 9/20 [00:03<00:04, 2.5it/s]"
    )

    progress = read_progress(tmp_path / "sorter.log", None, ())

    assert progress == Progress("noise_level (no parallelization)", percent=45, left_s=4.0)


def test_before_anything_is_written_it_runs(tmp_path: Path) -> None:
    progress = read_progress(tmp_path / "sorter.log", tmp_path / "kilosort4.log", STAGES)

    assert str(progress) == "running"


def test_people_read_it_as_one_line() -> None:
    progress = Progress(DETECTION, 3, 8, percent=30, left_s=88.4)

    assert str(progress) == "spike detection (stage 3 of 8), 30 %, about 88 s left in this stage"


def test_the_stage_is_the_last_that_was_announced() -> None:
    log = "".join(f"INFO {stage.marker}\n" for stage in STAGES[:-1])

    assert current_stage(log, STAGES) == MERGING


def test_kilosort_really_writes_these_markers() -> None:
    import kilosort

    source = Path(kilosort.__file__).with_name("run_kilosort.py").read_text(encoding="utf-8")

    assert [stage.marker for stage in STAGES if stage.marker not in source] == []
