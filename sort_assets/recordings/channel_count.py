"""Whether a plain binary file has as many channels as its description says, as far as its values tell.

Samples of a channel that follow each other are alike: fields and hum are slow, and amplifiers have offsets. So the
values of a file are most alike at a distance of one sample of all channels, and at its multiples, more than one value
nearer or farther. Where they are so at another distance, and not at the stated one, the description is wrong. In noise
without anything slow nothing is alike, and nothing is said; nor where the stated number is a multiple of the true one,
or less than half of it and divides it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sort_assets.checks.result import CheckResult, warning
from sort_assets.recordings.formats.table import folder_members

if TYPE_CHECKING:
    from sort_assets.config import RecordingConfig

_VALUES = 400_000
_MOST_CHANNELS = 2048
_ALIKE = 0.5
"""Difference at a distance, relative to those at one value nearer and farther, below which it is that of one sample."""
_NOT_ALIKE = 0.9


def inspect_channel_count(path: Path, config: RecordingConfig) -> list[CheckResult]:
    """A warning where a plain binary file seems to have another number of channels than is stated.

    Parameters
    ----------
    path : Path
        The raw recording; of a folder of files the first is read.
    config : RecordingConfig
        Its `binary` describes the file; of other formats nothing is asked.
    """
    binary = config.binary
    if binary is None or binary.channels < 2:
        return []
    file = folder_members(path, config)[0][0] if path.is_dir() else path
    dtype = np.dtype(binary.dtype).newbyteorder("<" if binary.byte_order == "little" else ">")
    count = (file.stat().st_size - binary.header_bytes) // dtype.itemsize
    start = max(0, count - _VALUES) // 2
    offset = binary.header_bytes + start * dtype.itemsize
    values = np.fromfile(file, dtype, min(count, _VALUES), offset=offset).astype(float)
    found = likely_channels(values, binary.channels)
    if found is None:
        return []
    return [
        warning(
            "number of channels",
            f"recording.binary.channels is {binary.channels}, and the values of '{file.name}' are alike every {found} "
            "values, as those of one channel are",
            "Look at the figure of the traces. If channels are jumbled in it, set recording.binary.channels to what "
            f"the recording software says: {found}, or a number that is related to it.",
        )
    ]


def likely_channels(values: np.ndarray, stated: int) -> int | None:
    """The number of channels that values speak for, where it is clearly not the stated one.

    Parameters
    ----------
    values : np.ndarray
        As they follow each other in the file, finite or not.
    stated : int
    """
    if len(values) < 4 * _MOST_CHANNELS or not np.isfinite(values).all() or not np.ptp(values):
        return None
    longest = min(_MOST_CHANNELS, len(values) // 8)
    centred = values - values.mean()
    spectrum = np.fft.rfft(centred, 2 * len(centred))
    alike = np.fft.irfft(np.abs(spectrum) ** 2)[: 2 * longest + 2] / (len(centred) - np.arange(2 * longest + 2))
    differs = np.maximum(1 - alike / alike[0], 0.0)
    contrast = np.ones(2 * longest + 1)
    inner = np.minimum(differs[1:-2], differs[3:])
    contrast[2:] = differs[2:-1] / np.maximum(inner, np.finfo(float).tiny)
    if stated > longest or contrast[stated] < _NOT_ALIKE:
        return None
    distances = np.arange(2, longest + 1)
    is_alike = (contrast[distances] < _ALIKE) & (contrast[2 * distances] < _ALIKE)
    # A tone is alike after some samples of all channels; half of the true number is a common mistake.
    is_alike &= (distances % stated != 0) | (distances == 2 * stated)
    return int(distances[is_alike][0]) if is_alike.any() else None
