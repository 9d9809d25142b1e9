"""NWB files as their users see them: through pynwb, NWB's inspector and SpikeInterface."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from nwbinspector import Importance, inspect_nwbfile
from pynwb import NWBHDF5IO, NWBFile
from spikeinterface.extractors import read_nwb_sorting

from sort_assets.config.rules import RecordingSettings
from sort_assets.exports.nwb import absent_from_nwb, write_nwb_units
from sort_assets.exports.session import Facts, session_facts
from sort_assets.exports.units import DeliveredUnits, ProbeFacts
from sort_assets_tests.exports.conftest import START_S, Sorted


def written(units: DeliveredUnits, facts: Facts, path: Path) -> tuple[NWBFile, NWBHDF5IO]:
    write_nwb_units(units, facts, path, identifier="abc")
    io = NWBHDF5IO(str(path), "r")
    return io.read(), io


@pytest.fixture
def facts(stated: RecordingSettings, tmp_path: Path) -> Facts:
    return session_facts(tmp_path / "gone.rhd", "intan", stated)


@pytest.fixture
def no_facts(unstated: RecordingSettings, tmp_path: Path) -> Facts:
    raw = tmp_path / "raw.dat"
    raw.write_bytes(b"raw")
    return session_facts(raw, "", unstated)


def test_the_inspector_finds_nothing_in_a_file_with_facts(sorted_units: Sorted, facts: Facts, tmp_path: Path) -> None:
    path = tmp_path / "units.nwb"

    write_nwb_units(sorted_units.units(include_failed_units=True), facts, path, identifier="abc")

    assert list(inspect_nwbfile(nwbfile_path=path)) == []


def test_a_file_without_facts_is_written_and_says_what_is_absent(
    sorted_units: Sorted, no_facts: Facts, tmp_path: Path
) -> None:
    path = tmp_path / "units.nwb"

    nwbfile, io = written(sorted_units.units(), no_facts, path)

    with io:
        assert nwbfile.subject is None
        for words in (
            "Species: not known.",
            "Experimenter: not known.",
            "Brain area of the electrodes: not known",
            f"{no_facts.start_time.isoformat()}, when the raw file was last written, stands for it.",
        ):
            assert words in nwbfile.notes
        assert nwbfile.session_start_time == no_facts.start_time
    serious = {
        message.check_function_name
        for message in inspect_nwbfile(nwbfile_path=path, importance_threshold=Importance.BEST_PRACTICE_VIOLATION)
    }
    assert serious == {"check_subject_exists"}


def test_pynwb_reads_the_units_that_were_put_in(sorted_units: Sorted, facts: Facts, tmp_path: Path) -> None:
    units = sorted_units.units()

    nwbfile, io = written(units, facts, tmp_path / "units.nwb")

    with io:
        table = nwbfile.units.to_dataframe()
        assert table.index.tolist() == [12, 8, 40, 7, 0, 9, 5]
        for index, unit_id in enumerate(table.index):
            np.testing.assert_array_equal(table["spike_times"][unit_id], units.spike_times_s[index])
            np.testing.assert_array_equal(table["obs_intervals"][unit_id], [[START_S, START_S + 10.0]])
        assert table["label"].tolist() == ["good"] * 7
        assert table["snr"].tolist() == units.table["snr"].tolist()
        assert table["kept"].tolist() == [True] * 7
        assert table["snr_ok"].tolist() == [-1, 1, 1, 1, 1, 1, 1]
        assert np.isnan(table["amplitude_cutoff"][40])
        assert nwbfile.units.resolution == pytest.approx(1 / 30_000)
        assert nwbfile.units["num_spikes"].description == "Number of spikes."


def test_waveforms_are_in_volts_on_the_unit_s_own_electrodes(
    sorted_units: Sorted, facts: Facts, tmp_path: Path
) -> None:
    units = sorted_units.units()

    nwbfile, io = written(units, facts, tmp_path / "units.nwb")

    with io:
        table = nwbfile.units
        assert table.waveform_rate == 30_000.0
        assert table.waveform_time_before_peak_in_ms == 1.0
        sizes = set()
        for index in range(len(units)):
            electrodes = table["electrodes"][index]
            own = np.flatnonzero(units.channels[index])
            assert electrodes["channel_name"].tolist() == units.electrodes.channel_ids[own].tolist()
            for column, microvolts in (
                ("waveform_mean", units.waveforms.average_uv),
                ("waveform_sd", units.waveforms.deviation_uv),
            ):
                volts = table[column][index]
                np.testing.assert_allclose(volts[:, : len(own)], 1e-6 * microvolts[index][:, own], rtol=1e-6)
                assert np.isnan(volts[:, len(own) :]).all()
            sizes.add(len(own))
        assert len(sizes) > 1, "No unit has fewer electrodes than another."


def test_electrodes_have_positions_groups_and_a_probe(sorted_units: Sorted, facts: Facts, tmp_path: Path) -> None:
    units = sorted_units.units()
    probes = (
        ProbeFacts("left", "imec", "Neuropixels 1.0", "SN1"),
        ProbeFacts("right", "imec", "Neuropixels 1.0", "SN2"),
    )
    electrodes = replace(
        units.electrodes,
        probes=probes,
        probe_index=np.repeat([0, 1], 8),
        groups=np.tile(["0", "0", "1", "1"], 4),
        brain_areas=np.repeat(["CA1", "VISp"], 8),
    )

    nwbfile, io = written(replace(units, electrodes=electrodes), facts, tmp_path / "units.nwb")

    with io:
        table = nwbfile.electrodes.to_dataframe()
        np.testing.assert_array_equal(table[["rel_x", "rel_y"]], electrodes.positions_um)
        assert table["location"].tolist() == ["CA1"] * 8 + ["VISp"] * 8
        assert table["group_name"][0] == "left 0"
        assert table["group_name"][10] == "right 1"
        assert {group.device.serial_number for group in table["group"]} == {"SN1", "SN2"}
        assert nwbfile.devices["right"].model.manufacturer == "imec"


def test_session_and_subject_are_stored(sorted_units: Sorted, facts: Facts, tmp_path: Path) -> None:
    nwbfile, io = written(sorted_units.units(), facts, tmp_path / "units.nwb")

    with io:
        assert nwbfile.identifier == "abc"
        assert nwbfile.session_start_time == datetime.fromisoformat("2024-05-01T10:00:00+02:00")
        assert list(nwbfile.experimenter) == ["Doe, Jane"]
        assert nwbfile.notes.startswith("The wheel squeaked.\n")
        assert nwbfile.subject.species == "Mus musculus"
        assert nwbfile.subject.date_of_birth.date().isoformat() == "2024-02-01"
        # The first sample, which is at 2.5 s in the file's times, is the start of the session.
        assert (nwbfile.session_start_time - nwbfile.timestamps_reference_time).total_seconds() == START_S


@pytest.mark.parametrize("name", ["sorted_units", "renamed"])
def test_spikeinterface_reads_the_spike_trains_exactly(
    name: str, request: pytest.FixtureRequest, facts: Facts, tmp_path: Path
) -> None:
    recording: Sorted = request.getfixturevalue(name)
    path = tmp_path / "units.nwb"
    write_nwb_units(recording.units(include_failed_units=True), facts, path, identifier="abc")

    sorting = read_nwb_sorting(path, t_start=START_S)

    assert sorting.unit_ids.tolist() == recording.analyzer.unit_ids.tolist()
    assert sorting.sampling_frequency == pytest.approx(30_000)
    for unit_id in sorting.unit_ids:
        np.testing.assert_array_equal(sorting.get_unit_spike_train(unit_id), recording.trains[str(unit_id)])
    assert sorting.get_property("label").tolist().count("rejected") == 1


def test_no_units_make_an_empty_table_with_all_columns(no_units: Sorted, facts: Facts, tmp_path: Path) -> None:
    path = tmp_path / "units.nwb"

    nwbfile, io = written(no_units.units(), facts, path)

    with io:
        assert len(nwbfile.units) == 0
        assert {"spike_times", "waveform_mean", "electrodes", *no_units.table.columns} <= set(nwbfile.units.colnames)
        assert "There are no units" in nwbfile.notes
        assert len(nwbfile.electrodes) == 16
    assert len(read_nwb_sorting(path).unit_ids) == 0


def test_one_unit_on_one_channel_without_a_position(one_channel: Sorted, facts: Facts, tmp_path: Path) -> None:
    units, path = one_channel.units(), tmp_path / "units.nwb"

    nwbfile, io = written(units, facts, path)

    with io:
        assert "rel_x" not in nwbfile.electrodes.colnames
        assert nwbfile.units["waveform_mean"].data.shape == (1, 90, 1)
        np.testing.assert_array_equal(nwbfile.units["spike_times"][0], units.spike_times_s[0])
    assert "Positions of the electrodes: not known." in absent_from_nwb(units, facts)
    assert [
        each for each in inspect_nwbfile(nwbfile_path=path) if each.importance != Importance.BEST_PRACTICE_SUGGESTION
    ] == []


def test_nothing_in_the_file_is_a_python_object(sorted_units: Sorted, facts: Facts, tmp_path: Path) -> None:
    import h5py

    path = tmp_path / "units.nwb"
    write_nwb_units(sorted_units.units(), facts, path, identifier="abc")

    with h5py.File(path) as file:
        for name, dataset in file["units"].items():
            is_text_or_reference = h5py.check_string_dtype(dataset.dtype) or h5py.check_ref_dtype(dataset.dtype)
            assert dataset.dtype != object or is_text_or_reference, name
