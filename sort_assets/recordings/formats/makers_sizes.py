"""Whether makers' files end where a whole sample ends: neo (up to 0.14.6) cuts off what is left, without a word."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sort_assets.errors import UnreadableRecordingError
from sort_assets.recordings.completeness import Missing
from sort_assets.recordings.formats.reading import COPY_AGAIN

_NCS_HEADER, _NCS_RECORD = 16384, 1044
_CONTINUOUS_HEADER, _CONTINUOUS_RECORD = 1024, 2070
_AXONA_PACKET = 432


def note_what_is_cut_off(name: str, neo_reader: Any, path: Path, missing: Missing) -> None:
    """Note files of a recording that end in the middle of a sample or record.

    Raises
    ------
    UnreadableRecordingError
        Unless that is accepted.
    """
    layout = _LAYOUTS.get(name)
    for file, header_bytes, record_bytes in [] if layout is None else layout(path, neo_reader):
        num_bytes = file.stat().st_size
        if (num_bytes - header_bytes) % record_bytes:
            missing.note(
                f"'{file}' is truncated: its {num_bytes} bytes are not a header of {header_bytes} bytes and a whole "
                f"number of records of {record_bytes}."
            )
    if name == "neuralynx":
        _note_empty_channels(neo_reader, missing)
    if name == "tdt":
        _refuse_short_samples(neo_reader, path)
    if name == "neuronexus":
        stated, num_bytes = 4 * neo_reader._n_samples * neo_reader._n_channels, path.stat().st_size
        if num_bytes != stated:
            missing.note(f"'{path}' has {num_bytes} bytes, and its .xdat.json states {stated}.")


def _note_empty_channels(neo_reader: Any, missing: Missing) -> None:
    """neo leaves such channels out, so that those after them have other numbers."""
    if neo_reader._empty_ncs:
        missing.note(
            f"'{neo_reader._empty_ncs[0]}' holds no samples, though other channels do "
            f"({len(neo_reader._empty_ncs)} such files)."
        )


def _refuse_short_samples(neo_reader: Any, path: Path) -> None:
    """neo reads zeros where the samples should be that the index names."""
    for channel, index in neo_reader._sigs_index[0].items():
        stream = int(neo_reader.header["signal_channels"][channel]["stream_id"])
        block_bytes = neo_reader._sig_sample_per_chunk[stream] * neo_reader._sig_dtype_by_group[stream].itemsize
        needed = int(index["offset"].max()) + int(block_bytes) if len(index) else 0
        if needed > len(neo_reader._sigs_data_buf[0][channel]):
            raise UnreadableRecordingError(
                f"'{path}' is truncated: its samples (.tev or .sev) end before those that its index (.tsq) names.",
                remedy=COPY_AGAIN,
            )


def _flat(path: Path, neo_reader: Any) -> Iterator[tuple[Path, int, int]]:
    """neo's description of the buffer says where the samples begin, and how many channels they have."""
    (described,) = neo_reader._buffer_descriptions[0][0].values()
    yield path, int(described["file_offset"]), 2 * int(described["shape"][1])


def _blackrock(path: Path, neo_reader: Any) -> Iterator[tuple[Path, int, int]]:
    """Of files with a packet for each sample; of others, neo says that a packet is not whole."""
    for described, *_ in neo_reader._nsx_data_header.values():
        if "timestamps_memmap_kwargs" in described:
            where = described["memmap_kwargs"]
            yield path, int(where["offset"]), int(where["packet_size"])


def _axona(path: Path, neo_reader: Any) -> Iterator[tuple[Path, int, int]]:  # noqa: ARG001
    yield path, 0, _AXONA_PACKET


def _neuralynx(path: Path, neo_reader: Any) -> Iterator[tuple[Path, int, int]]:  # noqa: ARG001
    for file in neo_reader.ncs_filenames.values():
        yield Path(file), _NCS_HEADER, _NCS_RECORD


def _open_ephys_legacy(path: Path, neo_reader: Any) -> Iterator[tuple[Path, int, int]]:  # noqa: ARG001
    for file in sorted(path.glob("*.continuous")):
        yield file, _CONTINUOUS_HEADER, _CONTINUOUS_RECORD


def _spikegadgets(path: Path, neo_reader: Any) -> Iterator[tuple[Path, int, int]]:
    packets, packet_bytes = neo_reader._raw_memmap.shape
    with path.open("rb") as file:
        header_bytes = next(file.tell() for line in iter(file.readline, b"") if b"</Configuration>" in line)
    yield path, header_bytes, packet_bytes if packets else 1


_LAYOUTS: dict[str, Callable[[Path, Any], Iterator[tuple[Path, int, int]]]] = {
    "neuroscope": _flat,
    "mcsraw": _flat,
    "axona": _axona,
    "blackrock": _blackrock,
    "neuralynx": _neuralynx,
    "open_ephys_legacy": _open_ephys_legacy,
    "spikegadgets": _spikegadgets,
}
