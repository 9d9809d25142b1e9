"""When the schedule `accuracy_of_rigs` asks for a measurement, and of which recording."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from sort_assets.config.rules import RULES_FILE
from sort_assets.errors import InjectionError
from sort_assets.platform.arrivals.catalog_entry import CatalogEntry, CatalogPartition, State
from sort_assets.platform.automation.accuracy_schedule import accuracy_of_rigs
from sort_assets.platform.automation.rigs_due import rigs_due
from sort_assets.platform.execution.executor import GPU_POOL
from sort_assets.platform.pipeline.assets.hybrid_accuracy import hybrid_accuracy
from sort_assets.platform.pipeline.jobs import PRIORITY_TAG, SENSOR_PRIORITY, STALE_PRIORITY
from sort_assets.platform.pipeline.partitions import RECORDINGS_PARTITIONS
from sort_assets.platform.store.details import (
    BinaryDetails,
    Details,
    MetricsDetails,
    SortingDetails,
)
from sort_assets.platform.store.failures import record_failure
from sort_assets.platform.store.manifest import InputVersion
from sort_assets_tests.fixtures.home import Home
from sort_assets_tests.platform.pipeline.known_accuracy import publish_measurement

NOW = datetime.now(UTC)
WEEKLY = "rules:\n  - match: '*'\n    hybrid: {every_days: 7}\n"
OLD, NEW, OTHER = "rig~old.nwb", "rig~new.nwb", "other~one.nwb"


class Lab:
    """Recordings of two rigs that were sorted, one after the other."""

    def __init__(self, home: Home, instance: dg.DagsterInstance) -> None:
        self.home, self.instance = home, instance
        self.say(WEEKLY)

    def say(self, rules: str) -> None:
        (self.home.roots.recordings / RULES_FILE).write_text(rules)

    def sort(self, key: str, *, units: int = 3, groups: tuple[str, ...] = ("",)) -> None:
        """A recording arrives, and its results are put into the store."""
        path = key.replace("~", "/")
        self.instance.add_dynamic_partitions(RECORDINGS_PARTITIONS, [key])
        catalog = self.home.catalog()
        catalog.put(CatalogEntry(path, State.REGISTERED))
        catalog.put_partitions(CatalogPartition(key, path))
        params = {group: {"detect_threshold": 5.0} for group in groups}
        self._store(key, "binary_dat", None, BinaryDetails(dat_files={}))
        sorting = SortingDetails(
            num_units=units, num_spikes=units, duration_s=1.0, start_time_s=0.0, device="CPU", effective_params=params
        )
        self._store(key, "sorting", "binary_dat", sorting)
        self._store(key, "waveforms", "sorting", Details())
        self._store(
            key, "unit_metrics", "waveforms", MetricsDetails(num_units=units, channels=16, medians={}, failed={})
        )

    def _store(self, key: str, asset: str, made_from: str | None, details: Details) -> None:
        store = self.home.store
        inputs = {}
        if made_from is not None:
            manifest = store.artefact(key, made_from).manifest
            inputs[made_from] = InputVersion(version=manifest.version, data_version=manifest.data_version)
        with store.stage(key, asset, run_id="0123456789") as staging:
            config = {"sorter": {"name": "mountainsort5"}}
            staging.publish(data_version="1", config=config, config_sources={}, inputs=inputs, details=details)

    def due(self, days_later: float = 0.0) -> list[str]:
        return sorted(rigs_due(self.instance, self.home.roots, NOW + timedelta(days=days_later)))


@pytest.fixture
def lab(home: Home) -> Iterator[Lab]:
    with home.instance() as instance:
        yield Lab(home, instance)


def test_the_newest_recording_of_each_rig_is_measured(lab: Lab) -> None:
    for key in (OLD, OTHER, NEW):
        lab.sort(key)

    assert lab.due() == [OTHER, NEW]


def test_a_rig_is_measured_again_after_so_many_days(lab: Lab) -> None:
    lab.sort(OLD)
    lab.sort(NEW)
    publish_measurement(lab.home.store, OLD, 0.9)

    assert lab.due() == []
    assert lab.due(6.0) == []
    assert lab.due(7.0) == [NEW]


def test_nothing_is_measured_where_no_setting_says_so(lab: Lab) -> None:
    lab.sort(NEW)
    lab.sort(OTHER)
    lab.say("rules:\n  - match: other/\n    hybrid: {every_days: 7}\n")

    assert lab.due() == [OTHER]


def test_a_recording_into_which_nothing_can_be_injected_makes_way_for_the_one_before(lab: Lab) -> None:
    lab.sort(OLD)
    lab.sort(NEW, units=0)
    lab.sort("rig~tetrodes.nwb", groups=("1", "2"))

    assert lab.due() == [OLD]


def test_what_is_being_measured_or_has_just_failed_is_not_asked_for_again(lab: Lab) -> None:
    lab.sort(NEW)
    lab.sort(OTHER)
    tags = {"dagster/partition": NEW}
    lab.instance.add_run(dg.DagsterRun(job_name="measure_accuracy", tags=tags, status=dg.DagsterRunStatus.STARTED))
    record_failure(
        lab.home.store,
        OTHER,
        "hybrid_recording",
        version="20300101T000000000-01234567",
        run_id="0123456789",
        attempt=1,
        error=InjectionError("No unit is well isolated.", remedy="Choose another recording."),
        scaled={},
        logs=[],
        retried=False,
    )

    assert lab.due() == []
    assert lab.due(8.0) == [OTHER]


def test_the_schedule_asks_for_runs_that_give_way_to_all_others(lab: Lab) -> None:
    lab.sort(NEW)
    with dg.build_schedule_context(instance=lab.instance, scheduled_execution_time=NOW) as context:
        (request,) = accuracy_of_rigs(context)

    assert request.partition_key == NEW
    assert int(request.tags[PRIORITY_TAG]) < min(SENSOR_PRIORITY, STALE_PRIORITY)
    assert hybrid_accuracy.op.pool == GPU_POOL
    assert int(hybrid_accuracy.op.tags[PRIORITY_TAG]) < min(SENSOR_PRIORITY, STALE_PRIORITY)


def test_without_recordings_the_schedule_says_why_it_asks_for_nothing(lab: Lab) -> None:
    with dg.build_schedule_context(instance=lab.instance, scheduled_execution_time=NOW) as context:
        skipped = accuracy_of_rigs(context)

    assert isinstance(skipped, dg.SkipReason)
    assert "hybrid.every_days" in (skipped.skip_message or "")
