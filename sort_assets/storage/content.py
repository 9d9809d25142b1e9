"""Content hashes: Dagster's data versions. Equal content makes nothing downstream stale."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
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
