"""Writes recordings as plain binary files, as many home-made acquisition programs do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

_CHUNK_SAMPLES = 30000


def write_binary(
    recording: BaseRecording,
    path: Path,
    *,
    dtype: str = "<i2",
    gain_to_uv: float = 0.195,
    offset_to_uv: float = 0.0,
    header: bytes = b"",
) -> Path:
    """Write all channels of a sample after the other, and nothing about them.

    Parameters
    ----------
    recording : BaseRecording
        With gains.
    path : Path
        The file to write.
    dtype : str
        numpy's name of the sample type, ``>i2`` for one with the highest byte first.
    gain_to_uv, offset_to_uv : float
        Microvolts per count, and at count zero.
    header : bytes
        What stands before the samples.

    Returns
    -------
    Path
        `path`.
    """
    sample_type = np.dtype(dtype)
    num_samples = recording.get_num_samples()
    with path.open("wb") as file:
        file.write(header)
        for start in range(0, num_samples, _CHUNK_SAMPLES):
            stop = min(start + _CHUNK_SAMPLES, num_samples)
            microvolts = recording.get_traces(start_frame=start, end_frame=stop, return_in_uV=True)
            counts = (microvolts - offset_to_uv) / gain_to_uv
            if sample_type.kind in "iu":
                limits = np.iinfo(sample_type)
                counts = np.clip(np.rint(counts), limits.min, limits.max)
            counts.astype(sample_type).tofile(file)
    return path
