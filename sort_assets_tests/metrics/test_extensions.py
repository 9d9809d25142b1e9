from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from spikeinterface.core import BaseRecording, BaseSorting, SortingAnalyzer
from spikeinterface.postprocessing.spike_locations import ComputeSpikeLocations

from sort_assets.metrics.extensions import FURTHER_EXTENSIONS, complete_analyzer
from sort_assets_tests.metrics.conftest import JOB_KWARGS, make_analyzer, without_probe


def test_a_complete_analyzer_is_stored_where_it_lies(
    complete_folder: Path, short: tuple[BaseRecording, BaseSorting]
) -> None:
    recording, sorting = short

    stored = SortingAnalyzer.load_from_binary_folder(complete_folder, recording=recording)

    assert all(stored.has_extension(name) for name in FURTHER_EXTENSIONS)
    assert set(stored.get_extension("templates").data) == {"average", "std"}
    amplitudes = stored.get_extension("spike_amplitudes").get_data()
    assert len(amplitudes) == len(sorting.to_spike_vector())
    assert not [path for path in complete_folder.rglob("*") if path.suffix in (".pkl", ".pickle")]


def test_waveforms_of_a_new_analyzer_stay_in_their_file(
    short: tuple[BaseRecording, BaseSorting], tmp_path: Path
) -> None:
    recording, sorting = short

    analyzer = make_analyzer(sorting, recording, tmp_path / "analyzer")

    assert isinstance(analyzer.get_extension("waveforms").data["waveforms"], np.memmap)


def test_without_templates_only_what_needs_them_is_missing(analyzer_with: Callable[..., SortingAnalyzer]) -> None:
    analyzer = analyzer_with(without=("templates", *FURTHER_EXTENSIONS))
    warned: list[str] = []

    failed = complete_analyzer(analyzer, job_kwargs=JOB_KWARGS, warn=warned.append)

    assert set(failed) == {"spike_amplitudes", "spike_locations", "unit_locations", "template_similarity"}
    assert all("templates" in reason for reason in failed.values())
    assert len(warned) == 4
    assert analyzer.has_extension("correlograms")
    assert analyzer.has_extension("isi_histograms")


def test_without_its_recording_only_what_reads_it_is_missing(analyzer_with: Callable[..., SortingAnalyzer]) -> None:
    analyzer = analyzer_with(without=FURTHER_EXTENSIONS, recording=False)

    failed = complete_analyzer(analyzer, job_kwargs=JOB_KWARGS)

    assert failed == dict.fromkeys(("spike_amplitudes", "spike_locations"), "The recording is gone.")


def test_without_positions_only_what_needs_them_is_missing(
    short: tuple[BaseRecording, BaseSorting], tmp_path: Path
) -> None:
    analyzer = make_analyzer(short[1], without_probe(short[0]), tmp_path / "analyzer", sparse=False)

    failed = complete_analyzer(analyzer, job_kwargs=JOB_KWARGS)

    assert failed == dict.fromkeys(("spike_locations", "unit_locations"), "The channels have no positions.")
    assert analyzer.get_probegroup() is None


def test_no_units_are_a_reason_not_an_error(short: tuple[BaseRecording, BaseSorting], tmp_path: Path) -> None:
    recording, sorting = short
    analyzer = make_analyzer(sorting.select_units([]), recording, tmp_path / "analyzer", sparse=False)

    failed = complete_analyzer(analyzer, job_kwargs=JOB_KWARGS)

    assert failed == dict.fromkeys(FURTHER_EXTENSIONS, "There are no units.")


def test_one_that_fails_in_the_shared_pass_does_not_take_the_other_with_it(
    analyzer_with: Callable[..., SortingAnalyzer], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: ComputeSpikeLocations) -> None:
        raise ValueError("no such method")

    # Nothing in a file makes just one of them fail.
    monkeypatch.setattr(ComputeSpikeLocations, "get_pipeline_nodes", fail)
    analyzer = analyzer_with(without=("spike_amplitudes", "spike_locations"))

    failed = complete_analyzer(analyzer, job_kwargs=JOB_KWARGS)

    assert failed == {"spike_locations": "ValueError: no such method"}
    assert analyzer.has_extension("spike_amplitudes")
    assert not (analyzer.folder / "extensions" / "spike_locations").exists()


@pytest.mark.parametrize("error", [MemoryError(), OSError(28, "No space left on device")])
def test_a_machine_that_gives_out_ends_the_whole_computation(
    error: Exception, analyzer_with: Callable[..., SortingAnalyzer], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: ComputeSpikeLocations) -> None:
        raise error

    # A full disk or memory can't be had in a test.
    monkeypatch.setattr(ComputeSpikeLocations, "get_pipeline_nodes", fail)

    with pytest.raises(type(error)):
        complete_analyzer(analyzer_with(without=("spike_locations",)), job_kwargs=JOB_KWARGS)
