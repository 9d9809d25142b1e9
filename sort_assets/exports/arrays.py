"""Units as plain arrays: for numpy (npz) and for MATLAB (mat).

Both hold the same; `NPZ_LAYOUT` and `MAT_LAYOUT` say what is where.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from sort_assets.errors import ConfigError
from sort_assets.exports.plain_table import plain_columns
from sort_assets.exports.units import DeliveredUnits

NPZ_LAYOUT = {
    "name": "name of the recording or file",
    "unit_ids": "ids of the units, numbers or text, shape (units,)",
    "spike_samples": "samples of all spikes, counted from 0, one unit after the other, shape (spikes,)",
    "spike_times_s": "the same in seconds",
    "spike_at_join": "whether a spike's waveform reaches over a gap or into another file, shape (spikes,)",
    "spike_unit_index": "which unit each spike is of: an index into unit_ids, shape (spikes,)",
    "sampling_frequency_hz": "samples per second",
    "num_samples": "length of the recording or file in samples",
    "start_time_s": "time of sample 0 in spike_times_s",
    "file_start_time_s": "the same, for scripts that read it in files of version 0.1.0",
    "clock_rate_hz": "samples per second of the recording's own clock",
    "clock_intervals_s": "start and end of each stretch without a gap, (stretches, 2)",
    "table": "metrics and decisions, a structured array with a field per column, shape (units,)",
    "channel_ids": "ids of the channels, shape (channels,)",
    "channel_positions_um": "positions in micrometres, shape (channels, 2 or 3); (0, 2) when not known",
    "channel_groups": "shank or tetrode of each channel, shape (channels,)",
    "unit_channels": "whether a channel is one of the unit's, shape (units, channels)",
    "waveform_average_uv": "average waveforms in microvolts, shape (units, samples, channels); (0, 0, 0) when absent",
    "waveform_deviation_uv": "standard deviations of the waveforms, as waveform_average_uv",
    "waveform_samples_before": "samples of the waveforms before the spike's own sample",
}
"""What is in the npz file, by key. Every file has every key."""

MAT_LAYOUT = {
    "recording": "struct: name, sampling_frequency_hz, num_samples, start_time_s, file_start_time_s, clock_rate_hz, "
    "clock_intervals_s",
    "units": "struct array, one per unit: unit_id, spike_samples (counted from 0), spike_times_s, spike_at_join",
    "metrics": "struct array, one per unit: unit_id and the columns of metrics and decisions",
    "channels": "struct: ids, positions_um, groups",
    "waveforms": "struct: average_uv and deviation_uv (units x samples x channels), samples_before, unit_channels",
}
"""What is in the mat file, by variable."""

_NO_FIELD_CHARACTER = re.compile(r"[^0-9A-Za-z_]")
_LONGEST_FIELD = 63
_LARGEST_MAT_VARIABLE = 2**31
"""Bytes; MATLAB's version 5 files hold no larger array."""


def write_npz(units: DeliveredUnits, path: Path) -> None:
    """Write units as a compressed npz file, which `numpy.load(path)` reads without pickle; see `NPZ_LAYOUT`."""
    electrodes, waveforms = units.electrodes, units.waveforms
    no_waveforms = np.zeros((0, 0, 0), dtype="float32")
    save_plain(
        path,
        name=np.asarray(units.name),
        unit_ids=plain_ids(units.unit_ids),
        spike_samples=_joined(units.spike_samples, "int64"),
        spike_times_s=_joined(units.spike_times_s, "float64"),
        spike_at_join=_joined(units.spike_at_join, "bool"),
        spike_unit_index=np.repeat(np.arange(len(units)), [len(train) for train in units.spike_samples]),
        sampling_frequency_hz=np.asarray(units.sampling_frequency),
        num_samples=np.asarray(units.num_samples),
        start_time_s=np.asarray(units.start_time_s),
        file_start_time_s=np.asarray(units.start_time_s),
        clock_rate_hz=np.asarray(units.clock.rate_hz),
        clock_intervals_s=units.clock.intervals_s(),
        table=_structured(plain_columns(units.table), len(units)),
        channel_ids=plain_ids(electrodes.channel_ids),
        channel_positions_um=np.zeros((0, 2)) if electrodes.positions_um is None else electrodes.positions_um,
        channel_groups=electrodes.groups,
        unit_channels=units.channels,
        waveform_average_uv=no_waveforms if waveforms is None else waveforms.average_uv,
        waveform_deviation_uv=no_waveforms if waveforms is None else waveforms.deviation_uv,
        waveform_samples_before=np.asarray(0 if waveforms is None else waveforms.num_before),
    )


