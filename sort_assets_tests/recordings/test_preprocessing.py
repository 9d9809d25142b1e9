from pathlib import Path

import numpy as np
import pytest
from spikeinterface.core import BaseRecording, BaseSorting, append_recordings
from spikeinterface.preprocessing import bandpass_filter, scale

from sort_assets.config import RecordingConfig
from sort_assets.errors import BadChannelsError, ConfigError, RecordingError, TooShortRecordingError
from sort_assets.recordings import Boundary, boundaries, freeze, open_recording, prepare
from sort_assets.recordings.steps import BAND_PASS_FILE
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.recordings.files import recording_of
from sort_assets_tests.recordings.writers import write_maxwell

RAW = RecordingConfig(freq_min=None, freq_max=None, bad_channels="none")
"""Microvolts, and nothing else is done."""


def configured(**fields: object) -> RecordingConfig:
    return RAW.model_copy(update=fields)


@pytest.fixture
def broken(ground_truth: tuple[BaseRecording, BaseSorting]) -> BaseRecording:
    """Channel 3 is dead and channel 9 is noisy."""
    recording, _ = ground_truth
    traces = recording.get_traces().copy()
    traces[:, 3] = 7
    traces[:, 9] += np.random.default_rng(1).normal(0, 600, len(traces)).astype("int16")
    return recording_of(traces, recording)


def test_the_default_is_microvolts_in_the_spike_band(short: BaseRecording) -> None:
    prepared = prepare(short, RecordingConfig())

    expected = bandpass_filter(recording_of(short.get_traces() * np.float32(0.195), short), 300, 6000).get_traces()
    assert prepared.dtype == np.float32
    assert prepared.get_channel_gains().tolist() == [1.0] * 16
    assert prepared.get_channel_offsets().tolist() == [0.0] * 16
    np.testing.assert_allclose(prepared.get_traces(), expected, atol=1e-2)
    np.testing.assert_array_equal(prepared.get_channel_locations(), short.get_channel_locations())


def test_what_an_earlier_version_froze_is_still_filtered_by_spikeinterface(
    short: BaseRecording, tmp_path: Path
) -> None:
    frozen = freeze(short, RecordingConfig(bad_channels="none"), tmp_path)
    now = prepare(short, frozen, tmp_path)
    (tmp_path / BAND_PASS_FILE).unlink()

    before = prepare(short, frozen, tmp_path)

    scaled = scale(short, gain=0.195, dtype="float32")
    np.testing.assert_array_equal(before.get_traces(), bandpass_filter(scaled, 300, 6000).get_traces())
    np.testing.assert_allclose(now.get_traces(), before.get_traces(), atol=0.005)
    assert not np.array_equal(now.get_traces(), before.get_traces())


def test_a_recording_that_is_prepared_is_not_changed(short: BaseRecording) -> None:
    prepare(short, configured(gain_to_uv=3.0, bad_channels="list", bad_channel_ids=("3",)))

    assert short.get_channel_gains().tolist() == [0.195] * 16
    assert short.get_annotation("removed_channels") is None


def test_configured_gain_and_offset_replace_those_of_the_file(short: BaseRecording) -> None:
    prepared = prepare(short, configured(gain_to_uv=0.5, offset_to_uv=-20.0))

    np.testing.assert_allclose(prepared.get_traces(), short.get_traces() * 0.5 - 20.0, rtol=1e-6)


def test_the_offset_of_the_file_goes_with_a_configured_gain(short: BaseRecording) -> None:
    counts = (short.get_traces().astype("int32") + 32768).astype("uint16")
    unsigned = recording_of(counts, short, gain_to_uv=3.0)
    unsigned.set_channel_offsets(-32768 * 3.0)

    prepared = prepare(unsigned, configured(gain_to_uv=0.5))

    np.testing.assert_allclose(prepared.get_traces(), short.get_traces() * 0.5, atol=0.01)


def test_a_file_with_a_gain_of_zero_can_be_given_another(short: BaseRecording) -> None:
    prepared = prepare(recording_of(short.get_traces(), short, gain_to_uv=0.0), configured(gain_to_uv=0.5))

    np.testing.assert_allclose(prepared.get_traces(), short.get_traces() * 0.5, rtol=1e-6)


def test_each_channel_has_its_own_gain_and_offset(short: BaseRecording) -> None:
    uneven = recording_of(short.get_traces(), short)
    gains, offsets = np.linspace(0.1, 0.4, 16), np.linspace(-30, 30, 16)
    uneven.set_channel_gains(gains)
    uneven.set_channel_offsets(offsets)

    prepared = prepare(uneven, RAW)

    np.testing.assert_allclose(prepared.get_traces(), short.get_traces() * gains + offsets, rtol=1e-4, atol=1e-3)


def test_an_unknown_gain_is_refused(short: BaseRecording) -> None:
    unscaled = recording_of(short.get_traces(), short, gain_to_uv=None)

    with pytest.raises(RecordingError, match=r"how many microvolts.*recording\.gain_to_uv"):
        prepare(unscaled, RAW)


