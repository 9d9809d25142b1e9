"""What Open Ephys' settings say of a stream's probe, read by probeinterface."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np

from sort_assets.config import RecordingConfig
from sort_assets.errors import MissingProbeError, ProbeGeometryError, UnreadableRecordingError
from sort_assets.recordings.formats.reading import MIN_SORTABLE_RATE_HZ, readable

if TYPE_CHECKING:
    from probeinterface import Probe
    from spikeinterface.core import BaseRecording


_COUNTED_STREAM = re.compile(r"(?P<source>Neuropix.*)\.(?P<number>\d+)")
_ONE_STREAM = ("NP2", "PRB2")
"""Part numbers of probes whose only stream has the whole band begin so."""


def read_probe(settings: Path, folder: Path, names: Sequence[str], config: RecordingConfig) -> Probe | None:
    """The stream's Neuropixels probe; None where it has none, or where a probe file stands for one that is unreadable.

    Of a probe that a probe file replaces, there is left to read when its converters take each channel.

    Parameters
    ----------
    settings : Path
        Description of the signal chain; it need not exist.
    folder : Path
        Of the stream; its name says which of the probes it is.
    names : sequence of str
        Of its channels that are electrodes.
    config : RecordingConfig
        With a `probe_file`, a probe that can't be read is None.

    Raises
    ------
    UnreadableRecordingError
        When the settings are damaged.
    MissingProbeError
        When the probe that they describe can't be read.
    ProbeGeometryError
        When they place another number of electrodes.
    """
    try:
        # probeinterface treats settings that it can't parse as those of a recording without such a probe.
        with readable(settings):
            _ = settings.is_file() and ElementTree.parse(settings)
        probe = _neuropixels(settings, folder, names)
    # Readouts, electrodes and part numbers that probeinterface does not know raise anything.
    except Exception as error:
        if config.probe_file is not None:
            return None
        if isinstance(error, UnreadableRecordingError):
            raise UnreadableRecordingError(
                error.message,
                remedy=f"{error.remedy} With recording.probe_file, the settings are not needed.",
            ) from error
        raise MissingProbeError(
            f"The probe of '{folder.name}' can't be read from '{settings}' ({type(error).__name__}: {error}).",
            remedy="Set recording.probe_file to a probeinterface JSON file of the electrodes that were recorded, with "
            "{stream} in its name where other streams keep their own probe. A newer version of probeinterface may also "
            "read the settings.",
        ) from error
    num_electrodes = len(names)
    if probe is None or probe.get_contact_count() == num_electrodes:
        return probe
    if config.probe_file is not None:
        return None
    raise ProbeGeometryError(
        f"'{settings}' places {probe.get_contact_count()} electrodes, and '{folder}' has {num_electrodes}.",
        remedy="Set recording.probe_file to a probeinterface JSON file of the electrodes that were recorded, if the "
        "record node saved only some of them ({stream} in its name lets other streams keep their own probe). If not, "
        "check that the settings belong to this recording: settings.xml to experiment1, settings_2.xml to experiment2.",
    )


def _neuropixels(settings: Path, folder: Path, names: Sequence[str]) -> Probe | None:
    """The stream's probe, or None where it is no Neuropixels or nothing is known of it."""
    import probeinterface

    if not settings.is_file():
        return None
    if probeinterface.has_neuropixels_probes(settings, stream_name=folder.name):
        probe = probeinterface.read_openephys_neuropixels(settings, stream_name=folder.name)
        mapped = None if probe.get_contact_count() == len(names) else _mapped_channels(settings, folder.name, names)
        return probe if mapped is None else _of_channels(settings, folder.name, mapped)
    serial_number = _counted_probe(settings, folder)
    if serial_number is None:
        return None
    return probeinterface.read_openephys_neuropixels(settings, serial_number=serial_number)


def _mapped_channels(settings: Path, stream: str, names: Sequence[str]) -> list[int] | None:
    """The numbers of the channels that a Channel Map lets through, in its order; None without one before the recording.

    It was before the recording where the recorded channels are called after the numbers in it, which begin at 0 or 1.
    """
    name = stream.partition(".")[2]
    root = ElementTree.parse(settings).getroot()
    numbers = [int(match[0]) if (match := re.search(r"\d+$", one)) else -1 for one in names]
    for processor in root.iter("PROCESSOR"):
        if "Channel Map" not in processor.get("name", ""):
            continue
        streams, maps = processor.findall("STREAM"), processor.findall("CUSTOM_PARAMETERS/STREAM")
        for described, channels in zip(streams, maps, strict=False):
            passed = [int(channel.get("index", -1)) for channel in channels if channel.get("enabled", "1") != "0"]
            if described.get("name") == name and numbers in (passed, [number + 1 for number in passed]):
                return passed
    return None


