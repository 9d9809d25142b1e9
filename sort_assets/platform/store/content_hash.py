"""Content hashes: Dagster's data versions. Equal content makes nothing downstream stale."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from spikeinterface.core import BaseSorting, SortingAnalyzer


def hash_json(content: Mapping[str, Any]) -> str:
    """Hash of plain values. The order of keys counts: the order of preprocessing steps is part of what they do."""
    return hashlib.blake2b(json.dumps(content).encode(), digest_size=16).hexdigest()


def hash_arrays(**arrays: np.ndarray) -> str:
    """Hash of the names, types, shapes and values of arrays."""
    import numpy as np

    digest = hashlib.blake2b(digest_size=16)
    for name, array in arrays.items():
        digest.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def hash_sorting(sorting: BaseSorting) -> str:
    """Hash of the spike trains and unit ids."""
    spikes = sorting.to_spike_vector()
    return hash_arrays(
        units=sorting.unit_ids.astype(str),
        samples=spikes["sample_index"].astype("int64"),
        unit_of_spike=spikes["unit_index"].astype("int64"),
    )


def hash_analyzer(analyzer: SortingAnalyzer) -> str:
    """Hash of the average templates and of which spikes were taken."""
    return hash_arrays(
        units=analyzer.unit_ids.astype(str),
        templates=analyzer.get_extension("templates").get_data(),
        spikes=analyzer.get_extension("random_spikes").get_data(),
    )


def hash_table(table: pd.DataFrame) -> str:
    """Hash of the names, types and values of a table with its index; rounding beyond 6 digits does not count.

    The same metric differs in its last digits from one machine, or number of workers, to another.
    """
    import numpy as np

    columns = {}
    for name in table.columns:
        values = table[name]
        if values.dtype.kind == "f":
            columns[str(name)] = np.array([f"{value:.6g}" for value in values], dtype=str)
        else:
            columns[str(name)] = values.astype(str).to_numpy(str)
    return hash_arrays(index=table.index.to_numpy(str), **columns)
