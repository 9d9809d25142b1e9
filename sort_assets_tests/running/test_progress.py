"""Stage, percent and time left, read from what sorters really write."""

import os
from importlib.util import find_spec
from pathlib import Path
from time import process_time

import pytest

from sort_assets.backends.kilosort4.stages import DETECTION, FIRST_CLUSTERING, MERGING, PREPROCESSING, STAGES
from sort_assets.running.progress import Progress, StageReader, read_ends

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

    progress = StageReader(tmp_path / "kilosort4.log", STAGES).progress(tmp_path / "sorter.log")

    assert progress == expected


def test_kilosort_writes_steadily_while_it_goes_through_batches_or_places(tmp_path: Path) -> None:
    log = tmp_path / "kilosort4.log"
    reader = StageReader(log, STAGES)
    assert not reader.logs_steadily()  # it has not begun
    log.write_text(BEGINNING)
    assert reader.logs_steadily()
    log.write_text(f"{BEGINNING}Merging clusters\n")

    assert not reader.logs_steadily()


def test_without_known_stages_the_title_of_the_bar_is_the_stage(tmp_path: Path) -> None:
    (tmp_path / "sorter.log").write_text(
        "noise_level (no parallelization): 45%|####      | 9/20 [00:03<00:04, 2.5it/s]"
    )

    progress = StageReader(None, ()).progress(tmp_path / "sorter.log")

    assert progress == Progress("noise_level (no parallelization)", percent=45, left_s=4.0)


def test_before_anything_is_written_it_runs(tmp_path: Path) -> None:
    progress = StageReader(tmp_path / "kilosort4.log", STAGES).progress(tmp_path / "sorter.log")

    assert str(progress) == "running"


def test_people_read_it_as_one_line() -> None:
    progress = Progress(DETECTION, 3, 8, percent=30, left_s=88.4)

    assert str(progress) == "spike detection (stage 3 of 8), 30 %, about 88 s left in this stage"


def test_the_stage_is_the_last_that_was_announced(tmp_path: Path) -> None:
    log_path = tmp_path / "kilosort4.log"
    log_path.write_text("".join(f"INFO {stage.marker}\n" for stage in STAGES[:-1]))

    assert StageReader(log_path, STAGES).read() == MERGING


def test_kilosort_really_writes_these_markers() -> None:
    package = find_spec("kilosort")  # to import it takes 9 s
    assert package is not None
    assert package.origin is not None
    source = Path(package.origin).with_name("run_kilosort.py").read_text(encoding="utf-8")

    assert [stage.marker for stage in STAGES if stage.marker not in source] == []


DETAIL = "2026-11-24 13:42:02,146 kilosort.clustering_qr DEBUG    Center: 12, spikes: 20317, clusters: 14\n"
MARKERS = {stage.name: f"2026-11-24 13:42:01,146 kilosort.run_kilosort INFO     {stage.marker}\n" for stage in STAGES}


@pytest.fixture
def log_path(tmp_path: Path) -> Path:
    return tmp_path / "kilosort4.log"


def append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def test_a_stage_is_not_forgotten_however_much_is_said_in_it(log_path: Path) -> None:
    log_path.write_text(MARKERS[FIRST_CLUSTERING] + 100_000 * DETAIL)  # 9 MB

    stage = StageReader(log_path, STAGES).read()

    assert stage == FIRST_CLUSTERING


def test_only_what_is_new_is_read(log_path: Path) -> None:
    log_path.write_text(MARKERS[FIRST_CLUSTERING] + 200_000 * DETAIL)
    reader = StageReader(log_path, STAGES)
    reader.read()
    append(log_path, DETAIL)

    began = process_time()
    stages = {reader.read() for _ in range(100)}

    assert stages == {FIRST_CLUSTERING}
    assert process_time() - began < 0.2  # reading all takes 0.02 s each time


def test_every_new_stage_is_seen(log_path: Path) -> None:
    reader = StageReader(log_path, STAGES)
    seen = [reader.read()]

    for stage in STAGES:
        append(log_path, MARKERS[stage.name] + DETAIL)
        seen.append(reader.read())

    assert seen == [None, *(stage.name for stage in STAGES)]


def test_an_announcement_is_seen_that_was_only_half_written_before(log_path: Path) -> None:
    reader = StageReader(log_path, STAGES)
    seen = []

    for character in MARKERS[PREPROCESSING] + MARKERS[DETECTION]:
        append(log_path, character)
        seen.append(reader.read())

    assert list(dict.fromkeys(seen)) == [None, PREPROCESSING, DETECTION]


@pytest.mark.parametrize("block", [999_990, 1_000_000, 1_999_980])
def test_an_announcement_is_seen_wherever_it_stands_in_a_large_log(log_path: Path, block: int) -> None:
    log_path.write_text("-" * block + MARKERS[DETECTION] + "-" * 1_000_000)

    assert StageReader(log_path, STAGES).read() == DETECTION


def test_a_log_that_was_cut_is_read_from_its_beginning(log_path: Path) -> None:
    log_path.write_text(MARKERS[PREPROCESSING] + 10 * DETAIL)
    reader = StageReader(log_path, STAGES)
    reader.read()

    os.truncate(log_path, 0)
    after_the_cut = reader.read()
    append(log_path, MARKERS[DETECTION])

    assert after_the_cut == PREPROCESSING
    assert reader.read() == DETECTION


def test_a_log_that_was_rotated_is_read_from_its_beginning(log_path: Path) -> None:
    log_path.write_text(MARKERS[PREPROCESSING])
    reader = StageReader(log_path, STAGES)
    reader.read()

    log_path.rename(log_path.with_suffix(".log.1"))
    without_a_log = reader.read()
    log_path.write_text(MARKERS[DETECTION] + 10 * DETAIL)

    assert without_a_log == PREPROCESSING
    assert reader.read() == DETECTION


@pytest.mark.parametrize(
    "hostile", ["a", " ", "1", "1%|", "%|", "a:", "1%|#|", "1%|#| 1/2 [00:01", BARS + "\r", BARS], ids=repr
)
def test_progress_is_read_at_once_from_a_line_of_any_length(tmp_path: Path, hostile: str) -> None:
    (tmp_path / "sorter.log").write_text(hostile * (4_000_000 // len(hostile)))
    reader = StageReader(None, ())

    began = process_time()
    reader.progress(tmp_path / "sorter.log")

    assert process_time() - began < 0.1


def test_the_last_of_bars_on_one_line_counts(tmp_path: Path) -> None:
    (tmp_path / "sorter.log").write_text(
        "detect: 10%|#  | 1/10 [00:01<00:09, 1.0it/s]extract: 50%|##   | 5/10 [00:05<00:05, 1.0it/s]"
    )

    progress = StageReader(None, ()).progress(tmp_path / "sorter.log")

    assert progress == Progress("extract", percent=50, left_s=5.0)


def test_beginning_and_end_of_a_file_that_is_larger_than_both(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("beginning" + "-" * 100 + "end")

    assert read_ends(tmp_path / "log", head_bytes=9, tail_bytes=3) == "beginning\nend"


def test_a_file_of_which_beginning_and_end_meet_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("beginning and end")

    assert read_ends(tmp_path / "log", head_bytes=9, tail_bytes=8) == "beginning and end"
    assert read_ends(tmp_path / "no log") == ""