def test_an_unknown_gain_can_be_configured(short: BaseRecording) -> None:
    unscaled = recording_of(short.get_traces(), short, gain_to_uv=None)

    prepared = prepare(unscaled, configured(gain_to_uv=0.195))

    np.testing.assert_allclose(prepared.get_traces(), short.get_traces(return_in_uV=True), rtol=1e-5)


def test_unsigned_maxwell_counts_are_filtered(short: BaseRecording, tmp_path: Path) -> None:
    recording = open_recording(write_maxwell(short, tmp_path / "plate.h5", gain_to_uv=0.6))

    prepared = prepare(recording, RecordingConfig(bad_channels="none"))

    expected = prepare(short, RecordingConfig(bad_channels="none")).get_traces()
    clipped_uv = 0.6 * 512
    assert np.abs(short.get_traces(return_in_uV=True)).max() < clipped_uv
    np.testing.assert_allclose(prepared.get_traces(), expected, atol=1.0)


def test_several_segments_become_one(short: BaseRecording) -> None:
    two = append_recordings([short.frame_slice(0, 20000), short.frame_slice(20000, 60000)])

    prepared = prepare(two, RAW)

    np.testing.assert_allclose(prepared.get_traces(), short.get_traces(return_in_uV=True), rtol=1e-5)


@pytest.mark.parametrize(
    ("fields", "start", "end"),
    [
        ({"start_s": 0.5}, 15000, 60000),
        ({"end_s": 1.5}, 0, 45000),
        ({"start_s": 0.5, "end_s": 1.5}, 15000, 45000),
        ({"start_s": 0.5, "first_minutes": 0.01}, 15000, 33000),
        ({"first_minutes": 5.0}, 0, 60000),
    ],
)
def test_a_time_range_counts_from_the_first_sample(
    fields: dict[str, float], start: int, end: int, short: BaseRecording, tmp_path: Path
) -> None:
    recording = open_recording(write_nwb(short, tmp_path / "recording.nwb", starting_time_s=1000.0))

    prepared = prepare(recording, configured(**fields))

    np.testing.assert_allclose(prepared.get_traces(), short.get_traces(return_in_uV=True)[start:end], rtol=1e-5)
    assert prepared.get_start_time() == pytest.approx(1000 + start / 30000)


@pytest.mark.parametrize("fields", [{"start_s": 2.0}, {"start_s": 1.0, "end_s": 2.5}, {"end_s": 1e-6}])
def test_a_time_range_outside_the_recording_is_refused(fields: dict[str, float], short: BaseRecording) -> None:
    with pytest.raises(RecordingError, match=r"lasts 2\.000 s"):
        prepare(short, configured(**fields))


def test_boundaries_are_cut_with_the_time_range(short: BaseRecording, tmp_path: Path) -> None:
    for name, time_s in (("1", 10.0), ("2", 20.0), ("3", 30.0)):
        write_nwb(short, tmp_path / f"part_{name}.nwb", starting_time_s=time_s)

    prepared = prepare(open_recording(tmp_path), configured(start_s=2.5, end_s=4.0))

    assert boundaries(prepared) == [Boundary("part_2.nwb", 0, 45000, 20.5)]


def test_boundaries_stay_right_when_the_range_spans_files(short: BaseRecording, tmp_path: Path) -> None:
    for name, time_s in (("1", 10.0), ("2", 20.0), ("3", 30.0)):
        write_nwb(short, tmp_path / f"part_{name}.nwb", starting_time_s=time_s)

    prepared = prepare(open_recording(tmp_path), configured(start_s=1.0, end_s=4.5))

    assert boundaries(prepared) == [
        Boundary("part_1.nwb", 0, 30000, 11.0),
        Boundary("part_2.nwb", 30000, 90000, 20.0),
        Boundary("part_3.nwb", 90000, 105000, 30.0),
    ]


def test_boundaries_stay_right_when_a_step_changes_the_rate(short: BaseRecording, tmp_path: Path) -> None:
    for name in ("1", "2"):
        write_nwb(short, tmp_path / f"part_{name}.nwb")

    prepared = prepare(open_recording(tmp_path), configured(preprocessing={"resample": {"resample_rate": 15000}}))

    assert [(piece.start_sample, piece.end_sample) for piece in boundaries(prepared)] == [(0, 30000), (30000, 60000)]


def test_dead_and_noisy_channels_are_removed_with_their_reason(broken: BaseRecording) -> None:
    prepared = prepare(broken, RecordingConfig())

    assert prepared.get_annotation("removed_channels") == {"3": "dead", "9": "noise"}
    assert prepared.get_num_channels() == 14
    assert not {"3", "9"} & set(prepared.channel_ids)


def test_no_channel_of_a_clean_recording_is_removed(nwb_file: Path) -> None:
    prepared = prepare(open_recording(nwb_file), RecordingConfig())

    assert prepared.get_annotation("removed_channels") == {}
    assert prepared.get_num_channels() == 16


