"""Units as pynapple's `TsGroup`, with metrics and decisions as its metadata."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sort_assets.exports.arrays import plain_ids, save_plain
from sort_assets.exports.plain_table import plain_columns
from sort_assets.exports.units import DeliveredUnits
from sort_assets.recordings.joins import SPIKES_AT_JOINS

_RESERVED = frozenset({"t", "d", "start", "end", "index", "keys", "type", "rate", "_metadata"})
"""Keys of pynapple's own, which metadata can't have."""


def write_pynapple(units: DeliveredUnits, path: Path) -> None:
    """Write units as an npz file that `pynapple.load_file` reads as a `TsGroup`.

    The keys of the group are the unit ids where those are numbers, and 0, 1, 2, … otherwise; `unit_id` is in the
    metadata in any case. The time support is the whole recording or file. `spikes_at_joins` counts the spikes of a unit
    whose waveform reaches over a gap or into another file; in the npz file itself, `spike_at_join` marks them in the
    order of `t`.

    The file has the layout that pynapple documents for `TsGroup.save`, with a key for each column of the metadata. That
    function itself stores metadata as a pickle (0.11.4), which can run code when it is read.
    """
    # In the order of the keys, in which pynapple takes the metadata to be.
    keys = group_keys(units)
    by_key = np.argsort(keys, kind="stable")
    trains = [units.spike_times_s[unit] for unit in by_key]
    times = np.concatenate([np.zeros(0), *trains])
    in_time = np.argsort(times, kind="stable")
    metadata = {
        "unit_id": plain_ids(units.unit_ids),
        **plain_columns(units.table),
        SPIKES_AT_JOINS: np.array([marks.sum() for marks in units.spike_at_join], dtype="int64"),
    }
    marks = np.concatenate([np.zeros(0, dtype=bool), *(units.spike_at_join[unit] for unit in by_key)])
    save_plain(
        path,
        type=np.array(["TsGroup"]),
        t=times[in_time],
        index=np.repeat(keys[by_key], [len(train) for train in trains])[in_time],
        keys=keys[by_key],
        start=units.clock.intervals_s()[:, 0],
        end=units.clock.intervals_s()[:, 1],
        spike_at_join=marks[in_time],
        **{f"{name}_" if name in _RESERVED else name: values[by_key] for name, values in metadata.items()},
    )


def group_keys(units: DeliveredUnits) -> np.ndarray:
    """Keys of the units in the group, whole numbers, shape (units,)."""
    return plain_ids(units.unit_ids) if units.ids_are_numbers else np.arange(len(units))
