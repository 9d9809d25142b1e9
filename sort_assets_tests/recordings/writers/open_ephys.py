"""Writes recordings as the Open Ephys GUI does in its binary format, from version 0.6 on.

Layout: https://open-ephys.github.io/gui-docs/User-Manual/Recording-data/Binary-format.html; structure.oebin and
settings.xml of real sessions are among the tests of probeinterface (tests/data/openephys).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from sort_assets_tests.recordings.writers.neuropixels import (
    LFP_DECIMATION,
    NUM_READOUT_CHANNELS,
    PROBE_TYPES,
    STRAIGHT_COLUMNS,
    Sites,
    nearest_sites,
    write_flat,
)

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

_VERSION = "0.6.7"
_GAIN_TO_UV = 0.195
"""Both the Neuropixels plugin and the acquisition board scale electrodes to it."""
_ADC_GAIN_TO_V = 0.00015258789
_NUM_AUX, _NUM_ADC = 3, 8
_SOURCE_ID = 100


def write_open_ephys(
    recording: BaseRecording | Mapping[str, BaseRecording],
    folder: Path,
    *,
    part_number: str | None = STRAIGHT_COLUMNS,
    node: int = 101,
    experiment: int = 1,
    first_sample: int = 0,
    lfp: bool = True,
    ni_daq: bool = False,
) -> Path:
    """Write one experiment of a session; further ones, and those of further record nodes, may be written into it.

    A Neuropixels probe's sites can't be moved: each channel becomes the nearest site that has a readout channel of its
    own, only these are recorded, and they stand in the order of the readout channels. The channels of `make_probe` are
    sites of the default part.

    Parameters
    ----------
    recording : BaseRecording or mapping of str to BaseRecording
        With gains, and with a probe for Neuropixels; "ProbeA" or, by name, several. Each segment is a recording of the
        experiment.
    folder : Path
        The folder of the session; it may exist.
    part_number : str or None
        The kind of Neuropixels probe, one of `PROBE_TYPES`; None is an acquisition board with headstages, whose file
        also holds the accelerometer (AUX) and inputs (ADC), and says nothing about the electrodes' places.
    node, experiment : int
        Numbers of the record node and of the experiment.
    first_sample : int
        Samples from the start of acquisition to the first recording; between recordings there is a second.
    lfp : bool
        Write the local field potential too, where the probe has one (Neuropixels 1).
    ni_daq : bool
        Write a National Instruments device too, with two inputs.

    Returns
    -------
    Path
        `folder`.
    """
    recordings = recording if isinstance(recording, Mapping) else {"ProbeA": recording}
    sites = {} if part_number is None else {name: nearest_sites(one, part_number) for name, one in recordings.items()}
    node_folder = folder / f"Record Node {node}"
    first = next(iter(recordings.values()))
    for segment in range(first.get_num_segments()):
        recording_folder = node_folder / f"experiment{experiment}" / f"recording{segment + 1}"
        streams = []
        for name, one in recordings.items():
            if part_number is None:
                streams.append(_write_board(one, segment, recording_folder, first_sample, node))
                continue
            bands = ("AP", "LFP") if PROBE_TYPES[part_number] == 0 else ("",)
            for band in bands if lfp else bands[:1]:
                streams.append(
                    _write_probe(one, segment, recording_folder, name, band, sites[name], first_sample, node)
                )
        if ni_daq:
            streams.append(_write_ni_daq(first, segment, recording_folder, first_sample, node))
        described = {"GUI version": _VERSION, "continuous": streams, "events": [], "spikes": []}
        (recording_folder / "structure.oebin").write_text(json.dumps(described, indent=4), encoding="utf-8")
        first_sample += first.get_num_samples(segment) + int(first.sampling_frequency)
    settings = node_folder / ("settings.xml" if experiment == 1 else f"settings_{experiment}.xml")
    settings.write_bytes(_settings(part_number, sites, first.sampling_frequency, node, lfp=lfp))
    return folder


def _write_probe(
    recording: BaseRecording,
    segment: int,
    folder: Path,
    name: str,
    band: str,
    sites: Sites,
    first_sample: int,
    node: int,
) -> dict[str, Any]:
    decimation = LFP_DECIMATION if band == "LFP" else 1
    stream = f"{name}-{band}" if band else name
    channels = [
        _channel(f"CH{channel}", "Neuropixels electrode", _GAIN_TO_UV, "", sites.electrode(sites.all_sites[channel]))
        for channel in sites.saved
    ]
    stream_folder = _make_stream(folder, f"Neuropix-PXI-{_SOURCE_ID}.{stream}")
    gains_uv = np.full(len(channels), _GAIN_TO_UV)
    path = stream_folder / "continuous.dat"
    write_flat(recording, segment, path, order=sites.order, gains_uv=gains_uv, decimation=decimation)
    rate_hz = recording.sampling_frequency / decimation
    _write_times(stream_folder, recording.get_num_samples(segment) // decimation, first_sample // decimation, rate_hz)
    return _stream(stream_folder, "Neuropix-PXI", stream, rate_hz, channels, node)


def _write_board(recording: BaseRecording, segment: int, folder: Path, first_sample: int, node: int) -> dict[str, Any]:
    num_channels, num_samples = recording.get_num_channels(), recording.get_num_samples(segment)
    channels = [_channel(f"CH{i + 1}", "Headstage data channel", _GAIN_TO_UV, "uV") for i in range(num_channels)]
    channels += [_channel(f"AUX{i + 1}", "Auxiliary data channel", 0.0374, "mV") for i in range(_NUM_AUX)]
    channels += [_channel(f"ADC{i + 1}", "ADC data channel", _ADC_GAIN_TO_V, "V") for i in range(_NUM_ADC)]
    stream_folder = _make_stream(folder, f"Acquisition_Board-{_SOURCE_ID}.Rhythm Data")
    write_flat(
        recording,
        segment,
        stream_folder / "continuous.dat",
        order=np.arange(num_channels),
        gains_uv=np.full(num_channels, _GAIN_TO_UV),
        added=np.tile(np.arange(num_samples)[:, None] % 1000, _NUM_AUX + _NUM_ADC),
    )
    _write_times(stream_folder, num_samples, first_sample, recording.sampling_frequency)
    return _stream(stream_folder, "Acquisition Board", "Rhythm Data", recording.sampling_frequency, channels, node)


def _write_ni_daq(recording: BaseRecording, segment: int, folder: Path, first_sample: int, node: int) -> dict[str, Any]:
    num_samples = recording.get_num_samples(segment)
    stream_folder = _make_stream(folder, "NI-DAQmx-103.PXIe-6341")
    ramp = (np.arange(num_samples) % 1000).astype("<i2")
    np.column_stack([ramp, ramp]).tofile(stream_folder / "continuous.dat")
    _write_times(stream_folder, num_samples, first_sample, recording.sampling_frequency)
    channels = [_channel(f"AI{i}", "Analog Input channel from a NIDAQ device", _ADC_GAIN_TO_V, "V") for i in range(2)]
    return _stream(stream_folder, "NI-DAQmx", "PXIe-6341", recording.sampling_frequency, channels, node)


def _make_stream(recording_folder: Path, name: str) -> Path:
    folder = recording_folder / "continuous" / name
    folder.mkdir(parents=True)
    return folder


def _write_times(folder: Path, num_samples: int, first_sample: int, rate_hz: float) -> None:
    numbers = first_sample + np.arange(num_samples, dtype="<i8")
    np.save(folder / "sample_numbers.npy", numbers)
    np.save(folder / "timestamps.npy", numbers / rate_hz)


def _stream(
    folder: Path, source: str, name: str, rate_hz: float, channels: Sequence[Mapping[str, Any]], node: int
) -> dict[str, Any]:
    return {
        "folder_name": f"{folder.name}/",
        "sample_rate": float(rate_hz),
        "source_processor_name": source,
        "source_processor_id": _SOURCE_ID,
        "stream_name": name,
        "recorded_processor": "Record Node",
        "recorded_processor_id": node,
        "num_channels": len(channels),
        "channels": list(channels),
    }


def _channel(name: str, description: str, gain: float, units: str, electrode: int | None = None) -> dict[str, Any]:
    channel: dict[str, Any] = {
        "channel_name": name,
        "description": description,
        "identifier": "",
        "history": "Record Node",
        "bit_volts": gain,
        "units": units,
    }
    if electrode is not None:
        channel["channel_metadata"] = [
            {
                "name": "electrode_index",
                "description": "Electrode index for this channel",
                "identifier": "neuropixels.electrode_index",
                "type": "uint16",
                "length": 1,
                "value": [electrode],
            }
        ]
    return channel


def _settings(part_number: str | None, sites: Mapping[str, Sites], rate_hz: float, node: int, *, lfp: bool) -> bytes:
    """The description of the signal chain: what is recorded from, and the record node."""
    root = ElementTree.Element("SETTINGS")
    info = ElementTree.SubElement(root, "INFO")
    ElementTree.SubElement(info, "VERSION").text = _VERSION
    ElementTree.SubElement(info, "PLUGIN_API_VERSION").text = "8"
    chain = ElementTree.SubElement(root, "SIGNALCHAIN")
    source = "Acquisition Board" if part_number is None else "Neuropix-PXI"
    processor = ElementTree.SubElement(
        chain,
        "PROCESSOR",
        {
            "name": source,
            "pluginName": source,
            "libraryName": source,
            "libraryVersion": "0.6.3",
            "processorType": "2",
            "nodeId": str(_SOURCE_ID),
        },
    )
    record_node = ElementTree.SubElement(
        chain,
        "PROCESSOR",
        {"name": "Record Node", "pluginName": "Record Node", "processorType": "8", "nodeId": str(node)},
    )
    recorded = ElementTree.SubElement(record_node, "CUSTOM_PARAMETERS")
    if part_number is None:
        _add_stream(processor, "Rhythm Data", rate_hz, NUM_READOUT_CHANNELS)
        return _to_bytes(root)
    for name, its_sites in sites.items():
        bands = {"-AP": rate_hz, "-LFP": rate_hz / LFP_DECIMATION} if PROBE_TYPES[part_number] == 0 else {"": rate_hz}
        saved = "".join("1" if channel in its_sites.saved else "0" for channel in range(NUM_READOUT_CHANNELS))
        for band, band_rate_hz in bands.items():
            _add_stream(processor, f"{name}{band}", band_rate_hz, NUM_READOUT_CHANNELS)
            state = saved if lfp or band != "-LFP" else "NONE"
            ElementTree.SubElement(recorded, "STREAM", {"name": f"{name}{band}", "recording_state": state})
    editor = ElementTree.SubElement(processor, "EDITOR", {"displayName": source, "Type": "Visualizer"})
    for index, its_sites in enumerate(sites.values()):
        _add_probe(editor, part_number, index, its_sites)
    return _to_bytes(root)


def _to_bytes(root: ElementTree.Element) -> bytes:
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True))


def _add_stream(processor: ElementTree.Element, name: str, rate_hz: float, num_channels: int) -> None:
    ElementTree.SubElement(
        processor,
        "STREAM",
        {"name": name, "description": "", "sample_rate": str(rate_hz), "channel_count": str(num_channels)},
    )


def _add_probe(editor: ElementTree.Element, part_number: str, index: int, sites: Sites) -> None:
    serial_number = str(22168303281 + index)
    probe = ElementTree.SubElement(
        editor,
        "NP_PROBE",
        {
            "slot": "2",
            "port": str(index + 1),
            "dock": "1",
            "probe_serial_number": serial_number,
            "probe_part_number": part_number,
            "probe_name": "Neuropixels",
            "custom_probe_name": serial_number,
            **({"apGainValue": "500x", "lfpGainValue": "250x"} if PROBE_TYPES[part_number] == 0 else {}),
        },
    )
    banks, x_um, y_um = {}, {}, {}
    for channel, site in enumerate(sites.all_sites):
        bank = str(sites.electrode(site) // NUM_READOUT_CHANNELS)
        banks[f"CH{channel}"] = bank if sites.probe.shank_ids is None else f"{bank}:{sites.shank(site)}"
        x_um[f"CH{channel}"], y_um[f"CH{channel}"] = (f"{value:g}" for value in sites.probe.contact_positions[site])
    ElementTree.SubElement(probe, "CHANNELS", banks)
    ElementTree.SubElement(probe, "ELECTRODE_XPOS", x_um)
    ElementTree.SubElement(probe, "ELECTRODE_YPOS", y_um)
