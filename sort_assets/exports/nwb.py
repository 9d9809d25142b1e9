"""Units as an NWB file, by pynwb, as NWB's inspector and SpikeInterface's reader expect it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sort_assets.exports.plain_table import MISSING_VALUES, plain_columns
from sort_assets.exports.session import Facts
from sort_assets.exports.units import DeliveredUnits

if TYPE_CHECKING:
    from hdmf.common import VectorData
    from pynwb import NWBFile
    from pynwb.misc import Units

UNKNOWN_AREA = "unknown"
"""Location of electrodes whose brain area is not known."""

_COMPRESSION = "gzip"


def write_nwb_units(units: DeliveredUnits, facts: Facts, path: Path, *, identifier: str) -> None:
    """Write units, electrodes, and what is known of session and subject.

    Units are named by their ids where those are numbers, and by the column `unit_name` otherwise. Waveforms are those
    on the unit's own electrodes, in the order of its `electrodes`; units with fewer electrodes than others end in NaN.

    Parameters
    ----------
    units : DeliveredUnits
        None at all make an empty table.
    facts : Facts
        What is not known in them is left out of the file, and named in its notes.
    path : Path
        The file to write.
    identifier : str
        Of the file; the same for the same content.
    """
    from pynwb import NWBHDF5IO

    nwbfile = _file(units, facts, identifier)
    _add_subject(nwbfile, facts)
    _add_electrodes(nwbfile, units, facts)
    nwbfile.units = _units_table(nwbfile, units)
    with NWBHDF5IO(str(path), "w") as io:
        io.write(nwbfile)


def absent_from_nwb(units: DeliveredUnits, facts: Facts) -> list[str]:
    """What is not known about session, subject and electrodes."""
    absent = list(facts.absent)
    if units.electrodes.brain_areas is None and facts.session.electrode_location is None:
        absent.append(f"Brain area of the electrodes: not known; '{UNKNOWN_AREA}' stands in the file.")
    if units.electrodes.positions_um is None:
        absent.append("Positions of the electrodes: not known.")
    return absent


def left_out_of_nwb(units: DeliveredUnits) -> list[str]:
    """What the table of units lacks."""
    columns = _columns_without_values(units)
    left_out = [f"Columns without a value for any unit, left out of NWB: {', '.join(columns)}."] if columns else []
    return left_out if len(units) else ["There are no units; the table of units in NWB is empty."]


def _columns_without_values(units: DeliveredUnits) -> list[str]:
    """Columns that NWB's inspector wants left out."""
    if len(units) == 0:
        return []
    return [name for name, values in plain_columns(units.table).items() if _all_missing(values)]


def _all_missing(values: np.ndarray) -> bool:
    if values.dtype.kind == "f":
        return bool(np.isnan(values).all())
    return values.dtype.kind == "U" and not np.any(values != "")


def _file(units: DeliveredUnits, facts: Facts, identifier: str) -> NWBFile:
    from pynwb import NWBFile

    session: dict[str, Any] = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in facts.session.model_dump(exclude={"electrode_location"}).items()
        if value is not None
    }
    notes: list[str] = [session["notes"]] if "notes" in session else []
    notes.append(f"Delivered by sort_assets: the spike-sorted units of '{units.name}'.")
    notes += [f"Absent: {words}" for words in absent_from_nwb(units, facts)]
    return NWBFile(
        **session
        | {
            "session_description": session.get(
                "session_description", f"Recording '{units.name}'; what was done in the session is not known."
            ),
            "session_start_time": facts.start_time,
            "notes": "\n".join(
                [
                    *notes,
                    *units.missing_parts,
                    *units.clock_doubts,
                    *units.missed_groups,
                    *left_out_of_nwb(units),
                ]
            ),
        },
        timestamps_reference_time=facts.reference_time(units.start_time_s),
        identifier=identifier,
        was_generated_by=[["sort_assets", version("sort-assets")], ["spikeinterface", version("spikeinterface")]],
    )


def _add_subject(nwbfile: NWBFile, facts: Facts) -> None:
    from pynwb.file import Subject

    known: dict[str, Any] = facts.subject.model_dump(exclude_none=True)
    if not known:
        return
    if "date_of_birth" in known:
        # The field holds a time, and a birth date has no time zone of its own.
        known["date_of_birth"] = datetime.combine(known["date_of_birth"], time(), tzinfo=facts.start_time.tzinfo or UTC)
    nwbfile.subject = Subject(**known)


