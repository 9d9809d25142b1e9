"""Plain arrays as their users see them: through numpy and scipy."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.io import loadmat

from sort_assets.errors import ConfigError
from sort_assets.exports import arrays
from sort_assets.exports.arrays import MAT_LAYOUT, NPZ_LAYOUT, matlab_fields, save_plain, write_mat, write_npz
from sort_assets_tests.exports.conftest import START_S, Sorted


@pytest.mark.parametrize("name", ["sorted_units", "renamed", "no_units", "one_channel"])
def test_every_npz_has_the_documented_keys_and_is_read_without_pickle(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    recording: Sorted = request.getfixturevalue(name)

    write_npz(recording.units(), tmp_path / "units.npz")

    with np.load(tmp_path / "units.npz", allow_pickle=False) as data:
        assert set(data.files) == set(NPZ_LAYOUT)
        assert not any(data[key].dtype.hasobject for key in data.files)


def test_npz_holds_the_spikes_that_were_put_in(sorted_units: Sorted, tmp_path: Path) -> None:
    write_npz(sorted_units.units(), tmp_path / "units.npz")

    data = np.load(tmp_path / "units.npz", allow_pickle=False)
    assert data["unit_ids"].tolist() == [12, 8, 40, 7, 0, 9, 5]
    assert data["num_samples"] == 300_000
    for index, unit_id in enumerate(data["unit_ids"]):
        of_unit = data["spike_unit_index"] == index
        np.testing.assert_array_equal(data["spike_samples"][of_unit], sorted_units.trains[str(unit_id)])
        np.testing.assert_array_equal(data["spike_times_s"][of_unit], START_S + data["spike_samples"][of_unit] / 30_000)


def test_npz_holds_table_positions_and_waveforms(sorted_units: Sorted, tmp_path: Path) -> None:
    units = sorted_units.units()

    write_npz(units, tmp_path / "units.npz")

    data = np.load(tmp_path / "units.npz", allow_pickle=False)
    table = pd.DataFrame(data["table"])
    assert table.columns.tolist() == units.table.columns.tolist()
    assert table["label"].tolist() == ["good"] * 7
    assert table["kept"].all()
    np.testing.assert_array_equal(data["channel_positions_um"], sorted_units.analyzer.get_channel_locations())
    np.testing.assert_array_equal(data["waveform_average_uv"], units.waveforms.average_uv)
    assert data["waveform_samples_before"] == 30


def test_the_same_units_make_the_same_npz(sorted_units: Sorted, tmp_path: Path) -> None:
    for name in ("once.npz", "again.npz"):
        write_npz(sorted_units.units(), tmp_path / name)

    assert (tmp_path / "once.npz").read_bytes() == (tmp_path / "again.npz").read_bytes()


def test_python_objects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="ids hold Python objects"):
        save_plain(tmp_path / "units.npz", ids=np.array(["a", 1], dtype=object))


def test_matlab_reads_the_units_that_were_put_in(sorted_units: Sorted, tmp_path: Path) -> None:
    units = sorted_units.units()

    write_mat(units, tmp_path / "units.mat")

    data = loadmat(tmp_path / "units.mat", simplify_cells=True)
    assert set(MAT_LAYOUT) <= set(data)
    assert data["recording"]["name"] == "mouse 1/day 2.nwb"
    for index, unit in enumerate(data["units"]):
        assert unit["unit_id"] == units.unit_ids[index]
        np.testing.assert_array_equal(np.ravel(unit["spike_samples"]), units.spike_samples[index])
        np.testing.assert_array_equal(np.ravel(unit["spike_times_s"]), units.spike_times_s[index])
    np.testing.assert_array_equal(data["channels"]["positions_um"], units.electrodes.positions_um)
    np.testing.assert_array_equal(data["waveforms"]["average_uv"], units.waveforms.average_uv)


def test_matlab_s_metrics_are_a_struct_per_unit(sorted_units: Sorted, tmp_path: Path) -> None:
    write_mat(sorted_units.units(include_failed_units=True), tmp_path / "units.mat")

    metrics = loadmat(tmp_path / "units.mat", simplify_cells=True)["metrics"]
    assert [each["unit_id"] for each in metrics] == [12, 3, 8, 40, 7, 0, 9, 5]
    assert metrics[1]["label"] == "rejected"
    assert metrics[1]["reason"] == "snr 5.5,\tbelow 6 µV"
    assert metrics[1]["snr"] == 5.5
    assert not metrics[1]["kept"]
    assert np.isnan(metrics[1]["amplitude_cutoff"])


def test_numbers_are_doubles_for_matlab(sorted_units: Sorted, tmp_path: Path) -> None:
    write_mat(sorted_units.units(), tmp_path / "units.mat")

    raw = loadmat(tmp_path / "units.mat", mat_dtype=True)
    assert raw["units"].shape == (1, 7)
    assert raw["units"][0, 0]["spike_samples"].dtype == np.float64
    assert raw["metrics"][0, 0]["num_spikes"].dtype == np.float64


def test_text_ids_stay_text_in_matlab(renamed: Sorted, tmp_path: Path) -> None:
    write_mat(renamed.units(), tmp_path / "units.mat")

    units = loadmat(tmp_path / "units.mat", simplify_cells=True)["units"]
    assert [unit["unit_id"] for unit in units] == ["00", "02", "03", "04", "05", "06", "07"]


def test_matlab_reads_no_units_and_one_channel(no_units: Sorted, one_channel: Sorted, tmp_path: Path) -> None:
    write_mat(no_units.units(), tmp_path / "none.mat")
    write_mat(one_channel.units(), tmp_path / "one.mat")

    none, one = loadmat(tmp_path / "none.mat"), loadmat(tmp_path / "one.mat")
    assert none["units"].shape == (1, 0)
    assert none["metrics"].dtype.names == ("unit_id", *no_units.table.columns)
    assert one["units"].shape == (1, 1)
    assert one["channels"]["positions_um"][0, 0].size == 0


def test_fields_have_names_that_matlab_takes() -> None:
    names = ["snr", "sync/2", "sync_2", "2nd", "unit_id", "a" * 80, "a" * 81]

    fields = matlab_fields(names)

    assert fields[:5] == ["snr", "sync_2", "sync_2_2", "x_2nd", "unit_id_2"]
    assert len(set(fields)) == len(names)
    assert all(len(field) <= 63 and field.isidentifier() for field in fields)


def test_waveforms_that_are_too_large_for_matlab_are_refused(
    sorted_units: Sorted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The limit itself, 2 GB, would need as much memory here.
    monkeypatch.setattr(arrays, "_LARGEST_MAT_VARIABLE", 1000)
    units = sorted_units.units()

    with pytest.raises(ConfigError, match=r"a \.mat file of version 5 holds arrays of at most 2 GB"):
        write_mat(units, tmp_path / "units.mat")

    write_mat(replace(units, waveforms=None), tmp_path / "units.mat")
    assert loadmat(tmp_path / "units.mat", simplify_cells=True)["waveforms"]["average_uv"].size == 0
