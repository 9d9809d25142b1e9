"""Writes recordings as Intan's RHX software does: one file, one file per type of signal, or one file per channel.

Layout of header, channels and data blocks: Intan Technologies, "RHD2000 Application Note: Data File Formats"
(https://intantech.com/files/Intan_RHD2000_data_file_formats.pdf) and the same for the RHS2000
(https://intantech.com/files/Intan_RHS2000_data_file_formats.pdf).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

MICROVOLTS_PER_BIT = 0.195
ZERO_COUNT = 32768
"""Count of no voltage in files with a header of their own; the others hold signed counts."""

_MAGIC_NUMBERS = {"rhd": 0xC6912702, "rhs": 0xD69127AC}
_CHANNELS_PER_PORT = 64
_PORTS = "ABCDEFGH"
_AUXILIARY_INPUTS = 3
_AMPLIFIER, _AUXILIARY, _SUPPLY, _DIGITAL_INPUT_RHD, _DIGITAL_INPUT_RHS = 0, 1, 2, 4, 5
_BLOCKS_PER_CHUNK = 256
_NO_STIMULATION, _SUPPLY_COUNTS, _AUXILIARY_COUNTS = 0, 44000, 33000


def write_intan(
    recording: BaseRecording,
    path: Path,
    *,
    kind: Literal["rhd", "rhs"] = "rhd",
    layout: Literal["one_file", "file_per_signal_type", "file_per_channel"] = "one_file",
    version: tuple[int, int] = (3, 1),
    first_sample: int = 0,
) -> Path:
    """Write a recording controller's (`rhd`) or a stimulation controller's (`rhs`) recording.

    Besides the amplifiers there are what the software always saves (auxiliary inputs and the supply voltage of `rhd`,
    stimulation currents of `rhs`) and one digital input.

    Parameters
    ----------
    recording : BaseRecording
        With gains, at most 512 channels; named A-000, A-001, … by Intan, 64 to a port.
    path : Path
        The file to write, with the suffix `.rhd` or `.rhs`, or the folder to make.
    kind : {"rhd", "rhs"}
    layout : {"one_file", "file_per_signal_type", "file_per_channel"}
    version : tuple of int
        Of the file format. A block has 60 samples in `rhd` files before 2.0, and 128 otherwise.
    first_sample : int
        Number of the first sample: files that follow each other count on.

    Returns
    -------
    Path
        `path`. One file holds whole blocks, and the last samples that do not fill one are left out.
    """
    names = [
        f"{_PORTS[index // _CHANNELS_PER_PORT]}-{index % _CHANNELS_PER_PORT:03d}"
        for index in range(recording.get_num_channels())
    ]
    header = _header(recording, kind, version, names)
    if layout == "one_file":
        with path.open("wb") as file:
            file.write(header)
            for blocks in _blocks(recording, kind, version, names, first_sample):
                blocks.tofile(file)
        return path
    path.mkdir()
    (path / f"info.{kind}").write_bytes(header)
    write = _write_signal_types if layout == "file_per_signal_type" else _write_channels
    write(recording, path, kind, names)
    times = np.arange(first_sample, first_sample + recording.get_num_samples(), dtype="<i4")
    times.tofile(path / "time.dat")
    return path


def _blocks(
    recording: BaseRecording, kind: str, version: tuple[int, int], names: list[str], first_sample: int
) -> Iterator[np.ndarray]:
    """Data blocks, some at a time, each a record with the fields in the order of the file."""
    length = 60 if kind == "rhd" and version < (2, 0) else 128
    fields: list[tuple[Any, ...]] = [("time", "<i4", length)]
    fields += [(name, "<u2", length) for name in names]
    if kind == "rhd":
        fields += [(f"aux{number}", "<u2", length // 4) for number in range(_AUXILIARY_INPUTS)] + [("supply", "<u2")]
    else:
        fields += [(f"{name}_stimulation", "<u2", length) for name in names]
    fields.append(("digital", "<u2", length))
    num_blocks = recording.get_num_samples() // length
    for first in range(0, num_blocks, _BLOCKS_PER_CHUNK):
        start, stop = first * length, min(first + _BLOCKS_PER_CHUNK, num_blocks) * length
        blocks = np.zeros((stop - start) // length, dtype=fields)
        blocks["time"] = (first_sample + np.arange(start, stop)).reshape(-1, length)
        counts = _counts(recording, start, stop) + ZERO_COUNT
        for name, column in zip(names, counts.T, strict=True):
            blocks[name] = column.reshape(-1, length)
        if kind == "rhd":
            blocks["supply"] = _SUPPLY_COUNTS
            for number in range(_AUXILIARY_INPUTS):
                blocks[f"aux{number}"] = _AUXILIARY_COUNTS
        yield blocks


def _write_signal_types(recording: BaseRecording, folder: Path, kind: str, names: list[str]) -> None:
    num_samples = recording.get_num_samples()
    with (folder / "amplifier.dat").open("wb") as file:
        for start, stop in _chunks(num_samples):
            _counts(recording, start, stop).astype("<i2").tofile(file)
    if kind == "rhd":
        # At the amplifiers' rate, unlike in one file.
        np.full((num_samples, _AUXILIARY_INPUTS), _AUXILIARY_COUNTS, dtype="<u2").tofile(folder / "auxiliary.dat")
        np.full(num_samples, _SUPPLY_COUNTS, dtype="<u2").tofile(folder / "supply.dat")
    else:
        np.full((num_samples, len(names)), _NO_STIMULATION, dtype="<u2").tofile(folder / "stim.dat")
    np.zeros(num_samples, dtype="<u2").tofile(folder / "digitalin.dat")


def _write_channels(recording: BaseRecording, folder: Path, kind: str, names: list[str]) -> None:
    num_samples = recording.get_num_samples()
    for index, name in enumerate(names):
        with (folder / f"amp-{name}.dat").open("wb") as file:
            for start, stop in _chunks(num_samples):
                _counts(recording, start, stop)[:, index].astype("<i2").tofile(file)
    # Of an rhs there are files for channels that were stimulated alone: here none.
    if kind == "rhd":
        for number in range(_AUXILIARY_INPUTS):
            auxiliary = np.full(num_samples, _AUXILIARY_COUNTS, dtype="<u2")
            auxiliary.tofile(folder / f"aux-A-AUX{number + 1}.dat")
        np.full(num_samples, _SUPPLY_COUNTS, dtype="<u2").tofile(folder / "vdd-A-VDD1.dat")
    np.zeros(num_samples, dtype="<u2").tofile(folder / "board-DIGITAL-IN-00.dat")


def _chunks(num_samples: int) -> Iterator[tuple[int, int]]:
    size = 128 * _BLOCKS_PER_CHUNK
    for start in range(0, num_samples, size):
        yield start, min(start + size, num_samples)


def _counts(recording: BaseRecording, start: int, stop: int) -> np.ndarray:
    microvolts = recording.get_traces(start_frame=start, end_frame=stop, return_in_uV=True)
    counts = np.rint(microvolts / MICROVOLTS_PER_BIT)
    return np.asarray(np.clip(counts, -ZERO_COUNT, ZERO_COUNT - 1), dtype="int32")


def _header(recording: BaseRecording, kind: str, version: tuple[int, int], names: list[str]) -> bytes:
    rate_hz = float(recording.sampling_frequency)
    header = struct.pack("<Ihh", _MAGIC_NUMBERS[kind], *version)
    if kind == "rhd":
        # Rate; offset removal; its corner and the band, actual and wanted; notch filter; impedance test.
        header += struct.pack("<fh6fhff", rate_hz, 1, 1.0, 0.1, 7500.0, 1.0, 0.1, 7500.0, 0, 1000.0, 1000.0)
    else:
        header += struct.pack("<fh8fhff", rate_hz, 1, 1.0, 0.1, 1000.0, 7500.0, 1.0, 0.1, 1000.0, 7500.0, 0, 1e3, 1e3)
        # Amplifier settle and charge recovery modes; step of the stimulation in amperes; limits of the recovery.
        header += struct.pack("<hhfff", 0, 0, 10e-6, 1e-8, 0.0)
    header += _text("mouse 3") + _text("") + _text("")
    if kind == "rhd":
        if version >= (1, 1):
            header += struct.pack("<h", 0)  # temperature sensors
        if version >= (1, 3):
            header += struct.pack("<h", 0)  # kind of board
        if version >= (2, 0):
            header += _text("n/a")  # reference
    else:
        # No samples of the direct-current amplifiers; kind of board; reference.
        header += struct.pack("<hh", 0, 0) + _text("n/a")
    groups = _signal_groups(kind, names)
    return header + struct.pack("<h", len(groups)) + b"".join(groups)


def _signal_groups(kind: str, names: list[str]) -> list[bytes]:
    """Ports, then the digital inputs; a port without a headstage is listed, and not enabled."""
    groups = []
    for port in _PORTS:
        of_port = [name for name in names if name.startswith(port)]
        channels = [_channel(kind, name, order, _AMPLIFIER) for order, name in enumerate(of_port)]
        if kind == "rhd" and port == "A":
            auxiliary = [f"A-AUX{number + 1}" for number in range(_AUXILIARY_INPUTS)]
            channels += [_channel(kind, name, order, _AUXILIARY) for order, name in enumerate(auxiliary)]
            channels.append(_channel(kind, "A-VDD1", 0, _SUPPLY))
        groups.append(_group(f"Port {port}", port, channels, len(of_port)))
    digital = _DIGITAL_INPUT_RHD if kind == "rhd" else _DIGITAL_INPUT_RHS
    groups.append(_group("Board Digital Inputs", "DIN", [_channel(kind, "DIGITAL-IN-00", 0, digital)], 0))
    return groups


def _group(name: str, prefix: str, channels: list[bytes], num_amplifiers: int) -> bytes:
    sizes = struct.pack("<hhh", int(bool(channels)), len(channels), num_amplifiers)
    return _text(name) + _text(prefix) + sizes + b"".join(channels)


def _channel(kind: str, name: str, order: int, signal_type: int) -> bytes:
    numbers = [order, order, signal_type, 1, order % _CHANNELS_PER_PORT]
    # A stimulation controller has two streams for each chip: commands and data.
    numbers += [0, 0] if kind == "rhs" else [0]
    trigger = [1, 0, 0, 0]
    return _text(name) + _text(name) + struct.pack(f"<{len(numbers) + 4}hff", *numbers, *trigger, 2e5, -45.0)


def _text(text: str) -> bytes:
    """Qt's QString: length in bytes, then UTF-16."""
    encoded = text.encode("utf-16-le")
    return struct.pack("<I", len(encoded)) + encoded
