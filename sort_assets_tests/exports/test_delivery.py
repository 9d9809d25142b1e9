"""A whole delivery: every format at once, each read by its own library."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pynapple as nap
import pytest
from nwbinspector import inspect_nwbfile
from pynwb import NWBHDF5IO
from scipy.io import loadmat
from spikeinterface.extractors import read_nwb_sorting, read_phy

from sort_assets.config.rules import RecordingSettings
from sort_assets.config.units import DeliveryConfig
from sort_assets.exports.delivery import Delivery, write_delivery
from sort_assets.exports.session import Facts, facts_of_files, session_facts
from sort_assets.exports.units import DeliveredUnits
from sort_assets.recordings.clock import Clock, ClockPiece, clock_from_start, join_clocks
from sort_assets.recordings.opening import Boundary
from sort_assets_tests.exports.conftest import Sorted

ALL = ("nwb", "npz", "mat", "phy", "pynapple")
FILES = (Boundary("day 2/rest.dat", 0, 90_000, 7.0), Boundary("run.dat", 90_000, 300_000, 8.0))
JOB_KWARGS = {"n_jobs": 1, "progress_bar": False}


@pytest.fixture
def facts(stated: RecordingSettings, tmp_path: Path) -> Facts:
    return session_facts(tmp_path / "gone", "", stated)


def _clock_of(files: tuple[Boundary, ...]) -> Clock | None:
    clocks = [clock_from_start(file.end_sample - file.start_sample, 30_000.0, file.start_time_s) for file in files]
    return join_clocks(clocks) if clocks else None


def deliver(recording: Sorted, folder: Path, facts: Facts, *files: Boundary, **options: object) -> Delivery:
    config = DeliveryConfig(**{"formats": ALL} | options)
    return write_delivery(
        folder,
        recording.analyzer,
        recording.units(include_failed_units=config.include_failed_units, clock=_clock_of(files)),
        config,
        facts,
        files,
        dat_path=recording.dat_path,
        job_kwargs=JOB_KWARGS,
    )


def names(delivery: Delivery) -> list[str]:
    return [one.path.name for one in delivery.files]


def test_every_format_is_written_and_named_after_the_recording(
    sorted_units: Sorted, facts: Facts, tmp_path: Path
) -> None:
    delivery = deliver(sorted_units, tmp_path / "delivery", facts)

    assert names(delivery) == [
        "mouse_1_day_2.nwb",
        "mouse_1_day_2_units.npz",
        "mouse_1_day_2_units.mat",
        "mouse_1_day_2_phy",
        "mouse_1_day_2_tsgroup.npz",
    ]
    assert sorted(path.name for path in (tmp_path / "delivery").iterdir()) == sorted([*names(delivery), "README.txt"])
    assert [one.num_units for one in delivery.files] == [7, 7, 7, 6, 7]
    assert all(one.num_bytes > 1000 for one in delivery.files)
    assert delivery.absent == ()


def test_only_the_formats_that_are_configured(sorted_units: Sorted, facts: Facts, tmp_path: Path) -> None:
    delivery = deliver(sorted_units, tmp_path, facts, formats=("npz",), waveforms=False)

    assert names(delivery) == ["mouse_1_day_2_units.npz"]
    assert delivery.absent == delivery.notes == ()


def test_rejected_units_are_in_every_format_when_asked_for(sorted_units: Sorted, facts: Facts, tmp_path: Path) -> None:
    delivery = deliver(sorted_units, tmp_path, facts, include_failed_units=True)

    assert [one.num_units for one in delivery.files] == [8, 8, 8, 7, 8]
    assert nap.load_file(tmp_path / "mouse_1_day_2_tsgroup.npz").get_info("label")[3] == "rejected"
    assert read_phy(tmp_path / "mouse_1_day_2_phy").get_property("quality").tolist().count("noise") == 1


def test_each_file_of_a_concatenated_recording_is_delivered_on_its_own_clock(
    sorted_units: Sorted, facts: Facts, tmp_path: Path
) -> None:
    delivery = deliver(sorted_units, tmp_path, facts, *FILES)

    assert names(delivery)[:4] == [
        "mouse_1_day_2_day_2_rest.nwb",
        "mouse_1_day_2_run.nwb",
        "mouse_1_day_2_day_2_rest_units.npz",
        "mouse_1_day_2_run_units.npz",
    ]
    parts = [read_nwb_sorting(one.path) for one in delivery.files if one.format == "nwb"]
    arrays = [np.load(one.path, allow_pickle=False) for one in delivery.files if one.format == "npz"]
    structs = [loadmat(one.path, simplify_cells=True) for one in delivery.files if one.format == "mat"]
    groups = [nap.load_file(one.path) for one in delivery.files if one.format == "pynapple"]
    for index, unit_id in enumerate(parts[0].unit_ids):
        whole = sorted_units.trains[str(unit_id)]
        expected = [whole[whole < 90_000], whole[whole >= 90_000] - 90_000]
        for part, data, struct, group, samples in zip(parts, arrays, structs, groups, expected, strict=True):
            first = round(30_000 * float(data["start_time_s"]))  # SpikeInterface counts samples from time 0
            np.testing.assert_array_equal(part.get_unit_spike_train(unit_id), first + samples)
            np.testing.assert_array_equal(data["spike_samples"][data["spike_unit_index"] == index], samples)
            np.testing.assert_array_equal(np.ravel(struct["units"][index]["spike_samples"]), samples)
            np.testing.assert_allclose(group[unit_id].t, data["start_time_s"] + samples / 30_000, rtol=0, atol=1e-9)
    assert [float(data["start_time_s"]) for data in arrays] == [7.0, 8.0]
    # Phy's folder stays one, since it points to the one .dat.
    np.testing.assert_array_equal(
        read_phy(tmp_path / "mouse_1_day_2_phy").get_unit_spike_train(12), sorted_units.trains["12"]
    )


def test_spikes_whose_waveform_reaches_into_another_file_are_marked_in_every_format(
    sorted_units: Sorted, facts: Facts, tmp_path: Path
) -> None:
    known = sorted_units.trains["12"]
    border = int(known[len(known) // 2]) + 20  # within the waveform of a spike
    files = (Boundary("a.dat", 0, border, 7.0), Boundary("b.dat", border, 300_000, 3.0))

    whole = deliver(sorted_units, tmp_path / "whole", facts, *files, split_files=False)
    parts = deliver(sorted_units, tmp_path / "parts", facts, *files)

    paths = {one.format: one.path for one in whole.files}
    data = np.load(paths["npz"], allow_pickle=False)
    struct = loadmat(paths["mat"], simplify_cells=True)
    with NWBHDF5IO(paths["nwb"], "r") as opened:
        table = opened.read().units.to_dataframe()
    grouped, group = np.load(paths["pynapple"], allow_pickle=False), nap.load_file(paths["pynapple"])
    for index, unit_id in enumerate(data["unit_ids"]):
        train = sorted_units.trains[str(unit_id)]
        expected = (train - 30 < border) & (train + 60 > border)
        np.testing.assert_array_equal(data["spike_at_join"][data["spike_unit_index"] == index], expected)
        np.testing.assert_array_equal(np.ravel(struct["units"][index]["spike_at_join"]), expected)
        np.testing.assert_array_equal(table["spike_at_join"].iloc[index], expected)
        np.testing.assert_array_equal(grouped["spike_at_join"][grouped["index"] == unit_id], expected)
        assert group.get_info("spikes_at_joins")[unit_id] == expected.sum()
    marked = int(data["spike_at_join"].sum())
    assert marked > 0
    assert (
        f"{marked} of {len(data['spike_times_s'])} spikes are at joins" in (tmp_path / "whole/README.txt").read_text()
    )
    of_files = [np.load(one.path, allow_pickle=False) for one in parts.files if one.format == "npz"]
    assert sum(int(one["spike_at_join"].sum()) for one in of_files) == marked
    assert list(inspect_nwbfile(nwbfile_path=paths["nwb"])) == []


def test_the_readme_says_what_is_doubtful_about_the_times(sorted_units: Sorted, facts: Facts, tmp_path: Path) -> None:
    pieces = (ClockPiece(0, 300_000, 7.0, 30_000.0),)
    clock = Clock(pieces, 3e4, "timestamps of packets", nominal_is_stated=False, uncertainty_s=1e-3, corrupt=((0, 3),))

    units = replace(sorted_units.units(clock=clock), clock_doubts=("500 samples were left out.",))
    write_delivery(tmp_path, sorted_units.analyzer, units, DeliveryConfig(formats=("npz",)), facts)

    text = (tmp_path / "README.txt").read_text()
    assert "What is doubtful about the times:\n  500 samples were left out.\n" in text
    assert "All times may be wrong by up to 1 ms" in text
    assert "3 corrupt times of samples were not used" in text
    assert "the file states no nominal rate" in text


def test_the_folder_for_phy_has_the_times_of_the_clock_beside_its_samples(
    sorted_units: Sorted, facts: Facts, tmp_path: Path
) -> None:
    clock = Clock(
        (ClockPiece(0, 90_000, 7.0, 30_002.4), ClockPiece(90_000, 300_000, 31.5, 30_002.4)), 3e4, "timestamps"
    )

    (only,) = write_delivery(
        tmp_path,
        sorted_units.analyzer,
        sorted_units.units(clock=clock),
        DeliveryConfig(formats=("phy",)),
        facts,
        dat_path=sorted_units.dat_path,
        job_kwargs=JOB_KWARGS,
        suggested_merges=[[12, 7]],
    ).files

    assert (only.path / "suggested_merges.json").is_file()
    samples = np.load(only.path / "spike_times.npy").ravel()
    np.testing.assert_array_equal(np.load(only.path / "spike_times_seconds.npy"), clock.times_s(samples))
    assert "spike_times_seconds.npy" in (only.path / "params.py").read_text()
    np.testing.assert_array_equal(read_phy(only.path).get_unit_spike_train(12), sorted_units.trains["12"])


def test_a_file_of_a_concatenated_recording_passes_the_inspector(
    sorted_units: Sorted, stated: RecordingSettings, tmp_path: Path
) -> None:
    facts = session_facts(tmp_path, "", stated)
    of_files = facts_of_files(tmp_path, "", stated, FILES)

    delivery = write_delivery(
        tmp_path / "delivery",
        sorted_units.analyzer,
        sorted_units.units(),
        DeliveryConfig(formats=("nwb",)),
        facts,
        FILES,
        file_facts=of_files,
    )

    assert len(delivery.files) == 2
    assert delivery.absent == (
        "When this file began within the session: not known; session_start_time is that of the first file.",
    )
    assert list(inspect_nwbfile(nwbfile_path=delivery.files[1].path)) == []


def test_a_concatenated_recording_is_delivered_whole_when_configured(
    sorted_units: Sorted, facts: Facts, tmp_path: Path
) -> None:
    delivery = deliver(sorted_units, tmp_path, facts, *FILES, split_files=False, formats=("npz",))

    (only,) = delivery.files
    data = np.load(only.path, allow_pickle=False)
    assert data["num_samples"] == 300_000
    assert data["start_time_s"] == 0.0  # the files' own clocks do not follow each other


def test_files_of_the_same_name_overwrite_nothing(sorted_units: Sorted, facts: Facts, tmp_path: Path) -> None:
    files = [replace(FILES[0], name="a b"), replace(FILES[1], name="a_b")]

    delivery = deliver(sorted_units, tmp_path, facts, *files, formats=("npz",))

    assert names(delivery) == ["mouse_1_day_2_a_b_units.npz", "mouse_1_day_2_a_b_2_units.npz"]


def test_the_same_content_has_the_same_name_and_other_content_another(
    sorted_units: Sorted, facts: Facts, unstated: RecordingSettings, tmp_path: Path
) -> None:
    config, units = DeliveryConfig(formats=("npz",)), sorted_units.units()
    shifted = replace(units, spike_samples=tuple(train + 1 for train in units.spike_samples))
    no_facts = session_facts(tmp_path, "", unstated)

    def content(units: DeliveredUnits, facts: Facts) -> str:
        return write_delivery(tmp_path / "delivery", sorted_units.analyzer, units, config, facts).content

    assert content(units, facts) == content(sorted_units.units(), facts)
    others = {content(shifted, facts), content(units, no_facts), content(sorted_units.units(waveforms=False), facts)}
    assert len(others - {content(units, facts)}) == 3


def test_the_identifier_of_an_nwb_file_is_that_of_its_content(
    sorted_units: Sorted, facts: Facts, tmp_path: Path
) -> None:
    import h5py

    identifiers = set()
    for name in ("once", "again"):
        (only,) = deliver(sorted_units, tmp_path / name, facts, formats=("nwb",)).files
        with h5py.File(only.path) as file:
            identifiers.add(file["identifier"][()])

    assert len(identifiers) == 1


def test_the_readme_says_how_to_read_each_file_and_what_was_absent(
    sorted_units: Sorted, unstated: RecordingSettings, tmp_path: Path
) -> None:
    facts = session_facts(tmp_path / "gone", "", unstated)

    delivery = deliver(sorted_units, tmp_path, facts)

    text = (tmp_path / "README.txt").read_text()
    for one in delivery.files:
        assert one.path.name in text
    for words in (*delivery.absent, *delivery.notes):
        assert words in text
    assert "Species: not known." in delivery.absent
    assert "Units without spikes, which Phy does not take: 8." in delivery.notes


def test_groups_whose_spikes_were_missed_are_named_as_missing(
    sorted_units: Sorted, facts: Facts, tmp_path: Path
) -> None:
    why = "Group shank_b: the sorter found nothing to sort, but the recording clearly has spikes."
    units = replace(sorted_units.units(), missed_groups=(why,))

    delivery = write_delivery(tmp_path, sorted_units.analyzer, units, DeliveryConfig(formats=("nwb",)), facts)

    _, _, missing = (tmp_path / "README.txt").read_text().partition("What is missing\n")
    assert missing.startswith(f"  Units of some groups of channels: the sorter missed their spikes.\n  {why}\n")
    with NWBHDF5IO(delivery.files[0].path, "r") as opened:
        assert why in opened.read().notes


def test_what_the_readme_says_to_python_works(
    sorted_units: Sorted, facts: Facts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(sorted_units, tmp_path, facts)
    monkeypatch.chdir(tmp_path)
    lines = (tmp_path / "README.txt").read_text().splitlines()

    seen = []
    for number, line in enumerate(lines):
        if line.strip().startswith("Python:"):
            following = lines[number + 1].strip()
            names_of: dict[str, object] = {}
            exec(line.partition("Python:")[2].strip(), names_of)
            if following.startswith(("times", "units")):
                exec(following, names_of)
            found = names_of.get("times", names_of.get("units", names_of.get("sorting")))
            seen.append(len(found) if found is not None and hasattr(found, "__len__") else found.get_num_units())

    first = len(sorted_units.trains["12"])
    in_order_of_keys = len(sorted_units.trains["0"])
    assert seen == [7, first, first, 6, in_order_of_keys]


@pytest.mark.parametrize("name", ["no_units", "one_channel", "renamed"])
def test_no_unit_one_channel_and_text_ids(
    name: str, request: pytest.FixtureRequest, facts: Facts, tmp_path: Path
) -> None:
    recording: Sorted = request.getfixturevalue(name)

    delivery = deliver(recording, tmp_path, facts, *FILES)

    assert len(delivery.files) == 9
    assert {one.num_units for one in delivery.files if one.format != "phy"} == {len(recording.units())}
    assert ("Positions of the electrodes: not known." in delivery.absent) == (name == "one_channel")