def save_plain(path: Path, **arrays: np.ndarray) -> None:
    """Write arrays as a compressed npz file that is read without pickle.

    Raises
    ------
    TypeError
        When one of them holds Python objects, which numpy would pickle.
    """
    objects = [name for name, array in arrays.items() if array.dtype.hasobject]
    if objects:
        raise TypeError(f"{', '.join(objects)} hold Python objects, not plain values.")
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def write_mat(units: DeliveredUnits, path: Path) -> None:
    """Write units for MATLAB, in its version 5 format; see `MAT_LAYOUT`. Numbers are doubles, as MATLAB's own are.

    Raises
    ------
    ConfigError
        When the waveforms are too large for the format.
    """
    from scipy.io import savemat

    electrodes, waveforms = units.electrodes, units.waveforms
    if waveforms is not None and waveforms.average_uv.nbytes >= _LARGEST_MAT_VARIABLE:
        raise ConfigError(
            f"The waveforms of '{units.name}' take {waveforms.average_uv.nbytes / 1e9:.1f} GB, and a .mat file of "
            "version 5 holds arrays of at most 2 GB.",
            remedy="Set delivery.waveforms to false, or leave mat out of delivery.formats.",
        )
    ids = [_matlab_id(unit_id) for unit_id in units.unit_ids]
    trains = [
        (unit_id, samples.astype(float), times, marks)
        for unit_id, samples, times, marks in zip(
            ids, units.spike_samples, units.spike_times_s, units.spike_at_join, strict=True
        )
    ]
    fields = matlab_fields(list(units.table.columns))
    columns = [[_matlab_value(value) for value in values] for values in plain_columns(units.table).values()]
    contents = {
        "recording": {
            "name": units.name,
            "sampling_frequency_hz": units.sampling_frequency,
            "num_samples": float(units.num_samples),
            "start_time_s": units.start_time_s,
            "file_start_time_s": units.start_time_s,
            "clock_rate_hz": units.clock.rate_hz,
            "clock_intervals_s": units.clock.intervals_s(),
        },
        "units": _struct_array(["unit_id", "spike_samples", "spike_times_s", "spike_at_join"], trains),
        "metrics": _struct_array(["unit_id", *fields], list(zip(ids, *columns, strict=True))),
        "channels": {
            "ids": _matlab_texts(electrodes.channel_ids),
            "positions_um": np.zeros((0, 2)) if electrodes.positions_um is None else electrodes.positions_um,
            "groups": _matlab_texts(electrodes.groups),
        },
        "waveforms": {
            "average_uv": np.zeros((0, 0, 0)) if waveforms is None else waveforms.average_uv,
            "deviation_uv": np.zeros((0, 0, 0)) if waveforms is None else waveforms.deviation_uv,
            "samples_before": 0.0 if waveforms is None else float(waveforms.num_before),
            "unit_channels": units.channels,
        },
    }
    savemat(path, contents, format="5", long_field_names=True, do_compression=True, oned_as="column")


def plain_ids(ids: np.ndarray) -> np.ndarray:
    """Ids as whole numbers or as text, never as Python objects."""
    return ids.astype("int64") if np.issubdtype(ids.dtype, np.integer) else ids.astype(str)


def matlab_fields(names: list[str]) -> list[str]:
    """Names that MATLAB takes for fields of a struct, each once: letters, digits and underscores, a letter first."""
    fields: list[str] = []
    for name in names:
        field = _NO_FIELD_CHARACTER.sub("_", name)
        field = (field if field[:1].isalpha() else f"x_{field}")[:_LONGEST_FIELD]
        number = 1
        unique = field
        while unique in (*fields, "unit_id"):
            number += 1
            unique = f"{field[: _LONGEST_FIELD - 4]}_{number}"
        fields.append(unique)
    return fields


def _joined(trains: tuple[np.ndarray, ...], dtype: str) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype=dtype), *trains])


def _structured(columns: dict[str, np.ndarray], num_rows: int) -> np.ndarray:
    table = np.zeros(num_rows, dtype=[(name, values.dtype) for name, values in columns.items()])
    for name, values in columns.items():
        table[name] = values
    return table


def _struct_array(fields: list[str], rows: list[tuple[Any, ...]]) -> np.ndarray:
    structs = np.empty((1, len(rows)), dtype=[(field, object) for field in fields])
    for index, row in enumerate(rows):
        structs[0, index] = row
    return structs


def _matlab_id(unit_id: Any) -> float | str:
    return float(unit_id) if isinstance(unit_id, int | np.integer) else str(unit_id)


def _matlab_value(value: Any) -> Any:
    if isinstance(value, np.bool_):
        return bool(value)
    return str(value) if isinstance(value, str) else float(value)


def _matlab_texts(values: np.ndarray) -> np.ndarray:
    """A cell array of texts."""
    cells = np.empty((len(values), 1), dtype=object)
    cells[:, 0] = [str(value) for value in values]
    return cells
