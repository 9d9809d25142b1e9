"""The band-pass in float32: SpikeInterface's result, whatever is asked for, and in whatever pieces."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import spikeinterface.core as si
from spikeinterface.preprocessing import bandpass_filter, common_reference, phase_shift, scale

from sort_assets.recordings.band_pass import BandPassRecording
from sort_assets.recordings.band_pass_design import BLOCK_SAMPLES, design_band_pass, is_supported, margin_samples
from sort_assets.recordings.block_passes import round_to_counts, subtract_median
from sort_assets.recordings.dat_chunks import INT16_MAX
from sort_assets.recordings.dat_file import read_dat, read_description, write_dat

RATE_HZ = 30_000.0
HALF_A_COUNT_UV = 0.0076
"""Of the finest `.dat` that there is: a full scale of 500 microvolts."""


def _recording(traces: np.ndarray, rate_hz: float = RATE_HZ) -> si.BaseRecording:
    return si.NumpyRecording([traces], rate_hz)


def _noise(samples: int, channels: int = 4, dtype: str = "int16", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 60, (samples, channels)).astype(dtype)


def _like_a_brain(samples: int, channels: int = 18) -> np.ndarray:
    """Counts of 0.195 microvolts: noise, slow potentials of a millivolt, spikes and an offset of the amplifier."""
    rng = np.random.default_rng(1)
    time_s = np.arange(samples)[:, None] / RATE_HZ
    counts = rng.normal(0, 50, (samples, channels)) + 5000 * np.sin(2 * np.pi * rng.uniform(1, 12, channels) * time_s)
    counts[rng.integers(0, samples, 50)] -= 1500
    return (counts + rng.normal(0, 2000, channels)).astype("int16")


def _expected(recording: si.BaseRecording) -> np.ndarray:
    """What SpikeInterface makes of the same pieces, in float64 up to the last step."""
    samples, filtered = recording.get_num_samples(), bandpass_filter(recording, dtype="float32")
    starts = range(0, samples, BLOCK_SAMPLES)
    return np.concatenate(
        [filtered.get_traces(start_frame=start, end_frame=min(start + BLOCK_SAMPLES, samples)) for start in starts]
    )


@pytest.mark.parametrize(
    "traces",
    [
        _like_a_brain(30_000),
        _noise(20_000, 1),
        _noise(2 * BLOCK_SAMPLES, 16),
        _noise(BLOCK_SAMPLES + 1, 17),
        _noise(34, 3),
        np.where(_noise(12_000) > 0, 32_767, -32_768).astype("int16"),
        np.full((9000, 2), 32_767, dtype="int16"),
        np.zeros((9000, 2), dtype="int16"),
        _noise(9000, 5).astype("int32") * 1000,
        _noise(9000, 5, "float64"),
        (_noise(9000, 5).astype("int32") + 32_768).astype("uint16"),
        _noise(9000, 5, "float32")[:, ::-1],
        np.asfortranarray(_noise(9000, 20)),
    ],
    ids=[
        "like a brain", "one channel", "whole blocks", "one sample beyond a block", "as short as can be",
        "int16 limits", "constant", "silent", "int32", "float64", "uint16", "channels reversed", "by channel",
    ],
)  # fmt: skip
def test_it_is_spikeinterfaces_band_pass(traces: np.ndarray) -> None:
    recording = _recording(traces)

    filtered = BandPassRecording(recording).get_traces()

    # SpikeInterface (0.105.3) lets int16 overflow where it continues the ends.
    expected = _expected(_recording(traces.astype("float64")))
    # Seven decimal places of what went in: 0.0002 for a signal of millivolts.
    largest = np.abs(traces.astype("float64") - traces[0]).max()
    np.testing.assert_allclose(filtered, expected, rtol=0, atol=4e-7 * largest + 1e-9)


def test_other_pieces_of_spikeinterface_differ_by_less_than_half_a_count() -> None:
    scaled = scale(_recording(_like_a_brain(60_000)), gain=0.195, dtype="float32")

    difference_uv = BandPassRecording(scaled).get_traces() - bandpass_filter(scaled).get_traces()

    assert np.abs(difference_uv).max() < HALF_A_COUNT_UV


def test_1500_channels() -> None:
    recording = _recording(_noise(1000, 1500))

    np.testing.assert_allclose(BandPassRecording(recording).get_traces(), _expected(recording), atol=1e-4)


@pytest.mark.parametrize("rate_hz", [10_000.0, 20_000.0, 32_000.0, 50_000.0])
@pytest.mark.parametrize("band", [(100.0, 3000.0), (300.0, 4900.0), (600.0, 900.0), (1000.0, 1100.0)])
def test_other_bands_and_rates(rate_hz: float, band: tuple[float, float]) -> None:
    recording = _recording(_noise(6000, 2), rate_hz)

    expected = bandpass_filter(recording, *band, dtype="float32").get_traces()
    np.testing.assert_allclose(BandPassRecording(recording, *band).get_traces(), expected, atol=1e-3)


@pytest.mark.parametrize(
    ("rate_hz", "band"), [(30_000.0, (1.0, 6000.0)), (30_000.0, (5000.0, 6000.0)), (10_000.0, (300.0, 5000.0))]
)
def test_bands_beyond_float32_are_refused(rate_hz: float, band: tuple[float, float]) -> None:
    assert not is_supported(rate_hz, *band)
    with pytest.raises(ValueError, match="use SpikeInterface's bandpass_filter"):
        BandPassRecording(_recording(_noise(6000, 2), rate_hz), *band)


def test_the_margin_is_spikeinterfaces() -> None:
    recording = _recording(_noise(1000))

    for freq_min in (100.0, 300.0, 321.0, 500.0):
        assert bandpass_filter(recording, freq_min).margin_samples == margin_samples(RATE_HZ, freq_min)


def test_a_band_so_wide_that_poles_are_real_is_designed_like_a_narrow_one() -> None:
    assert len(design_band_pass(RATE_HZ, 300, 6000).sections) == len(design_band_pass(RATE_HZ, 600, 900).sections) == 10


@pytest.mark.parametrize("chunk", [1, 33, 777, 5000, BLOCK_SAMPLES - 1, BLOCK_SAMPLES, BLOCK_SAMPLES + 1, 30_000])
def test_what_is_read_does_not_depend_on_the_chunk(chunk: int) -> None:
    filtered = BandPassRecording(_recording(_like_a_brain(20_000)))
    whole = filtered.get_traces()

    # With tiny chunks not everywhere: at the recording's ends, and where blocks meet.
    starts = range(0, 20_000, chunk) if chunk > 500 else (0, BLOCK_SAMPLES - 1, BLOCK_SAMPLES, 20_000 - chunk)
    for start in starts:
        end = min(start + chunk, 20_000)
        np.testing.assert_array_equal(filtered.get_traces(start_frame=start, end_frame=end), whole[start:end])


def test_a_channel_does_not_depend_on_the_others() -> None:
    recording = _recording(_noise(9000, 40))
    whole = BandPassRecording(recording).get_traces()

    for ids in (recording.channel_ids[3:4], recording.channel_ids[::3], recording.channel_ids[::-1]):
        columns = recording.ids_to_indices(ids)
        np.testing.assert_array_equal(BandPassRecording(recording).get_traces(channel_ids=ids), whole[:, columns])
        of_some = BandPassRecording(recording.select_channels(ids))
        np.testing.assert_array_equal(of_some.get_traces(), whole[:, columns])


def test_scaling_is_done_in_the_same_pass_wherever_channels_are_chosen() -> None:
    raw = _recording(_like_a_brain(9000))
    kept = raw.channel_ids[[0, 1, 2, 5, 17]]
    gains, offsets = np.linspace(0.1, 0.4, 18), np.linspace(-3000, 3000, 18)
    scaled = scale(raw, gain=gains, offset=offsets, dtype="float32").select_channels(kept)
    filtered = BandPassRecording(scaled)

    assert filtered.segments[0]._source is raw.segments[0]
    np.testing.assert_allclose(filtered.get_traces(), _expected(scaled), atol=2e-3)


def test_a_scaling_that_rounds_is_not_skipped() -> None:
    scaled = scale(_recording(_noise(9000)), gain=0.01, dtype="int16")

    np.testing.assert_allclose(BandPassRecording(scaled).get_traces(), _expected(scaled), atol=1e-5)


def test_channels_that_were_sampled_later_are_moved_in_the_same_pass() -> None:
    raw = _recording(_like_a_brain(40_000))
    shifts = np.arange(18) % 12 / 13
    scaled = scale(raw, gain=0.195, dtype="float32")
    scaled.set_property("inter_sample_shift", shifts)

    shifted = BandPassRecording(scaled, sample_shifts=shifts.tolist())

    whole = shifted.get_traces()
    expected = bandpass_filter(phase_shift(scaled)).get_traces()
    not_shifted = BandPassRecording(scaled).get_traces()
    # At the ends, SpikeInterface (0.105.3) filters the step from the signal to the zeros with which it continues it.
    inner = slice(1500, -1500)
    assert np.abs(whole - expected)[inner].max() < HALF_A_COUNT_UV
    assert np.abs(not_shifted - expected)[inner].max() > 10
    np.testing.assert_array_equal(whole[:, 0], not_shifted[:, 0])
    some = shifted.get_traces(start_frame=8000, end_frame=8400, channel_ids=shifted.channel_ids[[3, 17]])
    np.testing.assert_array_equal(some, whole[8000:8400, [3, 17]])


def test_shifts_that_are_not_interpolated_well_are_refused() -> None:
    for shifts, freq_max in (([0.0, 1.5], 6000.0), ([-0.1, 0.0], 6000.0), ([0.0, 0.5], 9000.0)):
        with pytest.raises(ValueError, match="use SpikeInterface's phase_shift"):
            BandPassRecording(_recording(_noise(100, 2)), freq_max=freq_max, sample_shifts=shifts)


def test_nan_spoils_its_channel_and_block_only() -> None:
    traces = _noise(3 * BLOCK_SAMPLES, 3, "float32")
    traces[10_000, 1] = np.nan

    is_nan = np.isnan(BandPassRecording(_recording(traces)).get_traces())

    assert is_nan[BLOCK_SAMPLES : 2 * BLOCK_SAMPLES, 1].all()
    assert is_nan.sum() == BLOCK_SAMPLES


def test_several_segments_and_their_times() -> None:
    parts = [_noise(9000), _noise(5000, seed=1)]
    filtered = BandPassRecording(si.NumpyRecording(parts, RATE_HZ, t_starts=[1.0, 7.0]))

    assert filtered.get_start_time(segment_index=1) == 7.0
    for index, part in enumerate(parts):
        expected = BandPassRecording(_recording(part)).get_traces()
        np.testing.assert_array_equal(filtered.get_traces(segment_index=index), expected)


def test_fewer_samples_than_the_filter_needs_are_refused_as_by_scipy() -> None:
    with pytest.raises(ValueError, match="33"):
        BandPassRecording(_recording(_noise(33))).get_traces()


def test_it_is_loaded_again_by_spikeinterface_from_json_and_from_a_folder(tmp_path: Path) -> None:
    _noise(9000).tofile(tmp_path / "raw.bin")
    raw = si.BinaryRecordingExtractor([tmp_path / "raw.bin"], RATE_HZ, "int16", num_channels=4)
    filtered = BandPassRecording(raw, freq_min=500.0, freq_max=5000.0, sample_shifts=[0.0, 0.25, 0.5, 0.75])
    filtered.dump_to_json(tmp_path / "recording.json")
    saved = filtered.save(folder=tmp_path / "saved", n_jobs=2, pool_engine="process", chunk_size=5000)

    np.testing.assert_array_equal(si.load(tmp_path / "recording.json").get_traces(), filtered.get_traces())
    np.testing.assert_array_equal(saved.get_traces(), filtered.get_traces())


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_a_dat_has_the_same_bytes_with_any_chunk_and_any_threads(dtype: str, tmp_path: Path) -> None:
    scaled = scale(_recording(_like_a_brain(100_000)), gain=0.195, dtype="float32")
    filtered = BandPassRecording(scaled)
    one = write_dat(filtered, tmp_path / "one.dat", dtype=dtype)

    for n_jobs, chunk_duration_s in ((1, 0.05), (3, 0.3), (2, 10.0)):
        assert one == write_dat(
            filtered, tmp_path / "other.dat", dtype=dtype, n_jobs=n_jobs, chunk_duration_s=chunk_duration_s
        )
    assert one.peak_uv == np.abs(filtered.get_traces()).max()


def test_a_dat_holds_what_rounding_spikeinterfaces_own_result_holds(tmp_path: Path) -> None:
    scaled = scale(_recording(_like_a_brain(60_000)), gain=0.195, dtype="float32")
    description = write_dat(BandPassRecording(scaled), tmp_path / "traces.dat")

    difference_uv = (
        read_dat(tmp_path / "traces.dat").get_traces(return_in_uV=True) - bandpass_filter(scaled).get_traces()
    )

    # Half a count of rounding, and what SpikeInterface's own chunks make.
    assert np.abs(difference_uv).max() < 0.5 * description.gain_to_uv + HALF_A_COUNT_UV


def test_groups_of_channels_are_written_in_the_same_way(tmp_path: Path) -> None:
    filtered = BandPassRecording(_recording(_noise(20_000, 8)))
    write_dat(filtered, tmp_path / "all.dat", gain_to_uv=0.1)
    write_dat(filtered.select_channels(filtered.channel_ids[[1, 6]]), tmp_path / "some.dat", gain_to_uv=0.1)

    some = read_dat(tmp_path / "some.dat").get_traces()
    np.testing.assert_array_equal(some, read_dat(tmp_path / "all.dat").get_traces()[:, [1, 6]])


def test_a_dat_of_a_recording_with_nan_names_channel_and_time(tmp_path: Path) -> None:
    from sort_assets.errors import NonFiniteSamplesError

    traces = _noise(30_000, 4, "float32")
    traces[BLOCK_SAMPLES + 3000, 2] = np.nan

    with pytest.raises(NonFiniteSamplesError, match=r"channel 2 at 0\.2"):
        write_dat(BandPassRecording(_recording(traces)), tmp_path / "traces.dat")


def test_an_artefact_that_sampling_missed_is_written_whole(tmp_path: Path) -> None:
    traces = _noise(300_000, 2, "float32")
    traces[123_456] = 30_000
    filtered = BandPassRecording(_recording(traces))

    description = write_dat(filtered, tmp_path / "traces.dat")

    assert description == read_description(tmp_path / "traces.dat")
    assert description.peak_uv / description.gain_to_uv <= INT16_MAX
    assert description.peak_uv == np.abs(filtered.get_traces()).max() > 5000


@pytest.mark.parametrize("shape", [(100, 3), (16, 1), (5, 1), (0, 4)])
def test_counts_are_rounded_as_numpy_does(shape: tuple[int, int]) -> None:
    values = np.random.default_rng(0).normal(0, 3000, shape).astype("float32")
    values[:2] = 0.05 * np.float32(3)  # half way between counts

    counts, peak, finite = round_to_counts(values, 0.1, INT16_MAX)

    expected = np.clip(np.rint(values / np.float32(0.1)), -INT16_MAX, INT16_MAX).astype("int16")
    np.testing.assert_array_equal(counts, expected)
    assert peak == (np.abs(values).max() if values.size else 0)
    assert finite


@pytest.mark.parametrize("channels", [16, 17, 33, 384])
def test_the_median_over_channels_is_numpys(channels: int) -> None:
    rng = np.random.default_rng(0)
    samples = [
        rng.normal(0, 10, (50, channels)),
        rng.integers(-2, 3, (50, channels)),
        rng.normal(0, 1e-30, (5, channels)),
        np.full((1, channels), 3.3),
        np.zeros((1, channels)),
        np.eye(channels)[:5],
    ]
    traces = np.concatenate(samples).astype("float32")
    expected = traces - np.median(traces, axis=1, keepdims=True)

    subtract_median(traces)

    np.testing.assert_array_equal(traces, expected)


def test_medians_are_numpys_in_many_threads_at_a_time() -> None:
    rng = np.random.default_rng(0)
    traces = [rng.normal(0, 10, (2000, channels)).astype("float32") for channels in (17, 23, 31, 39) * 10]
    expected = [one - np.median(one, axis=1, keepdims=True) for one in traces]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(subtract_median, traces))

    for one, wanted in zip(traces, expected, strict=True):
        np.testing.assert_array_equal(one, wanted)


@pytest.mark.parametrize("operator", ["median", "average"])
def test_a_dat_with_a_common_reference_holds_what_spikeinterface_makes(operator: str, tmp_path: Path) -> None:
    filtered = BandPassRecording(scale(_recording(_like_a_brain(20_000)), gain=0.195, dtype="float32"))
    referenced = common_reference(filtered, operator=operator)

    write_dat(referenced, tmp_path / "traces.dat", dtype="float32", n_jobs=2, chunk_duration_s=0.1)

    np.testing.assert_array_equal(read_dat(tmp_path / "traces.dat").get_traces(), referenced.get_traces())


@pytest.mark.parametrize("operator", ["median", "average"])
@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_a_dat_referenced_by_shank_holds_what_spikeinterface_makes(operator: str, dtype: str, tmp_path: Path) -> None:
    filtered = BandPassRecording(scale(_recording(_like_a_brain(20_000, 57)), gain=0.195, dtype="float32"))
    shanks = [[*range(0, 40, 2)], [*range(1, 40, 2)], [*range(56, 39, -1)]]
    referenced = common_reference(filtered, operator=operator, groups=shanks)

    description = write_dat(referenced, tmp_path / "traces.dat", dtype=dtype, gain_to_uv=0.1)

    written, expected = read_dat(tmp_path / "traces.dat").get_traces(), referenced.get_traces()
    counts = np.rint(expected / np.float32(0.1)).astype("int16")
    np.testing.assert_array_equal(written, expected if dtype == "float32" else counts)
    assert description.peak_uv == np.abs(expected).max()


@pytest.mark.parametrize("operator", ["median", "average"])
def test_a_reference_by_shank_depends_on_neither_chunks_nor_threads(operator: str, tmp_path: Path) -> None:
    recording = _recording(_noise(4097, 40, "float32") * np.float32(0.1))
    referenced = common_reference(recording, operator=operator, groups=[[*range(17)], [*range(17, 40)]])

    def written(chunk_samples: int, n_jobs: int) -> str:
        chunk_s = (chunk_samples + 0.5) / RATE_HZ
        path = tmp_path / "traces.dat"
        return write_dat(referenced, path, dtype="float32", n_jobs=n_jobs, chunk_duration_s=chunk_s).blake2b

    # Chunks, and pieces of them, of a single sample among them.
    assert len({written(*way) for way in [(5000, 1), (4096, 1), (1025, 2), (683, 3), (64, 4), (1, 1)]}) == 1


@pytest.mark.parametrize(
    "groups",
    [[[*range(20)]], [[*range(20)], [*range(16, 36)]], [[*range(30)], [*range(30, 36)]]],
    ids=["channels of no group", "channels of two groups", "a group of few channels"],
)
def test_other_groups_are_referenced_as_spikeinterface_does(groups: list[list[int]], tmp_path: Path) -> None:
    referenced = common_reference(_recording(_noise(3000, 36, "float32")), groups=groups)

    write_dat(referenced, tmp_path / "traces.dat", dtype="float32")

    np.testing.assert_array_equal(read_dat(tmp_path / "traces.dat").get_traces(), referenced.get_traces())


COMPILES = """
from sort_assets.recordings import band_pass_kernel, block_passes
kernel = band_pass_kernel.round_block
import numpy as np
block_passes.round_to_counts(np.zeros(16, dtype="float32"), 1.0, 1)
print(sum(kernel.stats.cache_hits.values()), sum(kernel.stats.cache_misses.values()))
"""


def test_what_is_compiled_is_kept_for_the_next_process(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}

    def hits_and_misses() -> str:
        command = [sys.executable, "-c", COMPILES]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()

    assert [hits_and_misses(), hits_and_misses()] == ["0 1", "1 0"]
