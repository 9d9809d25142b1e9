"""Samples that mtscomp compressed, as the International Brain Laboratory keeps its Neuropixels recordings.

A `.cbin` holds chunks of about a second, and the `.ch` beside it is JSON that says where each begins. Nothing in them
is a pickle: https://github.com/int-brain-lab/mtscomp.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from spikeinterface.core import BaseRecording, BaseRecordingSegment  # noqa: TID253

from sort_assets.errors import MissingPluginError, UnreadableRecordingError
from sort_assets.recordings.completeness import Missing
from sort_assets.recordings.formats.reading import NOT_UNDERSTOOD, readable

_CHUNKS_IN_MEMORY = 3
"""Of a second each: 23 MB for a Neuropixels probe."""


class MtscompRecording(BaseRecording):  # type: ignore[misc]
    """Compressed files of one probe, a segment for each.

    At the module's top level, where SpikeInterface finds it when it loads a recording in another process.

    Parameters
    ----------
    file_paths, header_paths : sequence of str or Path
        The `.cbin` files, and the `.ch` of each.
    num_samples : sequence of int
        How many samples of each file are read.
    sampling_frequency : float
    channel_ids : sequence of str
    t_starts : sequence of float
        Time of the first sample of each file, in seconds.
    """

    def __init__(
        self,
        file_paths: Sequence[str | Path],
        header_paths: Sequence[str | Path],
        num_samples: Sequence[int],
        sampling_frequency: float,
        channel_ids: Sequence[str],
        t_starts: Sequence[float],
    ) -> None:
        headers = [_read_header(Path(path)) for path in header_paths]
        BaseRecording.__init__(self, sampling_frequency, list(channel_ids), np.dtype(headers[0]["dtype"]))
        for path, header, count, start in zip(file_paths, headers, num_samples, t_starts, strict=True):
            self.add_recording_segment(_MtscompSegment(path, header, count, sampling_frequency, start))
        self.extra_requirements.append("mtscomp")
        self._kwargs = {
            "file_paths": [str(Path(path).absolute()) for path in file_paths],
            "header_paths": [str(Path(path).absolute()) for path in header_paths],
            "num_samples": list(num_samples),
            "sampling_frequency": sampling_frequency,
            "channel_ids": list(channel_ids),
            "t_starts": list(t_starts),
        }


class _MtscompSegment(BaseRecordingSegment):  # type: ignore[misc]
    def __init__(
        self, path: str | Path, header: dict[str, Any], num_samples: int, rate_hz: float, start_s: float
    ) -> None:
        import mtscomp

        BaseRecordingSegment.__init__(self, sampling_frequency=rate_hz, t_start=start_s)
        self._reader = mtscomp.Reader(cache_size=_CHUNKS_IN_MEMORY)
        # mtscomp (up to 1.0.2) also reads the chunk after one whose end is asked for, which need not be whole.
        num_chunks = header["chunk_bounds"].index(num_samples)
        chunks = {name: header[name][: num_chunks + 1] for name in ("chunk_bounds", "chunk_offsets")}
        self._reader.open(str(path), {**header, **chunks})
        self._num_samples = num_samples

    def get_num_samples(self) -> int:
        return self._num_samples

    def get_traces(self, start_frame: int, end_frame: int, channel_indices: Any = None) -> np.ndarray:
        traces: np.ndarray = self._reader[start_frame:end_frame]
        return traces if channel_indices is None else traces[:, channel_indices]


def count_compressed_samples(path: Path, header_path: Path, num_channels: int, missing: Missing) -> int:
    """Whole samples in a compressed file, by its header and its size.

    Parameters
    ----------
    path, header_path : Path
        The `.cbin` and its `.ch`.
    num_channels : int
        As the recording's description has it.
    missing : Missing
        Notes a file that is shorter than its header says; it is then read up to its last whole chunk.

    Raises
    ------
    MissingPluginError
        When mtscomp is not installed.
    UnreadableRecordingError
        When the header is damaged or belongs to another recording.
    """
    if find_spec("mtscomp") is None:
        raise MissingPluginError(
            f"'{path}' is compressed by mtscomp, and that is not installed.",
            remedy="Install it where sort_assets runs (pip install mtscomp), and restart it.",
        )
    header = _read_header(header_path)
    if header["n_channels"] != num_channels or np.dtype(header["dtype"]) != np.int16:
        raise UnreadableRecordingError(
            f"'{header_path}' describes {header['n_channels']} channels of {header['dtype']}, and the .meta "
            f"{num_channels} of int16.",
            remedy="Put back the .ch and the .meta that belong to this .cbin.",
        )
    bounds, offsets = header["chunk_bounds"], header["chunk_offsets"]
    num_bytes = path.stat().st_size
    if num_bytes != offsets[-1]:
        missing.note(f"'{path}' has {num_bytes} bytes, and its .ch says {offsets[-1]}.")
    whole = sum(offset <= num_bytes for offset in offsets) - 1
    return int(bounds[max(whole, 0)])


def _read_header(path: Path) -> dict[str, Any]:
    with readable(path):
        header: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        bounds, offsets = header["chunk_bounds"], header["chunk_offsets"]
        is_whole = (
            header["algorithm"] == "zlib"
            and len(bounds) == len(offsets) > 1
            and {"n_channels", "sample_rate", "dtype", "chunk_order", "do_time_diff", "do_spatial_diff"}
            <= header.keys()
        )
        if not is_whole or any(np.any(np.diff(numbers) <= 0) or numbers[0] != 0 for numbers in (bounds, offsets)):
            raise UnreadableRecordingError(
                f"'{path}' is no whole header of mtscomp: chunks or fields are missing.", remedy=NOT_UNDERSTOOD
            )
    return header
