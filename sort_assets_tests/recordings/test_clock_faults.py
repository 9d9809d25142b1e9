"""Whatever is wrong with a file's clock, its times are right, or as wrong as somebody is told at most."""

from pathlib import Path

import pytest

from sort_assets.recordings import clock as clock_module
from sort_assets_tests.recordings.clock_fault_files import WRITERS, FaultyFiles
from sort_assets_tests.recordings.clock_fault_outcomes import CASES, FAILURES, is_as_good, outcome

FEW_CASES = 8


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> FaultyFiles:
    return FaultyFiles(tmp_path_factory.mktemp("files"))


def check_case(recording_format: str, seed: int, files: FaultyFiles, folder: Path) -> None:
    case = files.write(recording_format, seed, folder)

    result, told = outcome(case)

    assert result not in FAILURES, f"{case.kind}: {told}"
    assert is_as_good(case, result), f"{case.kind}: {told}"


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording takes several chunks, and faults lie near their borders now and then."""
    monkeypatch.setattr(clock_module, "CHUNK_SAMPLES", 20_000)


@pytest.mark.parametrize("seed", range(FEW_CASES))
@pytest.mark.parametrize("recording_format", WRITERS)
def test_no_time_is_wrong_by_more_than_is_stated(
    recording_format: str, seed: int, files: FaultyFiles, tmp_path: Path
) -> None:
    check_case(recording_format, seed, files, tmp_path)


@pytest.mark.slow
@pytest.mark.release
@pytest.mark.parametrize("seed", range(FEW_CASES, CASES))
@pytest.mark.parametrize("recording_format", WRITERS)
def test_no_time_of_many_cases_is_wrong_by_more_than_is_stated(
    recording_format: str, seed: int, files: FaultyFiles, tmp_path: Path
) -> None:
    check_case(recording_format, seed, files, tmp_path)