def _of_channels(settings: Path, stream: str, channels: Sequence[int]) -> Probe | None:
    """The contacts of the channels that a Channel Map lets through, in its order.

    probeinterface (up to 0.4.2) takes those for recorded that the map leaves out. Here it reads settings without a map.
    """
    import probeinterface

    tree = ElementTree.parse(settings)
    for chain in tree.getroot().iter("SIGNALCHAIN"):
        for processor in [one for one in chain if "Channel Map" in one.get("name", "")]:
            chain.remove(processor)
    with TemporaryDirectory() as folder:
        without = Path(folder) / settings.name
        tree.write(without)
        probe = probeinterface.read_openephys_neuropixels(without, stream_name=stream)
    if max(channels) >= probe.get_contact_count():
        return probe
    probe = probe.get_slice(np.array(channels))
    probe.set_device_channel_indices(np.arange(len(channels)))
    return probe


def _counted_probe(settings: Path, folder: Path) -> str | None:
    """The serial number of the probe of a stream that is called after its number, as before version 0.6 of the GUI.

    Settings of these versions list no streams, from which probeinterface (up to 0.4.2) tells whether there are probes.
    It also takes the number of a stream for that of a probe, while probes of the first generation have two streams,
    action and field potentials. Where the rates of the recorded streams do not fit that, nothing is known.
    """
    found = _COUNTED_STREAM.fullmatch(folder.name)
    root = ElementTree.parse(settings).getroot()
    if found is None or next(root.iter("STREAM"), None) is not None:
        return None
    bands: list[tuple[str, bool]] = []
    for probe in root.iter("NP_PROBE"):
        serial_number = probe.get("probe_serial_number", "")
        bands.append((serial_number, True))
        if not probe.get("probe_part_number", "").startswith(_ONE_STREAM):
            bands.append((serial_number, False))
    for number, rate_hz in _recorded_rates(folder.parents[1] / "structure.oebin", found["source"]):
        if number >= len(bands) or bands[number][1] != (rate_hz >= MIN_SORTABLE_RATE_HZ):
            return None
    number = int(found["number"])
    return bands[number][0] if number < len(bands) and bands[number][1] else None


def _recorded_rates(structure: Path, source: str) -> Iterator[tuple[int, float]]:
    """Number and rate of the streams of one source that were recorded."""
    for stream in json.loads(structure.read_text(encoding="utf-8"))["continuous"]:
        found = _COUNTED_STREAM.fullmatch(str(stream["folder_name"]).strip("/"))
        if found is not None and found["source"] == source:
            yield int(found["number"]), float(stream["sample_rate"])


def order_converters(recording: BaseRecording) -> None:
    """Give each channel the turn of its converter by the number in its name.

    probeinterface (up to 0.4.2) counts turns in the order of the recorded channels, of which a Channel Map may have
    changed the order, and a record node may have saved only some. Where that leaves open which channel is which, no
    turns are known.
    """
    if recording.get_property("inter_sample_shift") is None:
        return
    about = recording.get_probe().annotations
    turns = _turns(about["adc_sampling_table"])
    found = [re.fullmatch(r"[^#]*?(\d+)", str(channel)) for channel in recording.channel_ids]
    numbers = np.array([int(match[1]) if match else -1 for match in found])
    first = _first_number(numbers, len(turns))
    if first is None:
        recording.delete_property("inter_sample_shift")
        return
    # As SpikeInterface counts them: the converters of Neuropixels 1 also take the field potentials.
    bands = 1 + about["lf_sample_frequency_hz"] / about["ap_sample_frequency_hz"]
    recording.set_property("inter_sample_shift", turns[numbers - first] / int(about["num_channels_per_adc"] * bands))


def _turns(table: str) -> np.ndarray:
    """When each channel of the probe is converted, of "(24,16)(0 1 32 33 …)(2 3 34 35 …)…": the first ones at 0."""
    groups = [np.fromstring(group.strip("()"), dtype=np.int64, sep=" ") for group in table.split(")(")[1:]]
    turns = np.zeros(sum(map(len, groups)), dtype=np.int64)
    for turn, group in enumerate(groups):
        turns[group] = turn
    return turns


def _first_number(numbers: np.ndarray, num_channels: int) -> int | None:
    """The number of the probe's first channel, 0 or 1, as far as the numbers of the recorded ones tell."""
    lowest, highest = int(numbers.min()), int(numbers.max())
    if lowest < 0 or highest > num_channels or len(np.unique(numbers)) != len(numbers):
        return None
    if lowest == 0:
        return 0 if highest < num_channels else None
    if highest == num_channels:
        return 1
    return 1 if (lowest, highest) == (1, len(numbers)) else None