def _add_electrodes(nwbfile: NWBFile, units: DeliveredUnits, facts: Facts) -> None:
    from pynwb.device import DeviceModel

    electrodes = units.electrodes
    areas = electrodes.brain_areas
    if areas is None:
        areas = np.full(len(electrodes.channel_ids), facts.session.electrode_location or UNKNOWN_AREA)
    devices = []
    for probe in electrodes.probes:
        details: dict[str, Any] = {}
        if probe.model is not None:
            details["model"] = nwbfile.device_models.get(_nwb_name(probe.model)) or DeviceModel(
                name=_nwb_name(probe.model), manufacturer=probe.manufacturer or "not known", description="Probe."
            )
            if details["model"].parent is None:
                nwbfile.add_device_model(details["model"])
        if probe.serial_number is not None:
            details["serial_number"] = probe.serial_number
        device = nwbfile.create_device(
            name=_nwb_name(probe.name), description="Probe that the units were recorded with.", **details
        )
        devices.append(device)
    groups: dict[tuple[int, str], Any] = {}
    nwbfile.add_electrode_column(name="channel_name", description="Id of the channel in the recording.")
    for index, channel_id in enumerate(electrodes.channel_ids):
        key = (int(electrodes.probe_index[index]), str(electrodes.groups[index]))
        if key not in groups:
            its_areas = np.unique(areas[(electrodes.probe_index == key[0]) & (electrodes.groups == key[1])])
            name = key[1] if len(devices) == 1 else f"{devices[key[0]].name} {key[1]}"
            groups[key] = nwbfile.create_electrode_group(
                name=_nwb_name(f"group {name}" if name.isdigit() else name),
                description="Channels of one shank, tetrode or array.",
                location=", ".join(its_areas),
                device=devices[key[0]],
            )
        position = {}
        if electrodes.positions_um is not None:
            axes = zip(("rel_x", "rel_y", "rel_z"), electrodes.positions_um[index], strict=False)
            position = {axis: float(value) for axis, value in axes}
        nwbfile.add_electrode(group=groups[key], location=str(areas[index]), channel_name=str(channel_id), **position)


def _units_table(nwbfile: NWBFile, units: DeliveredUnits) -> Units:
    from pynwb.misc import Units

    waveforms = units.waveforms
    details: dict[str, Any] = {}
    if waveforms is not None:
        details["waveform_rate"] = units.sampling_frequency
        details["waveform_time_before_peak_in_ms"] = 1e3 * waveforms.num_before / units.sampling_frequency
    return Units(
        name="units",
        description=f"Units of '{units.name}', found by a spike sorter and curated. Metrics are those of the whole "
        f"recording. {MISSING_VALUES}",
        id=units.unit_ids.astype(int) if units.ids_are_numbers else np.arange(len(units)),
        resolution=1 / units.sampling_frequency,
        columns=list(_columns(nwbfile, units)),
        electrode_table=nwbfile.electrodes,
        **details,
    )


def _columns(nwbfile: NWBFile, units: DeliveredUnits) -> Iterator[VectorData]:
    from hdmf.common import DynamicTableRegion, VectorData
    from pynwb import H5DataIO

    if not units.ids_are_numbers:
        names = _writable(units.unit_ids.astype(str))
        yield VectorData(name="unit_name", description="Id of the unit in the sorting.", data=names)
    times = VectorData(
        name="spike_times",
        description="Times of the spikes in seconds.",
        data=H5DataIO(np.concatenate([np.zeros(0), *units.spike_times_s]), compression=_COMPRESSION),
    )
    yield from _ragged(times, [len(train) for train in units.spike_times_s])
    if units.num_at_joins:
        marks = VectorData(
            name="spike_at_join",
            description="Whether the waveform of a spike reaches over a gap in the recording or into another file.",
            data=H5DataIO(np.concatenate(units.spike_at_join), compression=_COMPRESSION),
        )
        yield from _ragged(marks, [len(train) for train in units.spike_at_join])
    intervals = units.clock.intervals_s()
    observed = VectorData(
        name="obs_intervals",
        description="Intervals in seconds in which spikes were looked for: the whole recording or file, without gaps.",
        data=np.tile(intervals, (len(units), 1)),
    )
    yield from _ragged(observed, [len(intervals)] * len(units))
    counts = units.channels.sum(axis=1)
    region = DynamicTableRegion(
        name="electrodes",
        description="Electrodes of the unit: those near its largest amplitude.",
        data=np.nonzero(units.channels)[1],
        table=nwbfile.electrodes,
    )
    yield from _ragged(region, counts)
    if units.waveforms is not None:
        for name, microvolts, what in (
            ("waveform_mean", units.waveforms.average_uv, "Average waveform"),
            ("waveform_sd", units.waveforms.deviation_uv, "Standard deviation of the waveforms"),
        ):
            yield VectorData(
                name=name,
                description=f"{what} in volts, samples x electrodes, in the order of the unit's electrodes; NaN after "
                "the last of them.",
                data=H5DataIO(1e-6 * _on_own_channels(microvolts, units.channels), compression=_COMPRESSION),
            )
    left_out = _columns_without_values(units)
    for name, values in plain_columns(units.table).items():
        if name not in left_out:
            yield VectorData(name=_nwb_name(name), description=units.describe(name), data=_writable(values))


def _writable(values: np.ndarray) -> Any:
    """Text as pynwb takes it: a list, or an empty array of bytes, as an empty list has no type."""
    if values.dtype.kind != "U":
        return values
    return values.tolist() if len(values) else values.astype("S1")


def _ragged(target: VectorData, counts: Any) -> Iterator[VectorData]:
    from hdmf.common import VectorIndex

    yield target
    yield VectorIndex(name=f"{target.name}_index", target=target, data=np.cumsum(counts, dtype="uint64"))


def _on_own_channels(microvolts: np.ndarray, channels: np.ndarray) -> np.ndarray:
    """Waveforms on each unit's own channels, shape (units, samples, most channels of a unit), NaN after the last."""
    most = int(channels.sum(axis=1).max(initial=0))
    own = np.full((*microvolts.shape[:2], most), np.nan, dtype="float32")
    for unit, mask in enumerate(channels):
        own[unit, :, : mask.sum()] = microvolts[unit][:, mask]
    return own


def _nwb_name(text: str) -> str:
    """A name that NWB takes: without slashes and colons."""
    return text.replace("/", "_").replace(":", "_").replace("\\", "_")
