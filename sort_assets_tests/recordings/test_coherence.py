import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import mode
from spikeinterface.core import BaseRecording, BaseSorting, NumpyRecording
from spikeinterface.preprocessing import detect_bad_channels, highpass_filter
from spikeinterface.preprocessing.detect_bad_channels import detect_bad_channels_ibl

from sort_assets.recordings import bad_channels
from sort_assets.recordings.coherence import GOOD, NUM_CHUNKS, OUTSIDE, CoherenceLabels, chunk_labels
from sort_assets.recordings.high_pass import high_pass
from sort_assets_tests.recordings.files import recording_of

THRESHOLD = 0.02


def _noise(rate_hz: float, channels: int, *, power: float = 0.005, samples: int | None = None) -> NDArray[np.float32]:
    """White noise with a power in microvolts squared per Hz, and what all channels have in common."""
    rng = np.random.default_rng(0)
    samples = samples or int(0.3 * rate_hz)
    common = rng.normal(0, 20, (samples, 1))
    return (common + rng.normal(0, np.sqrt(power * rate_hz / 2), (samples, channels))).astype(np.float32)


@pytest.mark.parametrize("rate_hz", [30_000.0, 24_414.0625, 12_500.0])
@pytest.mark.parametrize("offset", [0.0, 1e5])
def test_high_pass_is_spikeinterfaces_to_the_last_bit(rate_hz: float, offset: float) -> None:
    traces = _noise(rate_hz, 19) + np.float32(offset)
    traces[3000:, 4] = -32768
    expected = highpass_filter(NumpyRecording([traces], rate_hz)).get_traces()

    filtered = high_pass(traces, rate_hz, 300.0, 0, len(traces))

    np.testing.assert_array_equal(filtered, expected)
    assert filtered.strides == expected.strides


def test_high_pass_refuses_what_is_too_short() -> None:
    with pytest.raises(ValueError, match="18 samples"):
        high_pass(np.zeros((18, 2), dtype=np.float32), 30_000.0, 300.0, 0, 18)


def _planted(name: str, rate_hz: float) -> NDArray[np.float32]:
    traces = _noise(rate_hz, 21)
    match name:
        case "dead":
            traces[:, 3] *= np.float32(0.01)
        case "noisy and loud":
            traces[:, 7] *= 10
            traces[:, 8] = _noise(rate_hz, 1, power=1.0)[:, 0]
        case "outside":
            traces[:, 16:] = np.random.default_rng(1).normal(0, 3, (len(traces), 5))
        case "all at the threshold":
            traces = _noise(rate_hz, 21, power=THRESHOLD)
        case "silent":
            traces[:] = 0
        case "NaN":
            traces[100, 3] = np.nan
        case "short":
            traces = traces[:200]
    return traces


@pytest.mark.parametrize("rate_hz", [30_000.0, 24_414.0625, 12_500.0])
@pytest.mark.parametrize(
    "name", ["good", "dead", "noisy and loud", "outside", "all at the threshold", "silent", "NaN", "short"]
)
@pytest.mark.filterwarnings("ignore")
def test_a_chunk_gets_spikeinterfaces_labels(name: str, rate_hz: float) -> None:
    traces = _planted(name, rate_hz)

    for order in (np.arange(21), np.arange(21)[::-1]):
        expected = detect_bad_channels_ibl(traces[:, order], rate_hz, THRESHOLD)
        np.testing.assert_array_equal(chunk_labels(traces[:, order], rate_hz), expected)


def _of_channels(number: int) -> CoherenceLabels:
    recording = NumpyRecording([np.zeros((10, number), dtype=np.float32)], 30_000)
    recording.set_dummy_probe_from_locations(np.arange(number)[:, None] * [0.0, 20.0])
    return CoherenceLabels(recording)


def test_good_channels_are_certain_after_half_of_the_chunks() -> None:
    labels = _of_channels(11)

    for count in range(NUM_CHUNKS // 2):
        assert not labels.decided, count
        labels.add(np.zeros(11, dtype=np.int64))

    assert labels.decided


@pytest.mark.parametrize("seed", range(2))
def test_chunks_that_are_left_out_would_change_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # From channels that always get one label to those that get any.
    shares = rng.dirichlet(np.full(4, 0.3), size=100)
    of_chunks = np.array([rng.choice(4, NUM_CHUNKS, p=share) for share in shares])
    final = np.asarray(mode(of_chunks, axis=1).mode)

    for channel, of_channel in enumerate(of_chunks):
        labels = _of_channels(1)
        for label in of_channel:
            labels.add(np.array([label]))
            if labels.decided:
                break
        (found,) = labels.labels()
        assert found == final[channel] or {found, final[channel]} == {GOOD, OUTSIDE}


def test_spikeinterface_finds_the_same_channels(ground_truth: tuple[BaseRecording, BaseSorting]) -> None:
    recording, _ = ground_truth
    traces = recording.get_traces(return_in_uV=True).copy()
    traces[:, 2] *= 0.01
    traces[::2, 7] += 100
    # Noisy in half of the recording: other chunks say otherwise.
    traces[len(traces) // 2 :, 12] += np.random.default_rng(0).normal(0, 50, len(traces) - len(traces) // 2)
    microvolts = recording_of(traces.astype(np.float32), recording, gain_to_uv=1.0)
    _, expected = detect_bad_channels(microvolts, seed=3, job_kwargs={"n_jobs": 1, "progress_bar": False})

    found = bad_channels.detect_bad_channels(microvolts, seed=3)

    assert found == {str(at): label for at, label in enumerate(expected) if label in ("dead", "noise")}
    assert set(found.values()) == {"dead", "noise"}
