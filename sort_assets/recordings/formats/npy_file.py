"""Numpy's files of one value for each sample, which may be longer or shorter than their headers say."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from sort_assets.recordings.completeness import Missing
from sort_assets.recordings.formats.reading import readable


def map_npy(path: Path, missing: Missing) -> np.ndarray | None:
    """A file of one value for each sample, memory-mapped; None where it is not there.

    As many as the file's size says: after a crash, its header has an earlier count.
    """
    if not path.is_file():
        return None
    if path.stat().st_size == 0:
        missing.note(f"'{path}' is empty.")
        return np.zeros(0)
    with readable(path), path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        if len(shape) == 0 or math.prod(shape[1:]) != 1 or dtype.hasobject:
            raise ValueError(f"it holds {dtype} of shape {shape}")
        start = file.tell()
        count = (path.stat().st_size - start) // dtype.itemsize
        if count < shape[0]:
            missing.note(f"'{path}' is truncated: it has {count} of {shape[0]} values.")
        if count == 0:  # which can't be memory-mapped
            return np.zeros(0, dtype)
        return np.memmap(path, dtype, mode="r", offset=start, shape=(count,))