def test_listed_channels_are_removed(broken: BaseRecording) -> None:
    prepared = prepare(broken, configured(bad_channels="list", bad_channel_ids=("0", "15")))

    assert prepared.get_annotation("removed_channels") == {"0": "listed", "15": "listed"}
    assert prepared.channel_ids.tolist() == [str(channel) for channel in range(1, 15)]


def test_an_unknown_listed_channel_is_refused(short: BaseRecording) -> None:
    with pytest.raises(BadChannelsError, match="no channels AP99"):
        prepare(short, configured(bad_channels="list", bad_channel_ids=("0", "AP99")))


def test_a_recording_of_bad_channels_alone_is_refused(short: BaseRecording) -> None:
    all_of_them = tuple(str(channel_id) for channel_id in short.channel_ids)

    with pytest.raises(BadChannelsError, match="All 16 channels are bad"):
        prepare(short, RecordingConfig(bad_channels="list", bad_channel_ids=all_of_them))


def test_a_silent_recording_keeps_its_channels(short: BaseRecording) -> None:
    silent = recording_of(np.full_like(short.get_traces(), -512), short)

    prepared = prepare(silent, RecordingConfig())

    assert prepared.get_num_channels() == 16
    np.testing.assert_allclose(prepared.get_traces(), 0, atol=1e-9)


def test_frozen_bad_channels_are_not_detected_again(
    broken: BaseRecording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = freeze(broken, RecordingConfig(), tmp_path)

    # Stands for the proof that nothing is estimated: detection fails if it is called.
    monkeypatch.delattr("sort_assets.recordings.preprocessing.detect_bad_channels")
    prepared = prepare(broken, frozen, tmp_path)

    assert (frozen.bad_channels, frozen.bad_channel_ids) == ("list", ("3", "9"))
    assert prepared.get_annotation("removed_channels") == {"3": "dead", "9": "noise"}


MOTION = RecordingConfig(
    preprocessing={
        "common_reference": {},
        "correct_motion": {
            "preset": "rigid_fast",
            "estimate_motion_kwargs": {"method": "dredge_ap", "bin_s": 1.0, "rigid": True},
            "interpolate_motion_kwargs": {"border_mode": "force_extrapolate"},
        },
        "whiten": {},
    }
)


@pytest.fixture(scope="module")
def drifting(ground_truth: tuple[BaseRecording, BaseSorting]) -> BaseRecording:
    """Six seconds; after the first three, everything is 40 micrometres (two channels) further along the probe."""
    recording, _ = ground_truth
    traces = recording.get_traces(end_frame=180000).copy()
    traces[90000:] = np.roll(traces[90000:], 2, axis=1)
    return recording_of(traces, recording)


@pytest.fixture(scope="module")
def frozen_motion(
    drifting: BaseRecording, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RecordingConfig, np.ndarray]:
    """The frozen configuration, and the last second as it is prepared with that after its folder has moved."""
    folder = tmp_path_factory.mktemp("frozen")
    (folder / "staging").mkdir()
    frozen = freeze(drifting, MOTION, folder / "staging", 1)
    moved = (folder / "staging").rename(folder / "published")
    reopened = prepare(drifting, RecordingConfig.model_validate_json(frozen.model_dump_json()), moved)
    return frozen, _last_second(reopened)


def _last_second(recording: BaseRecording) -> np.ndarray:
    return recording.get_traces(start_frame=150000, end_frame=180000)


@pytest.mark.release
def test_a_frozen_recording_is_the_same_after_its_folder_has_moved_and_with_more_threads(
    drifting: BaseRecording, frozen_motion: tuple[RecordingConfig, np.ndarray]
) -> None:
    frozen, corrected = frozen_motion
    uncorrected = RecordingConfig(preprocessing={"common_reference": {}, "whiten": {}})

    assert list(frozen.preprocessing) == ["common_reference", "interpolate_motion", "whiten"]
    # Estimated a second time here, from the same data, with the same seed and other threads.
    np.testing.assert_array_equal(corrected, _last_second(prepare(drifting, MOTION, n_jobs=3)))
    assert not np.allclose(corrected, _last_second(prepare(drifting, uncorrected)), atol=0.5)


def test_a_configuration_that_estimates_nothing_is_already_frozen(short: BaseRecording, tmp_path: Path) -> None:
    config = configured(preprocessing={"common_reference": {}})

    assert freeze(short, config, tmp_path) == config


@pytest.mark.parametrize("folder", ["../elsewhere", "/etc"])
def test_motion_outside_the_frozen_folder_is_refused(folder: str, short: BaseRecording, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="interpolate_motion"):
        prepare(short, configured(preprocessing={"interpolate_motion": {"folder": folder}}), tmp_path)


def test_a_recording_too_short_for_a_filter_is_told(short: BaseRecording, tmp_path: Path) -> None:
    with pytest.raises(TooShortRecordingError, match="has 30 samples"):
        freeze(short.frame_slice(0, 30), RecordingConfig(), tmp_path)
