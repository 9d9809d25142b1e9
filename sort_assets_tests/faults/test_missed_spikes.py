"""Tetrodes, shanks and wires are sorted by default; where settings take clear spikes away, it is a failure."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from probeinterface import write_probeinterface
from spikeinterface.core import BaseRecording, BaseSorting

from sort_assets.platform.automation.digest import make_digest
from sort_assets.platform.automation.status import recording_statuses
from sort_assets.platform.store.handles import StoredSorting
from sort_assets.testing.comparison import unit_accuracies
from sort_assets.testing.ground_truth import GAIN_TO_UV, make_ground_truth
from sort_assets.testing.nwb import write_nwb
from sort_assets.testing.shapes import SHAPES, make_groups
from sort_assets_tests.faults.runs import assert_nothing_half_done, failures_of, note
from sort_assets_tests.fixtures.home import Home
from sort_assets_tests.recordings.files import recording_of

pytestmark = pytest.mark.slow

Write = Callable[[BaseRecording, Path], Path]

UP_TO_SORTING = ("preprocessed_recording", "binary_dat", "sorting")
BY_GROUP = {"recording": {"split_by": "group"}, "execution": {"n_jobs": 1}, "sorter": {"device": "cpu"}}
CHOSEN = {"do_CAR": False, "nblocks": 0, "nearest_chans": 4, "templates_from_data": False}
ENOUGH = 0.8


def as_nwb(recording: BaseRecording, path: Path) -> Path:
    return write_nwb(recording, path.with_suffix(".nwb"))


def as_binary(recording: BaseRecording, path: Path) -> Path:
    """A file of samples, with the probe beside it and a rule that describes it."""
    samples = path.with_suffix(".dat")
    recording.get_traces().tofile(samples)
    write_probeinterface(path.with_suffix(".json"), recording.get_probegroup())
    binary = {"sampling_hz": 30000, "channels": recording.get_num_channels(), "dtype": "int16"}
    described = {"binary": binary, "gain_to_uv": GAIN_TO_UV, "probe_file": f"{path.name}.json"}
    (path.parent / "sort_assets.yaml").write_text(
        json.dumps({"rules": [{"match": samples.name, "recording": described}]}), encoding="utf-8"
    )
    return samples


@pytest.fixture(scope="module")
def tetrodes() -> tuple[BaseRecording, BaseSorting]:
    """Two tetrodes with three units each, 25 s; what Kilosort learns of the first finds all of its units."""
    return make_groups("tetrode", 2, 25.0, seed=1)


@pytest.mark.release
def test_tetrodes_in_an_nwb_file_are_sorted_by_default(
    module_home: Home, tetrodes: tuple[BaseRecording, BaseSorting]
) -> None:
    home, (recording, known) = module_home, tetrodes
    key = home.register(write_nwb(recording, home.roots.recordings / "tetrodes.nwb"))

    result = home.materialize(key, *UP_TO_SORTING, config=BY_GROUP)

    assert result.success
    found = StoredSorting(home.roots, key).load()
    assert np.all(unit_accuracies(known, found) >= ENOUGH)
    assert found.get_num_units() == known.get_num_units()
    chosen = home.store.artefact(key, "sorting").manifest.details["chosen_by_shape"]
    assert list(chosen) == ["ElectricalSeries_0", "ElectricalSeries_1"]
    for of_group in chosen.values():
        assert {name: one["value"] for name, one in of_group.items()}.items() >= CHOSEN.items()
    table = home.metadata(result.run_id, "sorting")["chosen_by_shape"]
    assert {record.data["parameter"] for record in table.records} >= set(CHOSEN)


@pytest.mark.release
@pytest.mark.parametrize("write", [as_nwb, as_binary])
@pytest.mark.parametrize(("shape", "groups"), [("tetrode", 4), ("shank of 8", 2), ("eight wires", 1), ("wire", 2)])
def test_every_shape_is_sorted_by_default(module_home: Home, shape: str, groups: int, write: Write) -> None:
    home, (recording, known) = module_home, make_groups(shape, groups, 30.0)
    key = home.register(write(recording, home.roots.recordings / shape.replace(" ", "-")))

    result = home.materialize(key, *UP_TO_SORTING, config=BY_GROUP)

    assert result.success
    found = StoredSorting(home.roots, key).load()
    accuracies = unit_accuracies(known, found)
    assert found.get_num_units() <= known.get_num_units() + 1
    assert np.all(accuracies >= ENOUGH), f"{write.__name__}, {groups} x {shape}: {np.round(accuracies, 2)}"


@pytest.mark.release
def test_a_group_whose_spikes_are_missed_does_not_take_the_others_with_it(
    module_home: Home, tetrodes: tuple[BaseRecording, BaseSorting]
) -> None:
    home, (recording, known) = module_home, tetrodes
    noise, _ = make_ground_truth(8.0, num_units=0, probe=SHAPES["tetrode"].probe(), seed=9)
    traces = recording.get_traces().copy()
    traces[: noise.get_num_samples(), 4:] = noise.get_traces()  # Kilosort learns from the first batch alone
    key = home.register(write_nwb(recording_of(traces, recording), home.roots.recordings / "late.nwb"))

    learning = {**BY_GROUP, "sorter": {"device": "cpu", "params": {"templates_from_data": True}}}
    result = home.materialize(key, *UP_TO_SORTING, config=learning)

    assert result.success
    units = StoredSorting(home.roots, key).load()
    assert set(units.get_property("group")) == {"ElectricalSeries_0"}
    assert np.all(unit_accuracies(known, units)[:3] >= ENOUGH)
    (check,) = [
        one for one in home.store.artefact(key, "sorting").manifest.details["checks"] if one["name"] == "units_found"
    ]
    assert not check["passed"]
    assert check["severity"] == "ERROR"
    assert (
        "Group ElectricalSeries_1: kilosort4 found nothing to sort, but the recording clearly has"
        in check["description"]
    )
    assert "recording.start_s" in check["description"]
    details = home.store.artefact(key, "sorting").manifest.details
    assert (list(details["missed_groups"]), details["degraded"]) == (["ElectricalSeries_1"], True)
    with home.instance() as instance:
        digest = make_digest(instance, home.store, datetime.now(UTC) - timedelta(hours=1))
    assert key in dict(digest.missed)
    assert key not in dict(digest.sorted_)


@pytest.mark.release
def test_spikes_that_the_chosen_settings_take_away_are_a_failure_that_counts(
    module_home: Home, tetrodes: tuple[BaseRecording, BaseSorting]
) -> None:
    home, (recording, _) = module_home, tetrodes
    key = home.register(write_nwb(recording, home.roots.recordings / "referenced.nwb"))
    chosen = {**BY_GROUP, "sorter": {"device": "cpu", "params": {"do_CAR": True, "nblocks": 1}}}

    result = home.materialize(key, *UP_TO_SORTING, config=chosen)

    assert not result.success
    note(home, key, "common reference of a tetrode", "MissedSpikesError")
    (failure,) = failures_of(home, result.run_id)
    assert failure["failure_class"] == "MissedSpikesError"
    assert "(1) sorter.params.do_CAR is true" in failure["remedy"]
    assert "(2) sorter.params.nblocks is 1" in failure["remedy"]
    with home.instance() as instance:
        (status,) = [one for one in recording_statuses(instance, home.store) if one.recording == key]
        digest = make_digest(instance, home.store, datetime.now(UTC) - timedelta(hours=1))
    assert status.results.standing is not None
    assert status.results.unsortable is None
    assert any(key in str(one) for one in digest.failed)
    assert digest.unsortable == []
    assert_nothing_half_done(home, key)
