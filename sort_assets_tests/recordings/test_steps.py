import numpy as np
import pytest
from spikeinterface.core import BaseRecording

from sort_assets.config import RecordingConfig
from sort_assets.errors import ConfigError
from sort_assets.recordings import prepare
from sort_assets.recordings.band_pass import BandPassRecording
from sort_assets.recordings.steps import planned_steps
from sort_assets_tests.recordings.files import recording_of

RATE_HZ = 30000


@pytest.fixture
def tones(short: BaseRecording) -> BaseRecording:
    """10 Hz, 1000 Hz and 10000 Hz together on every channel, each of 100 microvolts."""
    times_s = np.arange(2 * RATE_HZ) / RATE_HZ
    tones = sum(100 * np.sin(2 * np.pi * frequency_hz * times_s) for frequency_hz in (10, 1000, 10000))
    return recording_of(np.repeat(tones[:, None], 16, axis=1).astype("float32"), short, gain_to_uv=1.0)


def _loud_tones(recording: BaseRecording) -> set[int]:
    spectrum = np.abs(np.fft.rfft(recording.get_traces()[15000:45000, 0])) / 15000
    return {frequency_hz for frequency_hz in (10, 1000, 10000) if spectrum[frequency_hz] > 50}


@pytest.mark.parametrize(
    ("freq_min", "freq_max", "heard"),
    [
        (300.0, 6000.0, {1000}),
        (300.0, None, {1000, 10000}),
        (None, 6000.0, {10, 1000}),
        (None, None, {10, 1000, 10000}),
    ],
)
def test_the_band_is_what_is_heard(
    freq_min: float | None, freq_max: float | None, heard: set[int], tones: BaseRecording
) -> None:
    prepared = prepare(tones, RecordingConfig(bad_channels="none", freq_min=freq_min, freq_max=freq_max))

    assert _loud_tones(prepared) == heard


def test_the_band_pass_goes_before_other_steps() -> None:
    config = RecordingConfig(preprocessing={"common_reference": {}, "whiten": {}})

    assert list(planned_steps(config)) == ["bandpass_filter", "common_reference", "whiten"]


def test_a_band_pass_among_the_steps_stays_there_and_takes_the_band() -> None:
    config = RecordingConfig(freq_min=500, preprocessing={"common_reference": {}, "bandpass_filter": {}})

    assert list(planned_steps(config).items()) == [
        ("common_reference", {}),
        ("bandpass_filter", {"freq_min": 500, "freq_max": 6000}),
    ]


def test_a_band_of_the_step_itself_goes_first() -> None:
    config = RecordingConfig(preprocessing={"bandpass_filter": {"freq_max": 9000}})

    assert planned_steps(config) == {"bandpass_filter": {"freq_min": 300, "freq_max": 9000}}


def test_another_filter_takes_the_place_of_the_band_pass() -> None:
    config = RecordingConfig(preprocessing={"highpass_filter": {"freq_min": 250}})

    assert planned_steps(config) == {"highpass_filter": {"freq_min": 250}}


def test_an_unknown_step_is_refused_with_those_that_exist(short: BaseRecording) -> None:
    config = RecordingConfig(bad_channels="none", preprocessing={"remove_everything": {}})

    with pytest.raises(ConfigError, match=r"'remove_everything' that does not exist.*common_reference.*correct_motion"):
        prepare(short, config)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("notch_filter", {"frequency": 50}),
        ("common_reference", {"reference": "moon"}),
        ("phase_shift", {}),
        ("bandpass_filter", {"freq_min": None}),
        ("correct_motion", {"preset": "unheard_of"}),
    ],
)
def test_a_step_that_cannot_be_built_is_named(name: str, params: dict[str, object], short: BaseRecording) -> None:
    config = RecordingConfig(bad_channels="none", preprocessing={name: params})

    with pytest.raises(ConfigError, match=f"step '{name}'"):
        prepare(short, config)


@pytest.mark.parametrize("freq_min", [300.0, None])
def test_a_band_above_half_the_rate_is_refused(freq_min: float | None, short: BaseRecording) -> None:
    with pytest.raises(ConfigError, match=r"16000 Hz.*15000 Hz.*recording\.freq_max below 15000"):
        prepare(short, RecordingConfig(bad_channels="none", freq_min=freq_min, freq_max=16000))


@pytest.mark.parametrize("step", [{"whiten": {}}, {"zscore": {}}, {"highpass_spatial_filter": {"n_channel_pad": 4}}])
def test_steps_that_look_at_random_times_always_look_at_the_same(
    step: dict[str, dict[str, object]], short: BaseRecording
) -> None:
    config = RecordingConfig(bad_channels="none", preprocessing=step)

    np.testing.assert_array_equal(prepare(short, config).get_traces(), prepare(short, config).get_traces())


def test_skew_between_channels_is_undone_after_the_band_pass(tones: BaseRecording) -> None:
    shifts = np.arange(16) / 16
    times_s = (np.arange(2 * RATE_HZ)[:, None] + shifts) / RATE_HZ
    skewed = recording_of((100 * np.sin(2 * np.pi * 1000 * times_s)).astype("float32"), tones, gain_to_uv=1.0)
    skewed.set_property("inter_sample_shift", shifts)

    prepared = prepare(skewed, RecordingConfig(bad_channels="none", preprocessing={"phase_shift": {}}))

    traces = prepared.get_traces()[15000:45000]
    assert np.abs(traces - traces[:, :1]).max() < 1.0


@pytest.mark.parametrize("names", [["phase_shift"], ["phase_shift", "bandpass_filter"]])
def test_the_band_pass_takes_the_phase_shift_into_its_pass_in_either_order(
    names: list[str], short: BaseRecording
) -> None:
    skewed = short.select_channels(short.channel_ids)
    skewed.set_property("inter_sample_shift", np.arange(16) / 16)
    config = RecordingConfig(bad_channels="none", preprocessing={name: {} for name in [*names, "common_reference"]})

    prepared = prepare(skewed, config)

    parent = prepared._kwargs["recording"]
    assert isinstance(parent, BandPassRecording)
    assert parent._kwargs["sample_shifts"] == (np.arange(16) / 16).tolist()
    in_two_steps = {**config.preprocessing, "phase_shift": {"margin_ms": 40.0}}
    in_two = prepare(skewed, config.model_copy(update={"preprocessing": in_two_steps}))
    np.testing.assert_allclose(prepared.get_traces()[2000:-2000], in_two.get_traces()[2000:-2000], atol=0.01)
