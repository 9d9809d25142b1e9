"""When the summary over all recordings is made again."""

from collections.abc import Iterator

import dagster as dg
import pytest

from sort_assets.platform.automation import summary
from sort_assets.platform.automation.summary import (
    NAME,
    SummaryState,
    SummaryTick,
    SummaryTiming,
    results_changed,
    tick,
)
from sort_assets.platform.pipeline.jobs import summarize_units
from sort_assets_tests.fixtures.home import Home

TIMING = SummaryTiming(quiet_s=60.0, longest_s=180.0)


class Watch:
    """The sensor, with a clock that the tests turn and a cursor that outlives every process."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance, self.now = instance, 1_000_000.0
        self.cursor: str | None = None

    def tick(self, later_s: float = 60.0) -> SummaryTick:
        self.now += later_s
        state = SummaryState.from_cursor(self.cursor)
        found = tick(self.instance, state, sensor=NAME, timing=TIMING, clock=lambda: self.now)
        self.cursor = found.state.model_dump_json()
        return found

    def ticks(self, number: int) -> list[dg.RunRequest]:
        """Tick every minute; what was asked for."""
        found = [self.tick() for _ in range(number)]
        return [one.request for one in found if one.request is not None]

    def result(self, asset: str = "sorting", key: str = "a.nwb") -> None:
        """A recording has a new result."""
        self.instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=key))

    def run(self, status: dg.DagsterRunStatus, job: str = summarize_units.name, *, sensor: str = NAME) -> str:
        """A run that the sensor asked for, without what it does."""
        run = dg.DagsterRun(job_name=job, tags={"dagster/sensor_name": sensor}, status=dg.DagsterRunStatus.STARTED)
        self.instance.add_run(run)
        if status is dg.DagsterRunStatus.FAILURE:
            self.instance.report_run_failed(run)
        return run.run_id


@pytest.fixture(scope="module")
def instance(module_home: Home) -> Iterator[dg.DagsterInstance]:
    """Some results, and a failed run."""
    with module_home.instance() as instance:
        Watch(instance).result()
        Watch(instance).run(dg.DagsterRunStatus.FAILURE, "sort_recording", sensor="new_recordings")
        yield instance


@pytest.fixture
def watch(instance: dg.DagsterInstance) -> Watch:
    """A sensor that has had everything summarized."""
    watch = Watch(instance)
    assert len(watch.ticks(2)) == 1
    return watch


def test_without_any_result_nothing_is_asked_for(home: Home) -> None:
    with home.instance() as empty:
        assert Watch(empty).ticks(5) == []


@pytest.mark.parametrize("asset", ["sorting", "unit_metrics", "curated_units", "preprocessed_recording"])
def test_a_new_result_is_summarized_once_when_it_has_been_quiet(watch: Watch, asset: str) -> None:
    watch.result(asset)

    assert [watch.tick().request is None for _ in range(4)] == [True, False, True, True]


def test_results_that_keep_coming_wait_for_each_other_and_not_for_ever(watch: Watch) -> None:
    asked = []
    for _ in range(8):
        watch.result()
        asked.append(watch.tick().request is not None)

    assert asked == [False, False, False, True] * 2


def test_other_events_change_nothing(watch: Watch) -> None:
    watch.instance.report_runless_asset_event(dg.AssetObservation("raw_recording", partition="a.nwb"))
    watch.result("units_across_recordings", "a.nwb")

    assert watch.ticks(3) == []


def test_a_failed_run_changes_the_summary(watch: Watch) -> None:
    watch.run(dg.DagsterRunStatus.FAILURE, "sort_recording", sensor="new_recordings")

    assert len(watch.ticks(3)) == 1


def test_a_summary_that_fails_does_not_ask_for_the_next(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, "_FAILURES_READ", 1)  # then those of summaries hide all others
    for _ in range(2):
        watch.run(dg.DagsterRunStatus.FAILURE)

    assert watch.ticks(3) == []

    watch.result()

    assert len(watch.ticks(3)) == 1


def test_while_a_summary_is_unfinished_no_other_is_asked_for(watch: Watch) -> None:
    run_id = watch.run(dg.DagsterRunStatus.STARTED)
    watch.result()

    assert watch.ticks(5) == []

    watch.instance.report_run_canceled(watch.instance.get_run_by_id(run_id))

    assert watch.tick().request is not None


def test_a_tick_that_dagster_repeats_asks_for_the_same_run(watch: Watch) -> None:
    watch.result()
    watch.tick()
    cursor = watch.cursor

    first = watch.tick().request
    watch.cursor = cursor
    again = watch.tick(5.0).request

    assert first is not None
    assert again is not None
    assert first.run_key == again.run_key


@pytest.mark.parametrize(
    "cursor",
    [None, "42", SummaryState(covered={"sorting": 10_000_000}, seen={"sorting": 10_000_000}).model_dump_json()],
    ids=["none", "of another sensor", "of another instance"],
)
def test_what_no_summary_of_this_instance_covers_is_summarized_once(watch: Watch, cursor: str | None) -> None:
    watch.cursor = cursor

    assert len(watch.ticks(5)) == 1


def test_a_clock_that_is_set_back_does_not_stop_it(watch: Watch) -> None:
    watch.result()
    watch.tick()
    watch.now -= 86_400

    assert len(watch.ticks(3)) == 1


def test_the_sensor_keeps_its_state_in_its_cursor(watch: Watch) -> None:
    watch.result()
    seen = tick(watch.instance, SummaryState(), sensor=NAME).state.seen
    cursor = SummaryState(seen=seen, first_change=1.0, last_change=1.0).model_dump_json()

    asked = results_changed(dg.build_sensor_context(instance=watch.instance, cursor=cursor))
    assert isinstance(asked, dg.SensorResult)
    rest = results_changed(dg.build_sensor_context(instance=watch.instance, cursor=asked.cursor))

    assert len(asked.run_requests or []) == 1
    assert isinstance(rest, dg.SensorResult)
    assert rest.run_requests == []


def test_the_sensor_is_on_by_default() -> None:
    assert results_changed.default_status is dg.DefaultSensorStatus.RUNNING
    assert results_changed.job_name == summarize_units.name
