"""A sorter that found nothing: unsortable where the recording has no spikes, else a failure with causes in order."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from spikeinterface.core import BaseRecording, NumpyRecording

from sort_assets.backends import create_backend
from sort_assets.backends.base import UNSORTABLE
from sort_assets.backends.nothing_found import no_units, nothing_to_sort
from sort_assets.backends.spikeinterface_backend import SpikeInterfaceBackend
from sort_assets.config import SortingPipelineConfig
from sort_assets.errors import MissedSpikesError, TooFewSpikesError, TooShortRecordingError, UnsortableRecordingError
from sort_assets.testing.ground_truth import make_ground_truth
from sort_assets.testing.shapes import SHAPES, make_shape
from sort_assets.testing.sort_run import make_sort_input

TOO_FEW = "Kilosort4 found 0 clear spikes in the first of 6 batches. It learns waveforms there and nowhere else."


def backend_of(params: dict[str, Any], sorter: str = "kilosort4", **recording: Any) -> SpikeInterfaceBackend:
    backend = create_backend(
        SortingPipelineConfig.model_validate(
            {"sorter": {"name": sorter, "params": params, "device": "cpu"}, "recording": recording}
        )
    )
    assert isinstance(backend, SpikeInterfaceBackend)
    return backend


def too_few() -> UnsortableRecordingError:
    return TooFewSpikesError(TOO_FEW, remedy="Look at the recording.", spikes_found=0)


@pytest.fixture(scope="module")
def tetrode() -> BaseRecording:
    return backend_of({}).load_recording(make_shape("tetrode", 12.0)[0])


@pytest.fixture(scope="module")
def noise() -> BaseRecording:
    return backend_of({}).load_recording(make_ground_truth(6.0, num_units=0, probe=SHAPES["tetrode"].probe())[0])


def plain(units_uv: float, *, silent_s: float = 0.0, rate_hz: float = 8.0, seconds: float = 40.0) -> BaseRecording:
    """Noise of a tetrode, and spikes of 12 times its height at random from some time on."""
    rng = np.random.default_rng(4)
    traces = rng.normal(0, 10, (round(seconds * 30_000), 4)).astype(np.float32)
    wave = units_uv * (
        -np.exp(-((np.arange(-30, 46) / 4.5) ** 2)) + 0.35 * np.exp(-(((np.arange(-30, 46) - 14) / 8) ** 2))
    )
    for start in rng.integers(round(silent_s * 30_000), len(traces) - 80, round(rate_hz * (seconds - silent_s))):
        traces[start : start + 76] += np.outer(wave, [1.0, 0.6, 0.3, 0.2])
    recording = NumpyRecording([traces], 30_000.0)
    recording.set_probe(SHAPES["tetrode"].probe())
    recording.set_channel_gains(1.0)
    recording.set_channel_offsets(0.0)
    return recording


def missed(backend: SpikeInterfaceBackend, recording: BaseRecording, reason: UnsortableRecordingError) -> Any:
    with pytest.raises(MissedSpikesError) as raised:
        nothing_to_sort(backend, recording, reason)
    return raised.value


def test_noise_is_unsortable_and_says_that_it_was_looked_at(noise: BaseRecording) -> None:
    sorting = nothing_to_sort(backend_of({}), noise, too_few())

    assert sorting.get_num_units() == 0
    reason = sorting.get_annotation(UNSORTABLE)
    assert "TooFewSpikesError" in reason["classes"]
    assert reason["message"] == f"{TOO_FEW} A look at the recording itself shows no clear spikes in 6 s of its 6 s."


def test_clear_spikes_make_it_a_failure_that_names_the_reference_and_the_drift_first(tetrode: BaseRecording) -> None:
    failure = missed(backend_of({"do_CAR": True, "nblocks": 1}), tetrode, too_few())

    assert failure.message.startswith(
        "kilosort4 found nothing to sort, but the recording clearly has spikes, or artefacts "
    )
    assert TOO_FEW in failure.message
    assert failure.remedy.startswith("(1) sorter.params.do_CAR is true: the median of 4 channels takes away spikes")
    assert (
        "(2) sorter.params.nblocks is 1. 4 channels are sorted together: too few for an estimate of drift"
        in failure.remedy
    )
    assert failure.diagnostics["clear_spikes"] >= 30


def test_settings_that_fit_are_not_blamed(tetrode: BaseRecording) -> None:
    failure = missed(backend_of({}), tetrode, too_few())

    assert "do_CAR" not in failure.remedy
    assert "nblocks" not in failure.remedy
    assert failure.remedy.startswith("(1) The thresholds may still be too high")


def test_a_later_start_is_advised_last_and_only_where_a_good_part_was_seen_to_be_silent() -> None:
    learning = {"templates_from_data": True}
    all_along = missed(backend_of(learning), plain(150.0), too_few())
    late = missed(backend_of(learning), plain(150.0, silent_s=20.0), too_few())

    assert "learns waveforms from every 25th batch" not in all_along.remedy
    assert late.remedy.startswith("(1) The thresholds may still be too high")
    assert "(2) Kilosort learns waveforms from every 25th batch of 2 s" in late.remedy
    assert "stretches that were looked at in the first 2" in late.remedy


def test_on_few_channels_learning_from_few_spikes_is_named_where_somebody_chose_it(tetrode: BaseRecording) -> None:
    by_default = missed(backend_of({}), tetrode, too_few())
    learning = missed(backend_of({"templates_from_data": True}), tetrode, too_few())

    assert "too few spikes to learn from" not in by_default.remedy
    assert "Th_single_ch" not in by_default.remedy
    assert "(2) A few cells of 1 to 3 Hz may leave Kilosort too few spikes to learn from" in learning.remedy
    assert "set sorter.params.templates_from_data to false" in learning.remedy
    assert "sort again with the preset mountainsort5" in learning.remedy


def test_a_few_clear_spikes_are_a_failure_in_hedged_words() -> None:
    failure = missed(backend_of({}), plain(150.0, rate_hz=0.3), too_few())

    assert "a few clear spikes, or artefacts that look like them, were seen in the recording: " in failure.message
    assert "clearly has" not in failure.message


def test_raised_thresholds_and_a_common_reference_of_few_channels_are_named(tetrode: BaseRecording) -> None:
    backend = backend_of({"Th_universal": 30}, preprocessing={"common_reference": {}})

    failure = missed(backend, tetrode, too_few())

    assert failure.remedy.startswith("(1) recording.preprocessing takes a common reference of 4 channels")
    assert "(2) sorter.params.Th_universal is 30, above Kilosort's default (Th_universal 9)" in failure.remedy


def test_a_sorter_that_ends_without_units_is_asked_the_same(tetrode: BaseRecording, noise: BaseRecording) -> None:
    backend = backend_of({}, sorter="mountainsort5")

    assert nothing_to_sort(backend, noise, no_units("mountainsort5")).get_annotation(UNSORTABLE) is not None
    failure = missed(backend, tetrode, no_units("mountainsort5"))

    assert "mountainsort5 found no units" in failure.message
    assert "detect_threshold" in failure.remedy


def test_what_is_too_short_but_has_spikes_says_so_first(tetrode: BaseRecording) -> None:
    reason = TooShortRecordingError("The recording lasts 1.9 s.", remedy="Record for some minutes.")

    failure = missed(backend_of({}), tetrode.frame_slice(0, 57_000), reason)

    assert failure.remedy.startswith("(1) It is too short for this sorter: record for longer")


@pytest.mark.slow
@pytest.mark.release
def test_a_tetrode_whose_spikes_the_chosen_reference_takes_away_is_a_failure(tmp_path: Path) -> None:
    backend = backend_of({"do_CAR": True, "nblocks": 1})
    recording, dat_path = make_sort_input(backend, make_shape("tetrode", 12.0)[0], tmp_path)

    with pytest.raises(MissedSpikesError) as failure:
        backend.sort(recording, None, dat_path, tmp_path / "sorter")

    assert "sorter.params.do_CAR" in failure.value.remedy
