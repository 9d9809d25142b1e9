"""The SpikeInterface recording of an Intan file or folder.

A module of its own because SpikeInterface finds the class by its name when it loads a recording in another process;
it is only imported where a recording is opened.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from neo.rawio.intanrawio import IntanRawIO
from spikeinterface.extractors.neoextractors.intan import IntanRecordingExtractor  # noqa: TID253

from sort_assets.errors import UnreadableRecordingError

_CHUNK_SAMPLES = 1_000_000


class IntanRecording(IntanRecordingExtractor):  # type: ignore[misc]
    """SpikeInterface's extractor of Intan's amplifiers, with a check of the sample numbers that bounds its memory.

    neo's own (0.14.6) copies them: for an hour at 30 kHz, 2 s and 0.9 GB at each opening, instead of 0.3 s and the
    file's own pages. It also writes a line of its message for each jump, of which a damaged file has millions.
    """

    @classmethod
    def get_neo_io_reader(cls, raw_class: str, **neo_kwargs: Any) -> IntanRawIO:  # noqa: ARG003
        reader = _IntanReader(**neo_kwargs)
        reader.parse_header()
        return reader

    @property
    def first_sample_number(self) -> int:
        """Number of the first sample; may be negative, where a trigger is sample 0."""
        return int(np.ravel(self.neo_reader.sample_numbers[:1])[0])


class _IntanReader(IntanRawIO):  # type: ignore[misc]
    @property
    def sample_numbers(self) -> np.ndarray:
        """Numbers of the samples, memory-mapped, of shape (samples,), (samples, 1) or (blocks, samples in a block)."""
        numbers = self._raw_data["timestamp"]
        return np.asanyarray(numbers[0] if isinstance(numbers, list) else numbers)

    def _assert_timestamp_continuity(self) -> None:
        _check_sample_numbers(self.sample_numbers, self.filename, float(self._global_info["sampling_rate"]))


def _check_sample_numbers(numbers: np.ndarray, path: Path, rate_hz: float) -> None:
    per_row = numbers.shape[1] if numbers.ndim == 2 else 1
    rows = max(1, _CHUNK_SAMPLES // per_row)
    jumps, first_jump, before = 0, "", None
    for start, stop in pairwise([*range(0, len(numbers), rows), len(numbers)]):
        chunk = np.ravel(numbers[start:stop]).astype(np.int64)
        steps = np.diff(chunk, prepend=chunk[:1] - 1 if before is None else before)
        (at,) = np.nonzero(steps != 1)
        if at.size and not jumps:
            seen = (start * per_row + int(at[0])) / rate_hz
            first_jump = f"{seen:.3f} s after its beginning, by {(int(steps[at[0]]) - 1) / rate_hz:.3f} s"
        jumps += at.size
        before = chunk[-1:]
    if jumps:
        raise UnreadableRecordingError(
            f"The sample numbers of '{path}' jump in {jumps} places, first {first_jump}: samples were lost, or files "
            "were joined that do not follow each other.",
            remedy="Use the original files, one for each continuous part; those in one folder are sorted as one "
            "recording. Lost samples can't be restored.",
            jumps=int(jumps),
        )
