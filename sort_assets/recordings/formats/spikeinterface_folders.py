"""The two folders in which SpikeInterface itself stores recordings: flat binary and zarr.

`spikeinterface.load` is never used on them: it follows what the folder names and may unpickle.
"""

from __future__ import annotations

import json
from collections.abc import Set
from pathlib import Path
from typing import TYPE_CHECKING

from sort_assets.config import RecordingConfig
from sort_assets.errors import UnreadableRecordingError
from sort_assets.recordings.clock import annotate_clocks, clock_from_start
from sort_assets.recordings.clock_doubts import annotate_clock_doubts, length_doubt
from sort_assets.recordings.completeness import Missing
from sort_assets.recordings.formats.reading import (
    NOTHING_RECORDED,
    choose_stream,
    clock_readable,
    read_first_and_last_sample,
    readable,
)
from sort_assets.recordings.pickle_guard import refuse_pickles
from sort_assets.recordings.timestamps import clock_from_timestamps

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

STREAM = "traces"


def may_be_binary_folder(name: str, entries: Set[str]) -> bool:  # noqa: ARG001
    """Whether a folder with these entries looks like SpikeInterface's folder with a flat binary file."""
    return "binary.json" in entries


def may_be_zarr_folder(name: str, entries: Set[str]) -> bool:  # noqa: ARG001
    """Whether a folder with these entries looks like SpikeInterface's zarr folder of a recording."""
    return {".zgroup", "traces_seg0"} <= entries


def is_binary_folder(path: Path) -> bool:
    """Whether a path is SpikeInterface's folder with a flat binary file."""
    return path.is_dir() and (path / "binary.json").is_file()


def is_zarr_folder(path: Path) -> bool:
    """Whether a path is SpikeInterface's zarr folder of a recording."""
    return path.is_dir() and (path / ".zgroup").is_file() and (path / "traces_seg0").is_dir()


def open_binary_folder(path: Path, stream: str | None, config: RecordingConfig) -> BaseRecording:
    """Open SpikeInterface's binary folder.

    Raises
    ------
    UnreadableRecordingError
        When the folder holds a pickle, names files outside itself, or a file ends in the middle of a sample.
    """
    from spikeinterface.core import BinaryFolderRecording

    choose_stream(path, stream, (STREAM,))
    refuse_pickles(path)
    missing = Missing(config.accept_incomplete)
    _check_binary_files(path, missing)
    with readable(path):
        try:
            recording = BinaryFolderRecording(path)
        # Whatever the probe in the folder is like, it is not asked for.
        except Exception:
            if config.probe_file is None:
                raise
            recording = _without_its_probe(path)
    read_first_and_last_sample(recording, path)
    follow_times(recording, path)
    missing.annotate(recording)
    return recording


def open_zarr_folder(path: Path, stream: str | None, config: RecordingConfig) -> BaseRecording:
    """Open SpikeInterface's zarr folder.

    Raises
    ------
    UnreadableRecordingError
        When the folder holds a pickle codec, or chunks of the samples are missing.
    """
    from spikeinterface.core.zarrextractors import ZarrRecordingExtractor

    choose_stream(path, stream, (STREAM,))
    refuse_pickles(path)
    missing = Missing(config.accept_incomplete)
    with readable(path):
        recording = ZarrRecordingExtractor(path)
        # zarr silently reads a missing chunk as zeros.
        for segment_index in range(recording.get_num_segments()):
            traces = recording._root[f"traces_seg{segment_index}"]
            lacking = traces.nchunks - traces.nchunks_initialized
            if lacking:
                missing.note(
                    f"'{path}' lacks {lacking} of {traces.nchunks} chunks of samples, which are read as zeros."
                )
    read_first_and_last_sample(recording, path)
    follow_times(recording, path)
    missing.annotate(recording)
    return recording


def _without_its_probe(path: Path) -> BaseRecording:
    """What `BinaryFolderRecording` (of SpikeInterface 0.105.3) reads of a folder, but for the probe."""
    import numpy as np
    from spikeinterface.core import BinaryRecordingExtractor
    from spikeinterface.core.core_tools import (
        load_annotations_from_folder,
        load_properties_from_folder,
        make_paths_absolute,
    )

    described = make_paths_absolute(json.loads((path / "binary.json").read_text(encoding="utf-8")), path)
    recording = BinaryRecordingExtractor(**described["kwargs"])
    load_properties_from_folder(path / "properties", recording)
    load_annotations_from_folder(path, recording)
    for index in range(recording.get_num_segments()):
        times = path / f"times_cached_seg{index}.npy"
        if times.is_file():
            recording.set_times(np.load(times, mmap_mode="r", allow_pickle=False), index, with_warning=False)
    return recording


def follow_times(recording: BaseRecording, path: Path) -> None:
    """Annotate the clock of the times that were saved with the samples, if there are any."""
    if not recording.has_any_time_vector():
        return
    rate_hz = float(recording.sampling_frequency)
    clocks = []
    for index, segment in enumerate(recording.segments):
        num_samples, times = int(segment.get_num_samples()), segment.get_times_kwargs()["time_vector"]
        if times is None:
            clocks.append(clock_from_start(num_samples, rate_hz, float(recording.get_start_time(index))))
            continue
        annotate_clock_doubts(recording, length_doubt("timestamps", len(times), num_samples, path))
        with clock_readable(path):
            clocks.append(clock_from_timestamps(times, rate_hz).cut(0, num_samples).extended(num_samples))
    annotate_clocks(recording, clocks)


def _check_binary_files(path: Path, missing: Missing) -> None:
    with readable(path):
        description = json.loads((path / "binary.json").read_text(encoding="utf-8"))["kwargs"]
        num_channels = description.get("num_channels") or description["num_chan"]
        bytes_per_sample = _itemsize(description["dtype"]) * int(num_channels)
        for name in description["file_paths"]:
            file = path / name
            if not file.resolve().is_relative_to(path.resolve()):
                raise UnreadableRecordingError(
                    f"'{path}' names a file outside itself: '{name}'.",
                    remedy="Save the recording again with SpikeInterface, so that the folder holds its samples.",
                )
            num_bytes = file.stat().st_size - int(description.get("file_offset", 0))
            if num_bytes <= 0:
                raise UnreadableRecordingError(f"'{file}' holds no samples.", remedy=NOTHING_RECORDED)
            if num_bytes % bytes_per_sample:
                missing.note(
                    f"'{file}' is truncated: its {num_bytes} bytes are not a whole number of samples of "
                    f"{num_channels} channels."
                )


def _itemsize(dtype: str) -> int:
    import numpy as np

    return np.dtype(dtype).itemsize
