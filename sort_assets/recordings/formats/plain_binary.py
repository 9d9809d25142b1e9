"""Plain binary files: samples and nothing else. The recording's configuration describes them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sort_assets.config import RecordingConfig
from sort_assets.errors import ConfigError, UnreadableRecordingError
from sort_assets.recordings.completeness import Missing
from sort_assets.recordings.formats.reading import NOTHING_RECORDED, choose_stream, read_first_and_last_sample, readable
from sort_assets.recordings.inspection import check_flat_files

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

BINARY_SUFFIXES = (".dat", ".bin", ".raw")
"""Suffixes of files that may be plain binary if they are described; a file that is named explicitly may have any."""
STREAM = "traces"


def may_be_plain_binary(name: str) -> bool:
    """Whether a file of this name may be a plain binary, where something describes it. Touches no disk."""
    return name.lower().endswith(BINARY_SUFFIXES)


def plain_binary_streams(path: Path) -> tuple[str, ...]:  # noqa: ARG001
    """The only stream."""
    return (STREAM,)


def open_plain_binary(path: Path, stream: str | None, config: RecordingConfig) -> BaseRecording:
    """Open a plain binary file, memory-mapped.

    Parameters
    ----------
    path : Path
        The file.
    stream : str or None
        None or "traces".
    config : RecordingConfig
        Its `binary` describes the file; `gain_to_uv` and `offset_to_uv` (default 0) make microvolts of it.

    Raises
    ------
    ConfigError
        When nothing describes the file, or says how many microvolts a count is.
    UnreadableRecordingError
        When the file is empty, or does not hold a whole number of samples of all channels.
    """
    import numpy as np
    from spikeinterface.core import BinaryRecordingExtractor

    choose_stream(path, stream, (STREAM,))
    binary = config.binary
    if binary is None:
        raise ConfigError(
            f"'{path}' is a plain binary file, and nothing says what it holds.",
            remedy="Describe it in recording.binary: sampling_hz, channels and dtype.",
        )
    if config.gain_to_uv is None:
        raise ConfigError(
            f"'{path}' is a plain binary file, and nothing says how many microvolts one of its counts is.",
            remedy="Set recording.gain_to_uv (Intan: 0.195), to 1 if the samples already are microvolts.",
        )
    num_bytes = path.stat().st_size - binary.header_bytes
    if num_bytes <= 0:
        header = f" after its header of {binary.header_bytes} bytes" if binary.header_bytes else ""
        raise UnreadableRecordingError(
            f"'{path}' holds no samples{header}: it has {path.stat().st_size} bytes.",
            remedy=f"{'Check recording.binary.header_bytes. ' if header else ''}{NOTHING_RECORDED}",
        )
    with readable(path):
        recording = BinaryRecordingExtractor(
            file_paths=[path],
            sampling_frequency=binary.sampling_hz,
            num_channels=binary.channels,
            dtype=np.dtype(binary.dtype).newbyteorder("<" if binary.byte_order == "little" else ">").str,
            file_offset=binary.header_bytes,
            channel_ids=list(binary.channel_names) or None,
            gain_to_uV=config.gain_to_uv,
            offset_to_uV=config.offset_to_uv or 0.0,
        )
    missing = Missing(config.accept_incomplete)
    check_flat_files(recording, missing)
    read_first_and_last_sample(recording, path)
    missing.annotate(recording)
    return recording
