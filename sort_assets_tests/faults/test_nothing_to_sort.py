"""Recordings in which there is nothing to sort, through all assets: explicit empty results. And those that can't be."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import numpy as np
import pytest
from spikeinterface.core import BaseRecording

from sort_assets.platform.automation.status import recording_statuses
from sort_assets.platform.pipeline.catalog import PIPELINE
from sort_assets.platform.store.handles import StoredAnalyzer, StoredSorting
from sort_assets.testing.ground_truth import make_ground_truth
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.faults.runs import assert_nothing_half_done, failures_of, note, retries_of
from sort_assets_tests.fixtures.home import Home
from sort_assets_tests.recordings.files import recording_of

pytestmark = pytest.mark.slow

KILOSORT = {"preset": "kilosort4_few_channels", "execution": {"n_jobs": 1}}


def _silent() -> BaseRecording:
    like, _ = make_ground_truth(duration_s=5.0)
    return recording_of(np.zeros((150_000, 16), np.int16), like)


def _noise() -> BaseRecording:
    return make_ground_truth(duration_s=10.0, num_units=0)[0]


def _too_short() -> BaseRecording:
    return make_ground_truth(duration_s=0.4, num_units=0)[0]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        pytest.param(_silent, "none of the 16 channels ever changes", marks=pytest.mark.release),
        pytest.param(_too_short, "batch", marks=pytest.mark.release),
        pytest.param(_noise, "spikes", marks=pytest.mark.release),
    ],
    ids=["silent", "too-short", "noise-only"],
)
def test_nothing_to_sort_is_a_result(module_home: Home, make: Callable[[], BaseRecording], reason: str) -> None:
    home = module_home
    name = f"{make.__name__.strip('_')}.nwb"
    key = home.register(write_nwb(make(), home.roots.recordings / name))

    result = home.materialize(key, *PIPELINE, config=KILOSORT)

    assert result.success
    note(home, key, make.__name__.strip("_").replace("_", " "), "success without units, unsortable")
    assert retries_of(home, result.run_id) == 0
    details = home.store.artefact(key, "sorting").manifest.details
    assert details["num_units"] == 0
    assert reason in details["unsortable"].lower()
    assert len(StoredSorting(home.roots, key).load().unit_ids) == 0
    assert len(StoredAnalyzer(home.roots, key).load().unit_ids) == 0
    assert home.metadata(result.run_id, "sorting")["unsortable"].value == details["unsortable"]
    units_found = _check(home, result.run_id, "units_found")
    assert not units_found.passed
    assert units_found.severity == dg.AssetCheckSeverity.WARN
    with home.instance() as instance:
        (status,) = [one for one in recording_statuses(instance, home.store) if one.recording == key]
    assert status.results.unsortable == details["unsortable"]
    assert status.assets == dict.fromkeys(PIPELINE, True)
    assert_nothing_half_done(home, key)


def test_one_channel_is_too_few_for_a_common_reference_and_it_says_so(module_home: Home) -> None:
    home = module_home
    whole, _ = make_ground_truth(duration_s=5.0)
    one = recording_of(whole.get_traces()[:, :1], whole.select_channels(whole.channel_ids[:1]))
    key = home.register(write_nwb(one, home.roots.recordings / "one-channel.nwb"))

    result = home.materialize(key, config={**KILOSORT, "sorter": {"params": {"do_CAR": True}}})

    note(home, key, "one channel", "TooFewChannelsError")
    (failure,) = failures_of(home, result.run_id)
    assert failure["failure_class"] == "TooFewChannelsError"
    assert "do_CAR" in failure["remedy"]
    assert home.store.versions(key, "sorting") == []


def _check(home: Home, run_id: str, name: str) -> Any:
    with home.instance() as instance:
        records = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    (check,) = [
        record.dagster_event.asset_check_evaluation_data
        for record in records
        if record.dagster_event and record.dagster_event.asset_check_evaluation_data.check_name == name
    ]
    return check
