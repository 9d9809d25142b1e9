"""The sensor `stale_recordings`: what it asks for, and of what it keeps its hands."""

import shutil
from collections.abc import Iterator
from dataclasses import replace

import dagster as dg
import pytest

from sort_assets.errors import RecordingError, SortAssetsError
from sort_assets.platform.arrivals.catalog_entry import CatalogEntry, CatalogPartition, State
from sort_assets.platform.automation.stale_results.requests import RefreshLimits, RefreshPlan, RefreshPlanner
from sort_assets.platform.automation.stale_results.sensor import stale_recordings
from sort_assets.platform.pipeline.catalog import PIPELINE
from sort_assets.platform.pipeline.partitions import RECORDINGS_PARTITIONS
from sort_assets.platform.store.details import Details
from sort_assets.platform.store.failures import record_failure
from sort_assets_tests.fixtures.home import Home
from sort_assets_tests.platform.automation.results import report_results

KEYS = ("a.nwb", "b.nwb", "c.nwb")
SETTINGS = (
    "raw_recording",
    "recording_settings",
    "sorter_settings",
    "waveform_settings",
    "curation_settings",
    "delivery_settings",
)


class Lab:
    """Recordings with results, and somebody who changes what is said of them."""

    def __init__(self, home: Home, instance: dg.DagsterInstance) -> None:
        self.home, self.instance = home, instance
        self.catalog = home.catalog()
        self.planner = RefreshPlanner("s")

    def fill(self) -> None:
        """Make three recordings, with results."""
        self.instance.add_dynamic_partitions(RECORDINGS_PARTITIONS, [*KEYS])
        for key in KEYS:
            self.catalog.put(CatalogEntry(key, State.REGISTERED))
            self.catalog.put_partitions(CatalogPartition(key, key))
            for asset in SETTINGS:
                self.change(key, asset, "first")
            for asset in PIPELINE:
                self.store(key, asset)
            report_results(self.instance, key)

    def change(self, key: str, asset: str = "sorter_settings", version: str = "second") -> None:
        """Another version of what a recording is made from is seen."""
        tags = {"dagster/data_version": version}
        self.instance.report_runless_asset_event(dg.AssetObservation(asset, partition=key, tags=tags))

    def store(self, key: str, asset: str, **details: str) -> None:
        """Put a result into the store."""
        with self.home.store.stage(key, asset, run_id="0123456789") as staging:
            staging.publish(data_version="1", config={}, config_sources={}, inputs={}, details=Details(**details))

    def plan(self) -> RefreshPlan:
        return self.planner.plan(self.instance, self.home.roots)

    def requested(self) -> dict[str, tuple[str, ...]]:
        """What is asked for now, by recording."""
        return {
            request.partition_key or "": tuple(key.to_user_string() for key in request.asset_selection or ())
            for request in self.plan().requests
        }

    def run(self, request: dg.RunRequest, status: dg.DagsterRunStatus) -> None:
        """The run of a request, as Dagster makes it, without what it does."""
        tags = {**request.tags, "dagster/run_key": request.run_key or "", "dagster/sensor_name": "s"}
        tags["dagster/partition"] = request.partition_key or ""
        self.instance.add_run(dg.DagsterRun(job_name="sort_recording", tags=tags, status=status))


@pytest.fixture(scope="module")
def filled(module_home: Home) -> Home:
    """A home with three recordings, to be copied."""
    with module_home.instance() as instance:
        Lab(module_home, instance).fill()
    return module_home


@pytest.fixture
def lab(home: Home, filled: Home) -> Iterator[Lab]:
    shutil.rmtree(home.folder)
    shutil.copytree(filled.folder, home.folder, symlinks=True)
    with home.instance() as instance:
        yield Lab(home, instance)


def test_nothing_is_asked_for_when_nothing_has_changed(lab: Lab) -> None:
    plan = lab.plan()

    assert (plan.requests, plan.stale, plan.unread) == ([], 0, 0)


@pytest.mark.parametrize(
    ("changed", "made_again"),
    [
        ("raw_recording", PIPELINE),
        ("recording_settings", PIPELINE),
        ("sorter_settings", PIPELINE[2:]),
        ("waveform_settings", PIPELINE[3:]),
        ("curation_settings", PIPELINE[4:]),
        ("delivery_settings", ("spike_data",)),
    ],
)
def test_exactly_the_stale_part_is_made_again_behind_everything_else(
    lab: Lab, changed: str, made_again: tuple[str, ...]
) -> None:
    lab.change("b.nwb", changed)

    (request,) = lab.plan().requests

    assert request.partition_key == "b.nwb"
    assert tuple(key.to_user_string() for key in request.asset_selection or ()) == made_again
    assert request.tags["dagster/priority"] == "-10"


def test_what_the_store_no_longer_has_is_made_before(lab: Lab) -> None:
    lab.change("b.nwb")
    shutil.rmtree(lab.home.store.asset_folder("b.nwb", "binary_dat"))

    assert lab.requested() == {"b.nwb": PIPELINE[1:]}


def test_what_was_never_sorted_is_left_to_the_other_sensor(lab: Lab) -> None:
    lab.instance.add_dynamic_partitions(RECORDINGS_PARTITIONS, ["new.nwb"])
    lab.catalog.put(CatalogEntry("new.nwb", State.REGISTERED))
    lab.catalog.put_partitions(CatalogPartition("new.nwb", "new.nwb"))
    lab.change("new.nwb", "recording_settings", "first")
    report_results(lab.instance, "new.nwb", "preprocessed_recording")
    lab.change("new.nwb", "recording_settings")

    assert lab.requested() == {}


