"""The samples of some rows of an HDF5 data set, of which each row is a channel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from spikeinterface.core import BaseRecordingSegment  # noqa: TID253


class Hdf5RowsSegment(BaseRecordingSegment):  # type: ignore[misc]
    """A segment whose channels are rows of a data set, in any order.

    Parameters
    ----------
    file_path : Path
    samples_path : str
        Of the data set in the file, shape (rows, samples).
    rate_hz : float
    rows : np.ndarray
        The row of each channel, shape (channels,).
    """

    def __init__(self, file_path: Path, samples_path: str, rate_hz: float, rows: np.ndarray) -> None:
        BaseRecordingSegment.__init__(self, sampling_frequency=rate_hz, t_start=None)
        self._file = h5py.File(file_path, "r")
        self._samples = self._file[samples_path]
        self._rows = rows

    def get_num_samples(self) -> int:
        """Number of samples of each channel."""
        return int(self._samples.shape[1])

    def get_traces(self, start_frame: int, end_frame: int, channel_indices: Any = None) -> np.ndarray:
        """Samples as the file holds them, shape (samples, channels)."""
        rows = self._rows if channel_indices is None else self._rows[channel_indices]
        if rows.size == 0:
            return np.empty((end_frame - start_frame, 0), self._samples.dtype)
        # One block that holds all rows, and the rows out of it: HDF5 is slow at reading scattered ones.
        first, last = int(rows.min()), int(rows.max())
        block: np.ndarray = self._samples[first : last + 1, start_frame:end_frame]
        wanted = rows - first
        return (block if np.array_equal(wanted, np.arange(len(block))) else block[wanted]).T
