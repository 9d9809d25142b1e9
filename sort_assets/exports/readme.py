"""The README.txt of a delivery: what each file is, how to read it, and what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sort_assets.exports.arrays import MAT_LAYOUT, NPZ_LAYOUT
from sort_assets.exports.plain_table import MISSING_VALUES
from sort_assets.exports.session import NOT_KNOWN, Facts
from sort_assets.exports.units import DeliveredUnits

_WHAT = {
    "nwb": "Neurodata Without Borders: units with waveforms, metrics and decisions, electrodes, session and subject",
    "npz": "plain numpy arrays",
    "mat": "MATLAB structures (version 5)",
    "phy": "a folder for Phy",
    "pynapple": "pynapple's TsGroup, with metrics and decisions as metadata",
}
_HOW = {
    "nwb": (
        "Python:  from pynwb import NWBHDF5IO",
        "         units = NWBHDF5IO('{file}', 'r').read().units.to_dataframe()",
        "MATLAB:  nwb = nwbRead('{file}');   % MatNWB",
        "         times = nwb.units.getRow(1).spike_times{{1}};",
    ),
    "npz": (
        "Python:  import numpy as np; data = np.load('{file}')",
        "         times = data['spike_times_s'][data['spike_unit_index'] == 0]   # of the first unit",
    ),
    "mat": (
        "MATLAB:  data = load('{file}');",
        "         times = data.units(1).spike_times_s;   metrics = struct2table(data.metrics);",
        "Python:  from scipy.io import loadmat; data = loadmat('{file}', simplify_cells=True)",
        "         times = data['units'][0]['spike_times_s']",
    ),
    "phy": (
        "Shell:   phy template-gui {file}/params.py",
        "Python:  from spikeinterface.extractors import read_phy; sorting = read_phy('{file}')",
    ),
    "pynapple": (
        "Python:  import pynapple as nap; units = nap.load_file('{file}')",
        "         times = units[units.keys()[0]].t",
    ),
}
_INTERVALS_SHOWN = 20
_LAYOUTS: Mapping[str, Mapping[str, str]] = {"npz": NPZ_LAYOUT, "mat": MAT_LAYOUT}


def readme_text(
    units: DeliveredUnits,
    parts: Sequence[DeliveredUnits],
    facts: Facts,
    files: Iterable[tuple[str, str, int]],
    *,
    absent: Sequence[str],
    notes: Sequence[str],
) -> str:
    """The text.

    Parameters
    ----------
    units : DeliveredUnits
        Of the whole recording.
    parts : sequence of DeliveredUnits
        What is delivered: the whole, or each file of it.
    facts : Facts
        Of the whole recording.
    files : iterable of (format, name, units)
        What was written, with the name of the file in the folder and how many units are in it.
    absent : sequence of str
        Sentences on what is missing.
    notes : sequence of str
        What else a reader should know.
    """
    files = list(files)
    lines = [
        f"Units of the recording '{units.name}'",
        "",
        f"{len(units)} units, {units.num_spikes} spikes, {units.duration_s:.3f} s at {units.sampling_frequency:g} "
        "samples per second.",
        *_times(units, parts),
        "Metrics and decisions are those of the whole recording. " + MISSING_VALUES,
    ]
    for format_name in dict.fromkeys(format_name for format_name, _, _ in files):
        its_files = [(name, count) for each, name, count in files if each == format_name]
        lines += ["", f"{format_name}: {_WHAT[format_name]}"]
        lines += [f"  {name}  ({count} units)" for name, count in its_files]
        lines += [f"  {line.format(file=its_files[0][0])}" for line in _HOW[format_name]]
        layout = _LAYOUTS.get(format_name, {})
        lines += [f"    {key}: {what}" for key, what in layout.items()]
    lines += ["", "What is known about session and subject"]
    lines += [f"  {words}" for words in _known(facts)]
    lines += ["", "What is missing"]
    lines += [f"  {words}" for words in [*_not_sorted(units), *absent]] or ["  Nothing."]
    if notes:
        lines += ["", "Notes", *(f"  {words}" for words in notes)]
    lines += [
        "",
        "State facts about session and subject in sort_assets.yaml, or in a file beside the recording, under",
        "session: and subject:. They appear in the files after the next delivery.",
        "",
    ]
    return "\n".join(lines)


def _not_sorted(units: DeliveredUnits) -> list[str]:
    lines: list[str] = []
    if units.missing_parts:
        lines.append("The recording is not whole; what is there was sorted (recording.accept_incomplete):")
        lines += units.missing_parts
    if units.missed_groups:
        lines.append("Units of some groups of channels: the sorter missed their spikes.")
        lines += units.missed_groups
    return lines


def _times(units: DeliveredUnits, parts: Sequence[DeliveredUnits]) -> list[str]:
    if len(parts) == 1:
        (whole,) = parts
        return ["Times are in seconds on the recording's own clock.", *_clock(whole), *_doubts(units), *_joins(units)]
    lines = [f"It consists of {len(parts)} files. Each is delivered separately, in seconds on its own clock:"]
    for part in parts:
        lines.append(f"  {part.name}: {part.duration_s:.3f} s, {part.num_spikes} spikes")
        lines += [f"    {line}" for line in _clock(part)]
    return [*lines, *_doubts(units), *_joins(units)]


def _clock(units: DeliveredUnits) -> list[str]:
    """What the clock is, in how far it differs from the nominal one, and its gaps."""
    clock = units.clock
    lines = [
        f"The first sample is at {clock.start_time_s:.6f} s. The clock is that of the file's {clock.source}: "
        f"{clock.rate_hz:.6f} samples per second ({clock.against_nominal})."
    ]
    lines += clock.caveats
    intervals = clock.intervals_s()
    if len(intervals) > 1:
        lines.append(f"There are {len(intervals)} stretches with gaps between them, in seconds:")
        lines += [f"  {start:.6f} to {end:.6f}" for start, end in intervals[:_INTERVALS_SHOWN]]
        if len(intervals) > _INTERVALS_SHOWN:
            lines.append(f"  … and {len(intervals) - _INTERVALS_SHOWN} more; the npz file has all.")
    return lines


def _doubts(units: DeliveredUnits) -> list[str]:
    return ["What is doubtful about the times:", *(f"  {doubt}" for doubt in units.clock_doubts)] * bool(
        units.clock_doubts
    )


def _joins(units: DeliveredUnits) -> list[str]:
    """How many spikes lie where pieces of the recording meet."""
    if not units.clock.joins:
        return []
    return [
        f"{units.num_at_joins} of {units.num_spikes} spikes are at joins: their waveform reaches over a gap or from "
        "one file into the next, and is not to be trusted. spike_at_join marks them (npz, mat, NWB, and in pynapple's "
        "file an array in the order of t)."
    ]


def _known(facts: Facts) -> list[str]:
    lines = []
    for part, section in (("session", facts.session), ("subject", facts.subject)):
        for name, value in section.model_dump(mode="json", exclude_none=True).items():
            origin = facts.origins.get(f"{part}.{name}", NOT_KNOWN)
            text = ", ".join(map(str, value)) if isinstance(value, list) else value
            lines.append(f"{part}.{name}: {text} ({origin})")
    return lines
