import numpy as np
import pytest
from spikeinterface.core import BaseRecording, BaseSorting, NumpyRecording

from sort_assets.recordings.bad_channels import detect_bad_channels
from sort_assets_tests.recordings.files import recording_of


@pytest.fixture
def microvolts(ground_truth: tuple[BaseRecording, BaseSorting]) -> BaseRecording:
    recording, _ = ground_truth
    return recording_of(recording.get_traces(return_in_uV=True), recording, gain_to_uv=1.0)


def _with(recording: BaseRecording, *, dead: tuple[int, ...] = (), noisy: tuple[int, ...] = ()) -> BaseRecording:
    traces = recording.get_traces().copy()
    traces[:, dead] = -100.0
    traces[:, noisy] += np.random.default_rng(1).normal(0, 150, (len(traces), len(noisy)))
    return recording_of(traces, recording, gain_to_uv=1.0)


@pytest.mark.parametrize("seed", [0, 1])
def test_good_channels_are_all_kept(seed: int, microvolts: BaseRecording) -> None:
    assert detect_bad_channels(microvolts, seed) == {}


def test_planted_channels_are_found_exactly(microvolts: BaseRecording) -> None:
    recording = _with(microvolts, dead=(2, 7), noisy=(12,))

    assert detect_bad_channels(recording, seed=0) == {"2": "dead", "7": "dead", "12": "noise"}


def test_tetrodes_are_too_small_for_coherence_and_still_judged(microvolts: BaseRecording) -> None:
    recording = _with(microvolts, dead=(5,), noisy=(14,))
    recording.set_channel_groups(np.repeat(np.arange(4), 4))

    assert detect_bad_channels(recording, seed=0) == {"5": "dead", "14": "noise"}


def test_good_tetrodes_are_kept(microvolts: BaseRecording) -> None:
    microvolts.set_channel_groups(np.repeat(np.arange(4), 4))

    assert detect_bad_channels(microvolts, seed=0) == {}


def test_channels_without_locations_are_judged(microvolts: BaseRecording) -> None:
    recording = _with(microvolts, dead=(0,), noisy=(9,))
    recording.remove_probe()

    assert detect_bad_channels(recording, seed=0) == {"0": "dead", "9": "noise"}


def test_channels_without_groups_are_judged(microvolts: BaseRecording) -> None:
    planted = _with(microvolts, dead=(0,), noisy=(9,))
    recording = NumpyRecording([planted.get_traces()], planted.sampling_frequency, channel_ids=planted.channel_ids)

    assert recording.get_channel_groups() is None
    assert detect_bad_channels(recording, seed=0) == {"0": "dead", "9": "noise"}


@pytest.mark.release
def test_threads_find_the_same_channels(microvolts: BaseRecording) -> None:
    recording = _with(microvolts, dead=(2, 7), noisy=(12,))

    assert detect_bad_channels(recording, 0, n_jobs=3) == detect_bad_channels(recording, 0, n_jobs=1)


def test_a_single_channel_is_kept(microvolts: BaseRecording) -> None:
    assert detect_bad_channels(microvolts.select_channels(["4"]), seed=0) == {}


@pytest.mark.parametrize("channels", [16, 1])
def test_a_recording_in_which_nothing_changes_is_silent_and_keeps_its_channels(
    channels: int, microvolts: BaseRecording
) -> None:
    silent = _with(microvolts, dead=tuple(range(16))).select_channels(microvolts.channel_ids[:channels])

    assert detect_bad_channels(silent, seed=0) == {}


def test_one_channel_that_changes_makes_the_others_dead(microvolts: BaseRecording) -> None:
    recording = _with(microvolts, dead=tuple(range(1, 16)))

    assert detect_bad_channels(recording, seed=0) == {str(channel): "dead" for channel in range(1, 16)}


def test_a_recording_shorter_than_one_chunk_is_judged(microvolts: BaseRecording) -> None:
    recording = _with(microvolts, dead=(6,)).frame_slice(0, 6000)

    assert detect_bad_channels(recording, seed=0) == {"6": "dead"}
