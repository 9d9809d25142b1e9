"""Readers of neo (up to 0.14.6) that would give other samples than those that were recorded, repaired.

The classes stand at the module's top level, where SpikeInterface finds them when another process loads a recording.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from neo.rawio.openephysrawio import RECORD_SIZE, OpenEphysRawIO
from neo.rawio.rawmcsrawio import RawMCSRawIO
from neo.rawio.tdtrawio import TdtRawIO
from spikeinterface.extractors.neoextractors.mcsraw import MCSRawRecordingExtractor  # noqa: TID253
from spikeinterface.extractors.neoextractors.openephys import OpenEphysLegacyRecordingExtractor  # noqa: TID253
from spikeinterface.extractors.neoextractors.tdt import TdtRecordingExtractor  # noqa: TID253

from sort_assets.errors import UnreadableRecordingError


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


class McsRawRecording(MCSRawRecordingExtractor):  # type: ignore[misc]
    """SpikeInterface's recording of MC_DataTool's .raw, with signed samples and with other inputs told from electrodes.

    neo takes all samples for unsigned ones, and gives the electrodes' gain to all channels.
    """

    @classmethod
    def get_neo_io_reader(cls, raw_class: str, **neo_kwargs: Any) -> RawMCSRawIO:  # noqa: ARG003
        reader = _McsRawReader(**neo_kwargs)
        reader.parse_header()
        return reader


class _McsRawReader(RawMCSRawIO):  # type: ignore[misc]
    def _parse_header(self) -> None:
        super()._parse_header()
        channels = self.header["signal_channels"]
        if self._info["adc_zero"] == 0:  # unsigned samples would have no voltages below zero
            self.dtype = "int16"
            channels["dtype"] = self.dtype
            self._buffer_descriptions[0][0]["0"]["dtype"] = self.dtype
        channels["units"][~np.char.startswith(channels["name"], "El")] = ""


class TdtRecording(TdtRecordingExtractor):  # type: ignore[misc]
    """SpikeInterface's recording of a Tucker-Davis block, each store with its own samples.

    neo takes the only .sev file of a channel for every store that has this channel, those in the .tev as well.
    """

    @classmethod
    def get_neo_io_reader(cls, raw_class: str, **neo_kwargs: Any) -> TdtRawIO:  # noqa: ARG003
        reader = _TdtReader(**neo_kwargs)
        reader.parse_header()
        return reader


class _TdtReader(TdtRawIO):  # type: ignore[misc]
    def _parse_header(self) -> None:
        super()._parse_header()
        names = {row["id"]: str(row["name"]) for row in self.header["signal_streams"]}
        stores = [names[stream] for stream in self.header["signal_channels"]["stream_id"]]
        buffers, users = self._sigs_data_buf[0], defaultdict(set)
        for channel, store in enumerate(stores):
            users[str(buffers[channel].filename)].add(store)
        for channel, store in enumerate(stores):
            file = Path(buffers[channel].filename)
            if file.suffix.lower() != ".sev" or len(users[str(file)]) == 1 or f"_{store}_" in file.name:
                continue
            if self._tev_datas[0] is None or not any(f"_{other}_" in file.name for other in users[str(file)]):
                raise UnreadableRecordingError(
                    f"'{file}' holds the samples of one of the stores {', '.join(sorted(users[str(file)]))}, and its "
                    "name does not say of which, or the .tev with those of the others is not there.",
                    remedy="Copy all files of the block, and rename the .sev files to TANK_BLOCK_STORE_Ch1.sev and so "
                    "on, with the name of their store.",
                )
            buffers[channel] = self._tev_datas[0]
