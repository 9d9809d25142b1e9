"""Compressed samples are the same however they are read, and chunks that span many blocks are kept in memory."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from sort_assets.recordings.formats import chunk_cache
from sort_assets.recordings.formats.chunk_cache import with_chunk_cache
from sort_assets.recordings.opening import open_recording
from sort_assets.testing.ground_truth import make_ground_truth
from sort_assets.testing.nwb import write_nwb

SAMPLES = np.random.default_rng(0).integers(-500, 500, (60_000, 80)).astype(np.int16)


def _cache_bytes(samples: h5py.Dataset) -> int:
    return int(samples.id.get_access_plist().get_chunk_cache()[1])


@pytest.fixture
def default_bytes(tmp_path: Path) -> int:
    with h5py.File(tmp_path / "default.h5", "w") as file:
        return _cache_bytes(file.create_dataset("x", data=SAMPLES[:10], chunks=(1, 1)))


@pytest.mark.parametrize(
    ("chunks", "limit", "kept"),
    [
        ((60_000, 1), 1 << 28, 2 * SAMPLES.nbytes),
        ((60_000, 1), SAMPLES.nbytes + 1, SAMPLES.nbytes + 1),
        ((60_000, 1), SAMPLES.nbytes - 1, None),
        ((600, 80), 1 << 28, None),
        (None, 1 << 28, None),
    ],
)
def test_as_much_is_kept_as_a_moment_of_all_channels_takes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    default_bytes: int,
    chunks: tuple[int, int] | None,
    limit: int,
    kept: int | None,
) -> None:
    monkeypatch.setattr(chunk_cache, "LIMIT_BYTES", limit)
    with h5py.File(tmp_path / "samples.h5", "w") as file:
        file.create_dataset("group/samples", data=SAMPLES, chunks=chunks, compression=chunks and "gzip")

    with h5py.File(tmp_path / "samples.h5") as file:
        samples = with_chunk_cache(file["group/samples"])

        assert _cache_bytes(samples) == (kept or default_bytes)
        blocks = [samples[start : start + 7_000] for start in range(0, len(SAMPLES), 7_000)]
        np.testing.assert_array_equal(np.concatenate(blocks), SAMPLES)


def test_an_nwb_recording_has_it(tmp_path: Path) -> None:
    recording, _ = make_ground_truth(duration_s=2.0, num_channels=80, num_units=2)
    path = write_nwb(recording, tmp_path / "day.nwb")
    with h5py.File(path, "a") as file:
        series = file["acquisition/ElectricalSeries"]
        samples, attributes = series["data"][:], dict(series["data"].attrs)
        del series["data"]
        written = series.create_dataset("data", data=samples, chunks=(len(samples), 1), compression="gzip")
        written.attrs.update(attributes)

    opened = open_recording(path)

    np.testing.assert_array_equal(opened.get_traces(start_frame=100, end_frame=9_000), samples[100:9_000])
    (segment,) = opened._recording_segments
    assert _cache_bytes(segment.electrical_series_data) == 2 * samples.nbytes
