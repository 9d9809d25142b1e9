from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from sort_assets.recordings.formats.hdf5_values import quick_values

SAMPLES = 10_250
TIMES = 12.5 + np.arange(SAMPLES) / 30_001.3


@pytest.mark.parametrize("storage", [{}, {"shuffle": True}, {"fletcher32": True}, {"compression": "lzf"}], ids=str)
def test_values_are_those_of_hdf5_whatever_part_is_read(storage: dict[str, Any], tmp_path: Path) -> None:
    with h5py.File(tmp_path / "values.h5", "w") as file:
        stored = {"chunks": (1000,), "compression": "gzip", **storage}
        dataset = file.create_dataset("times", data=TIMES, **stored)

        with quick_values(dataset) as values:
            assert (len(values), values.shape, values.dtype, values.ndim) == (SAMPLES, (SAMPLES,), TIMES.dtype, 1)
            for start, end in ((0, 700), (700, 2500), (9000, SAMPLES + 5), (10, 20), (0, SAMPLES), (5, 5)):
                np.testing.assert_array_equal(values[start:end], TIMES[start:end])
            assert values[0] == TIMES[0]


def test_values_that_were_never_written_are_what_hdf5_says(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "values.h5", "w") as file:
        dataset = file.create_dataset("numbers", (5000,), "u8", chunks=(1000,), compression="gzip", fillvalue=7)
        dataset[3000:] = np.arange(2000)

        with quick_values(dataset) as values:
            np.testing.assert_array_equal(values[:], dataset[:])
