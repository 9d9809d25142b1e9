"""The sortings that a comparison is about."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from pynwb import NWBHDF5IO, NWBFile
from spikeinterface.core import NumpySorting

from sort_assets.comparisons.sortings import ComparedSorting, compare_sortings
from sort_assets.platform.pipeline.compared_sortings import Compared, ComparedPair, units_in_file


def nwb_with_units(path: Path, *trains_s: np.ndarray) -> Path:
    file = NWBFile("known units", "1", datetime(2024, 1, 1, tzinfo=UTC))
    for train in trains_s:
        file.add_unit(spike_times=train)
    with NWBHDF5IO(path, "w") as io:
        io.write(file)
    return path


@pytest.mark.parametrize("first_s", [0.0, 10.0])
def test_known_units_of_a_file_are_read_with_the_times_of_its_clock(tmp_path: Path, first_s: float) -> None:
    times_s = first_s + np.array([0.1, 0.2, 0.35])

    units = units_in_file(nwb_with_units(tmp_path / "day.nwb", times_s, times_s[:1]), 30_000.0)

    assert units is not None
    assert len(units.unit_ids) == 2
    frames = units.get_unit_spike_train(units.unit_ids[0], segment_index=0)
    assert units.sample_index_to_time(frames, segment_index=0) == pytest.approx(times_s)
    assert units.sample_index_to_time(0, segment_index=0) == 0


def test_a_file_without_units_has_no_known_ones(tmp_path: Path) -> None:
    (tmp_path / "day.dat").touch()

    assert units_in_file(nwb_with_units(tmp_path / "day.nwb"), 30_000.0) is None
    assert units_in_file(tmp_path / "day.dat", 30_000.0) is None


@pytest.mark.parametrize(("kept", "judged", "there"), [(None, 3, 1), (frozenset("12"), 2, 1), (frozenset(), 0, 0)])
def test_a_sorting_is_judged_by_the_units_that_were_kept(kept: frozenset[str] | None, judged: int, there: int) -> None:
    trains = {unit: np.arange(100, 200_000, 997 + int(unit)) for unit in "123"}
    all_units, one_unit = (
        ComparedSorting(NumpySorting.from_unit_dict([units], 30_000.0), 7.0) for units in (trains, {"1": trains["1"]})
    )
    old = Compared("old", all_units, kept, settings={"sorter.params.Th": "9", "a": "1"})
    new = Compared("new", one_unit, settings={"sorter.params.Th": "8", "a": "1"})

    pair = ComparedPair(old, new, compare_sortings(old.units, new.units))

    assert (len(pair.judged), pair.judged_persisting) == (judged, there)
    assert pair.differing_settings == [("sorter.params.Th", "9", "8")]
