"""neo's reader of Open Ephys' old format, which would give zeros in the place of samples (up to 0.14.6), repaired.

The class stands at the module's top level, where SpikeInterface finds it when another process loads a recording.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from neo.rawio.openephysrawio import RECORD_SIZE, OpenEphysRawIO
from spikeinterface.extractors.neoextractors.openephys import OpenEphysLegacyRecordingExtractor  # noqa: TID253


class OpenEphysLegacyRecording(OpenEphysLegacyRecordingExtractor):  # type: ignore[misc]
    """SpikeInterface's recording of Open Ephys' old format, with the samples that were recorded and no others.

    neo fills what was lost on the way with zeros, and the block after a gap as well when a read ends in it.
    """

    @classmethod
    def get_neo_io_reader(cls, raw_class: str, **neo_kwargs: Any) -> OpenEphysRawIO:  # noqa: ARG003
        reader = _OpenEphysReader(**neo_kwargs)
        reader.parse_header()
        return reader


class _OpenEphysReader(OpenEphysRawIO):  # type: ignore[misc]
    def record_numbers(self, seg_index: int) -> list[np.ndarray]:
        """Numbers of the first sample in each record, for each channel of any stream."""
        return [np.asarray(records["timestamp"]) for records in self._sigs_memmap[seg_index].values()]

    def _get_signal_size(self, block_index: int, seg_index: int, stream_index: int) -> int:
        return int(RECORD_SIZE) * min(len(records) for records in self._sigs_memmap[seg_index].values())

    def _get_analogsignal_chunk(
        self,
        block_index: int,
        seg_index: int,
        i_start: int | None,
        i_stop: int | None,
        stream_index: int,
        channel_indexes: Any,
    ) -> np.ndarray:
        start = i_start or 0
        stop = self._get_signal_size(block_index, seg_index, stream_index) if i_stop is None else i_stop
        stream_id = self.header["signal_streams"][stream_index]["id"]
        (channels,) = np.nonzero(self.header["signal_channels"]["stream_id"] == stream_id)
        first, end = start // RECORD_SIZE, -(-stop // RECORD_SIZE)
        columns = [
            np.ravel(self._sigs_memmap[seg_index][channel][first:end]["samples"])
            for channel in channels[slice(None) if channel_indexes is None else channel_indexes]
        ]
        return np.column_stack(columns)[start - first * RECORD_SIZE : stop - first * RECORD_SIZE].astype("int16")