def test_a_recording_at_which_a_run_is_at_work_waits(lab: Lab) -> None:
    lab.change("a.nwb")
    (request,) = lab.plan().requests
    lab.run(request, dg.DagsterRunStatus.STARTED)

    plan = lab.plan()

    assert plan.requests == []
    assert plan.skipped == {"a run is queued or running": 1}


def test_a_run_of_a_range_keeps_all_its_recordings_busy(lab: Lab) -> None:
    for key in KEYS:
        lab.change(key)
    ends = {"dagster/asset_partition_range_start": "a.nwb", "dagster/asset_partition_range_end": "b.nwb"}
    lab.instance.add_run(dg.DagsterRun(job_name="j", tags=ends, status=dg.DagsterRunStatus.STARTED))

    assert lab.requested().keys() == {"c.nwb"}


def test_what_was_tried_in_vain_is_not_tried_again_until_something_else_changes(lab: Lab) -> None:
    lab.change("a.nwb")
    (request,) = lab.plan().requests
    lab.run(request, dg.DagsterRunStatus.FAILURE)
    assert lab.plan().skipped == {"requested before, without success": 1}
    assert lab.plan().requests == []

    lab.change("a.nwb", version="third")

    assert lab.requested() == {"a.nwb": PIPELINE[2:]}


def test_the_same_settings_are_tried_again_after_others_were_in_force(lab: Lab) -> None:
    lab.change("a.nwb")
    (there,) = lab.plan().requests
    lab.run(there, dg.DagsterRunStatus.SUCCESS)
    report_results(lab.instance, "a.nwb", *PIPELINE[2:])
    lab.change("a.nwb", version="first")
    (back,) = lab.plan().requests
    lab.run(back, dg.DagsterRunStatus.SUCCESS)
    report_results(lab.instance, "a.nwb", *PIPELINE[2:])

    lab.change("a.nwb")

    assert lab.requested() == {"a.nwb": PIPELINE[2:]}


def test_what_a_person_tried_in_vain_after_the_change_is_not_tried_again(lab: Lab) -> None:
    _fail(lab, "b.nwb")
    for key in ("a.nwb", "b.nwb"):
        lab.change(key)
    _fail(lab, "a.nwb")

    plan = lab.plan()

    assert [request.partition_key for request in plan.requests] == ["b.nwb"]
    assert plan.skipped == {"failed since it became stale": 1}


def _fail(lab: Lab, key: str) -> None:
    record_failure(
        lab.home.store,
        key,
        "sorting",
        version="20300101T000000000-01234567",
        run_id="0123456789",
        attempt=1,
        error=SortAssetsError("It broke.", remedy="Mend it."),
        scaled={},
        logs=[],
        retried=False,
    )


def test_what_holds_nothing_to_sort_is_sorted_again_only_from_other_input(lab: Lab) -> None:
    for key in KEYS[:2]:
        lab.store(key, "sorting", unsortable="All channels are silent.")
    lab.change("a.nwb", "sorter_settings")
    lab.change("b.nwb", "recording_settings")

    plan = lab.plan()

    assert [request.partition_key for request in plan.requests] == ["b.nwb"]
    assert plan.skipped == {"nothing to sort in it": 1}


def test_what_is_gone_damaged_forgotten_or_wanted_elsewhere_is_left_alone(lab: Lab) -> None:
    for key in KEYS:
        lab.change(key)
    lab.catalog.put(
        CatalogEntry("a.nwb", State.REGISTERED, missing_since=1.0),
        CatalogEntry("b.nwb", State.REGISTERED, problem=RecordingError("It is cut off.", remedy="Copy it again.")),
    )
    lab.catalog.request_run("c.nwb", "retry")
    plan = lab.plan()
    assert plan.requests == []
    assert sum(plan.skipped.values()) == len(plan.skipped) == 3

    (partition,) = lab.catalog.partitions(["c.nwb"])
    lab.catalog.put_partitions(replace(partition, run_key=None, forgotten=True))

    assert lab.requested() == {}


def test_runs_are_asked_for_a_few_at_a_time(lab: Lab) -> None:
    lab.planner = RefreshPlanner("s", RefreshLimits(requests=2, unfinished_runs=2))
    for key in KEYS:
        lab.change(key)
    first = lab.plan()
    assert [request.partition_key for request in first.requests] == ["a.nwb", "b.nwb"]
    assert first.skipped == {"for a later tick": 1}

    lab.run(first.requests[0], dg.DagsterRunStatus.STARTED)
    lab.run(first.requests[1], dg.DagsterRunStatus.SUCCESS)
    report_results(lab.instance, "b.nwb", *PIPELINE[2:])

    assert lab.requested().keys() == {"c.nwb"}


def test_the_sensor_is_off_by_default_and_says_why_it_starts_nothing(lab: Lab) -> None:
    assert stale_recordings.default_status == dg.DefaultSensorStatus.STOPPED

    with lab.home.environment():
        idle = stale_recordings(dg.build_sensor_context(instance=lab.instance, sensor_name="stale_recordings"))
        lab.change("a.nwb")
        busy = stale_recordings(dg.build_sensor_context(instance=lab.instance, sensor_name="stale_recordings"))

    assert isinstance(idle, dg.SensorResult)
    assert isinstance(busy, dg.SensorResult)
    assert idle.skip_reason == dg.SkipReason("Nothing is stale")
    assert [request.partition_key for request in busy.run_requests or []] == ["a.nwb"]
