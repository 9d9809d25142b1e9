"""Writers of recordings into files as the formats lay them out, for tests, examples and benchmarks.

Each writes a chunk at a time, so that recordings longer than memory can be made.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import h5py
    from spikeinterface.core import BaseRecording

MAXWELL_GAIN_TO_UV = 3.3 / (1024 * 512) * 1e6
"""Microvolts per count of a Maxwell chip at amplification 512: 3.3 V over 10 bits."""

_CHUNK_SAMPLES = 30000


def write_maxwell(
    recording: BaseRecording | Mapping[str, BaseRecording],
    path: Path,
    *,
    gain_to_uv: float = MAXWELL_GAIN_TO_UV,
    legacy: bool = False,
    frame_numbers: Sequence[int] | None = None,
) -> Path:
    """Write a file as Maxwell's MaxLab Live does: unsigned 10-bit counts around 512, and the map of electrodes.

    Parameters
    ----------
    recording : BaseRecording or mapping of str to BaseRecording
        With gains; "well000" or, by name, wells such as "well003" or "well003/rec0001".
    path : Path
        The file to write.
    gain_to_uv : float
        Microvolts per count.
    legacy : bool
        The layout of the first MaxOne (2016): one recording, without wells, always at 20 kHz.
    frame_numbers : sequence of int or None
        Number of each sample since the chip was started; None leaves them out.

    Returns
    -------
    Path
        `path`.
    """
    import h5py

    wells = recording if isinstance(recording, Mapping) else {"well000": recording}
    with h5py.File(path, "w") as file:
        file["version"] = np.array([b"20160704" if legacy else b"20190530"])
        if legacy:
            (well,) = wells.values()
            _write_maxwell_settings(file, well, gain_to_uv, with_rate=False)
            _write_maxwell_counts(file, "sig", well, gain_to_uv)
        else:
            for name, well in wells.items():
                well_name, _, rec_name = name.partition("/")
                group = file.create_group(f"wells/{well_name}/{rec_name or 'rec0000'}")
                _write_maxwell_settings(group, well, gain_to_uv, with_rate=True)
                _write_maxwell_counts(group, "groups/routed/raw", well, gain_to_uv)
                group["groups/routed/channels"] = np.arange(well.get_num_channels(), dtype="u2")
                if frame_numbers is not None:
                    group["groups/routed/frame_nos"] = np.asarray(frame_numbers, dtype="u8")
    return path


def write_spikeinterface_binary(recording: BaseRecording, folder: Path) -> Path:
    """Write SpikeInterface's folder with a flat binary file.

    Parameters
    ----------
    recording : BaseRecording
        Any recording.
    folder : Path
        The folder to make.

    Returns
    -------
    Path
        `folder`.
    """
    with warnings.catch_warnings():
        # A recording in memory has no provenance that a file could tell.
        warnings.filterwarnings("ignore", message="The extractor is not serializable to file")
        recording.save(format="binary", folder=folder, n_jobs=1, progress_bar=False, verbose=False)
    # Written when the provenance does not fit into JSON; nothing needs it, and we refuse folders with pickles.
    (folder / "provenance.pkl").unlink(missing_ok=True)
    return folder


def write_spikeinterface_zarr(recording: BaseRecording, folder: Path) -> Path:
    """Write SpikeInterface's zarr folder.

    Parameters
    ----------
    recording : BaseRecording
        Any recording.
    folder : Path
        The folder to make, with the suffix `.zarr`.

    Returns
    -------
    Path
        `folder`.
    """
    recording.save(format="zarr", folder=folder, n_jobs=1, progress_bar=False, verbose=False)
    return folder


def _chunks(recording: BaseRecording) -> Iterator[tuple[int, int]]:
    num_samples = recording.get_num_samples()
    for start in range(0, num_samples, _CHUNK_SAMPLES):
        yield start, min(start + _CHUNK_SAMPLES, num_samples)


def _write_maxwell_settings(group: h5py.Group, recording: BaseRecording, gain_to_uv: float, *, with_rate: bool) -> None:
    num_channels = recording.get_num_channels()
    mapping = np.zeros(num_channels, dtype=[("channel", "i4"), ("electrode", "i4"), ("x", "f8"), ("y", "f8")])
    mapping["channel"] = np.arange(num_channels)
    # The chip has 26400 electrodes, of which the recording uses a choice.
    mapping["electrode"] = 1000 + 7 * np.arange(num_channels)
    mapping["x"], mapping["y"] = recording.get_channel_locations()[:, :2].T
    group["settings/lsb"] = np.array([gain_to_uv * 1e-6])
    group["settings/gain"] = np.array([512.0])
    if with_rate:
        group["settings/sampling"] = np.array([float(recording.sampling_frequency)])
        group["settings/mapping"] = mapping
    else:
        group["mapping"] = mapping


def _write_maxwell_counts(group: h5py.Group, name: str, recording: BaseRecording, gain_to_uv: float) -> None:
    shape = (recording.get_num_channels(), recording.get_num_samples())
    counts = group.create_dataset(name, shape=shape, dtype="uint16", chunks=(shape[0], min(shape[1], 2000)))
    for start, stop in _chunks(recording):
        microvolts = recording.get_traces(start_frame=start, end_frame=stop, return_in_uV=True)
        counts[:, start:stop] = np.clip(np.rint(microvolts.T / gain_to_uv) + 512, 0, 1023).astype("uint16")
