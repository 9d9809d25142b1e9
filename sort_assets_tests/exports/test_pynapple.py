"""`TsGroup`s as pynapple reads them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pynapple as nap
import pytest

from sort_assets.exports.pynapple import write_pynapple
from sort_assets.metrics.columns import UNIT_METRICS
from sort_assets_tests.exports.conftest import START_S, Sorted


def test_pynapple_reads_the_spike_times_that_were_put_in(sorted_units: Sorted, tmp_path: Path) -> None:
    units = sorted_units.units()

    write_pynapple(units, tmp_path / "units.npz")

    group = nap.load_file(tmp_path / "units.npz")
    assert isinstance(group, nap.TsGroup)
    assert sorted(group.keys()) == sorted(units.unit_ids)
    for unit_id, times in zip(units.unit_ids, units.spike_times_s, strict=True):
        # pynapple rounds times to nanoseconds.
        np.testing.assert_allclose(group[unit_id].t, times, rtol=0, atol=1e-9)
    assert group.time_support.values.tolist() == [[START_S, START_S + 10.0]]


def test_metadata_belongs_to_its_unit(sorted_units: Sorted, tmp_path: Path) -> None:
    units = sorted_units.units(include_failed_units=True)

    write_pynapple(units, tmp_path / "units.npz")

    group = nap.load_file(tmp_path / "units.npz")
    for unit_id in units.unit_ids:
        assert group.get_info("unit_id")[unit_id] == unit_id
        assert group.get_info("snr")[unit_id] == units.table.loc[str(unit_id), "snr"]
        assert group.get_info("label")[unit_id] == units.table.loc[str(unit_id), "label"]
    assert set(units.table.columns) <= set(group.metadata_columns)


def test_the_file_needs_no_pickle(sorted_units: Sorted, tmp_path: Path) -> None:
    write_pynapple(sorted_units.units(), tmp_path / "units.npz")

    with np.load(tmp_path / "units.npz", allow_pickle=False) as data:
        assert not any(data[key].dtype.hasobject for key in data.files)


def test_text_ids_are_in_the_metadata(renamed: Sorted, tmp_path: Path) -> None:
    write_pynapple(renamed.units(), tmp_path / "units.npz")

    group = nap.load_file(tmp_path / "units.npz")
    assert list(group.keys()) == [0, 1, 2, 3, 4, 5, 6]
    assert list(group.get_info("unit_id")) == ["00", "02", "03", "04", "05", "06", "07"]


@pytest.mark.parametrize(("name", "count"), [("no_units", 0), ("one_channel", 1)])
def test_no_unit_and_one_unit(name: str, count: int, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    recording: Sorted = request.getfixturevalue(name)

    write_pynapple(recording.units(), tmp_path / "units.npz")

    group = nap.load_file(tmp_path / "units.npz")
    assert len(group) == count
    assert group.time_support.values.tolist() == [[START_S, START_S + 10.0]]


def test_every_metric_s_name_is_taken_as_metadata(one_channel: Sorted, tmp_path: Path) -> None:
    units = one_channel.units()
    table = units.table.assign(**{column.name: 1.0 for column in UNIT_METRICS}, rate=2.0)

    write_pynapple(replace(units, table=table), tmp_path / "units.npz")

    group = nap.load_file(tmp_path / "units.npz")
    assert {column.name for column in UNIT_METRICS} <= set(group.metadata_columns)
    assert group.get_info("rate_")[4] == 2.0
