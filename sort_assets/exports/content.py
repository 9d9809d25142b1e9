"""A name for what is delivered that is the same whenever the content is: NWB's identifier, and the data version."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np

from sort_assets.exports.arrays import plain_ids
from sort_assets.exports.plain_table import plain_columns

if TYPE_CHECKING:
    from sort_assets.exports.session import Facts
    from sort_assets.exports.units import DeliveredUnits


def content_hash(units: DeliveredUnits, facts: Facts) -> str:
    """Hash of units and facts. Files themselves differ from run to run: NWB and MATLAB note when they were written."""
    electrodes, waveforms = units.electrodes, units.waveforms
    plain = {
        "name": units.name,
        "sampling_frequency": units.sampling_frequency,
        "num_samples": units.num_samples,
        "clock": units.clock.to_dict(),
        "probes": [vars(probe) for probe in electrodes.probes],
        "session": facts.session.model_dump(mode="json"),
        "subject": facts.subject.model_dump(mode="json"),
        "absent": facts.absent,
        "reference_time": str(facts.reference_time(units.start_time_s)),
    }
    if units.missing_parts:
        plain["missing_parts"] = units.missing_parts
    if units.clock_doubts:
        plain["clock_doubts"] = units.clock_doubts
    if units.missed_groups:
        plain["missed_groups"] = units.missed_groups
    arrays = {f"spikes {index}": train for index, train in enumerate(units.spike_samples)}
    if units.num_at_joins:
        arrays |= {f"at joins {index}": marks for index, marks in enumerate(units.spike_at_join)}
    arrays |= {f"column {name}": _rounded(values) for name, values in plain_columns(units.table).items()}
    arrays |= {
        "unit_ids": plain_ids(units.unit_ids),
        "channels": units.channels,
        "channel_ids": plain_ids(electrodes.channel_ids),
        "groups": electrodes.groups,
        "probe_index": electrodes.probe_index,
    }
    optional = {"positions": electrodes.positions_um, "areas": electrodes.brain_areas}
    if waveforms is not None:
        optional |= {"average": waveforms.average_uv, "deviation": waveforms.deviation_uv}
    arrays |= {name: array for name, array in optional.items() if array is not None}
    digest = hashlib.blake2b(json.dumps(plain, sort_keys=True).encode(), digest_size=16)
    for name, array in arrays.items():
        digest.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _rounded(values: np.ndarray) -> np.ndarray:
    """Numbers as text of six digits: the same metric differs in its last digits from one machine to another."""
    return np.asarray([f"{value:.6g}" for value in values], dtype=str) if values.dtype.kind == "f" else values
