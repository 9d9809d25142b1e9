"""The digest says what happened since the last one, and nothing when nothing did."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
import tzlocal.unix

from sort_assets.config.settings import DEFAULT_DIGEST_CRON, NOTIFY_VARIABLE
from sort_assets.platform.automation import digest as digest_module
from sort_assets.platform.automation.digest import (
    UNTIL_TAG,
    Digest,
    digest_schedule,
    last_digest,
    make_digest,
    send_digest,
    send_news,
    time_zone,
)
from sort_assets.platform.automation.failed_runs import RunFailure
from sort_assets.platform.store.details import Details
from sort_assets.platform.store.store import Store
from sort_assets_tests.fixtures.home import Home
from sort_assets_tests.platform.automation.receivers import Webhook, webhook

AN_HOUR_AGO = timedelta(hours=1)


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    with webhook() as hook:
        monkeypatch.setenv(NOTIFY_VARIABLE, hook.url)
        yield hook


def _ended(instance: dg.DagsterInstance, recording: str, status: dg.DagsterRunStatus) -> str:
    run = dg.DagsterRun(job_name="sort_recording", status=status, tags={"dagster/partition": recording})
    return instance.add_run(run).run_id


def _sorted(instance: dg.DagsterInstance, store: Store, recording: str, **details: Any) -> None:
    run_id = _ended(instance, recording, dg.DagsterRunStatus.SUCCESS)
    with store.stage(recording, "sorting", run_id=run_id) as staging:
        staging.publish(data_version="v", config={}, config_sources={}, inputs={}, details=Details(**details))


def _failed(instance: dg.DagsterInstance, recording: str, why: str = "The worker has died.") -> None:
    run = instance.get_run_by_id(_ended(instance, recording, dg.DagsterRunStatus.STARTED))
    assert run is not None
    instance.report_run_failed(run, why)


def _observed(instance: dg.DagsterInstance, recording: str) -> None:
    instance.report_runless_asset_event(dg.AssetObservation("raw_recording", partition=recording))


def test_it_says_what_arrived_and_what_came_out_of_it(home: Home) -> None:
    with home.instance() as instance:
        for recording in ("good.nwb", "tight.nwb", "silent.nwb", "bad.nwb"):
            _observed(instance, recording)
        _sorted(instance, home.store, "good.nwb", num_units=8)
        _sorted(instance, home.store, "tight.nwb", num_units=1, degraded=True)
        _sorted(instance, home.store, "silent.nwb", num_units=0, unsortable="no channel ever changes")
        _failed(instance, "bad.nwb")
        _ended(instance, "tomorrow.nwb", dg.DagsterRunStatus.STARTED)

        digest = make_digest(instance, home.store, datetime.now(UTC) - AN_HOUR_AGO, [("new.nwb", "It still grows.")])

    assert digest.arrived == ["bad.nwb", "good.nwb", "silent.nwb", "tight.nwb"]
    assert digest.sorted_ == [("good.nwb", "8 units"), ("tight.nwb", "1 unit (degraded)")]
    assert digest.unsortable == [("silent.nwb", "no channel ever changes")]
    assert [one.recording for one in digest.failed] == ["bad.nwb"]
    assert digest.message.title == "sort_assets: 4 arrived, 2 sorted, 1 unsortable, 1 failed, 1 to look at"
    for words in (
        "Sorted (2)\n- good.nwb: 8 units\n- tight.nwb: 1 unit (degraded)",
        "Unsortable (1)\n- silent.nwb: no channel ever changes",
        "Failed, the run itself (1)\nRecording: bad.nwb\n",
        "What happened: The worker has died.\nWhat to do: See the run, then launch it again.\nRun: http://127.0.0.1:3000/",
        "Recordings with problems, or changed (1)\n- new.nwb: It still grows.",
        "Runs that are queued or running: 1",
    ):
        assert words in digest.message.text


def test_a_group_whose_spikes_were_missed_counts_as_a_failure(home: Home) -> None:
    with home.instance() as instance:
        missed = {"shank_b": "The sorter found nothing there."}
        _sorted(instance, home.store, "shanks.nwb", num_units=6, degraded=True, missed_groups=missed)

        digest = make_digest(instance, home.store, datetime.now(UTC) - AN_HOUR_AGO)

    assert digest.sorted_ == []
    assert digest.message.title == "sort_assets: 1 failed"
    assert "- shanks.nwb: 6 units (degraded: spikes were missed on the channels of shank_b)." in digest.message.text
    assert "The sorter found nothing there." in digest.message.text


def test_it_says_who_did_not_pass_which_check_and_which_rig_left_its_range(home: Home) -> None:
    loud = {"name": "noise_level", "passed": False, "severity": "WARN", "description": "The noise is 80 µV."}
    with home.instance() as instance:
        for recording, passed in (("a.nwb", True), ("b.nwb", False), ("c.nwb", False), ("d.nwb", True)):
            run_id = _ended(instance, recording, dg.DagsterRunStatus.SUCCESS)
            checked = Details(channels=16, checks=[loud | {"passed": passed}])
            for asset, details in (("preprocessed_recording", checked), ("sorting", Details(num_units=8))):
                with home.store.stage(recording, asset, run_id=run_id) as staging:
                    staging.publish(data_version="v", config={}, config_sources={}, inputs={}, details=details)

        message = make_digest(instance, home.store, datetime.now(UTC) - AN_HOUR_AGO).message

    assert message.title == "sort_assets: 4 sorted, 2 with failed checks, 2 rigs changed"
    assert "Checks that did not pass (1)\n- noise_level: b.nwb, c.nwb. b.nwb: The noise is 80 µV." in message.text
    rig = "- 16 channels, in the recordings root: the noise"
    assert f"Rigs (2)\n{rig} left its usual range with b.nwb. The noise is 80 µV.\n" in message.text
    assert f"{rig} is back in its usual range since d.nwb." in message.text


def test_a_real_failure_is_told_with_its_class_and_its_remedy(home: Home) -> None:
    home.materialize(home.add_partition("gone.nwb"), "preprocessed_recording")

    with home.instance() as instance:
        digest = make_digest(instance, home.store, datetime.now(UTC) - AN_HOUR_AGO)

    assert "Failed, MissingRecordingError (1)\nRecording: gone.nwb\n" in digest.message.text
    assert "What to do: Check the path" in digest.message.text


def test_what_happened_before_is_not_told_again(home: Home) -> None:
    with home.instance() as instance:
        _observed(instance, "old.nwb")
        _sorted(instance, home.store, "old.nwb", num_units=8)
        _failed(instance, "bad.nwb")
        time.sleep(0.01)
        since = datetime.now(UTC)
        _observed(instance, "old.nwb")  # it changed; it did not arrive

        digest = make_digest(instance, home.store, since)

    assert digest.nothing_happened
    assert digest.message.title == "sort_assets: nothing happened"


def test_a_failure_that_a_later_run_made_good_is_no_news(home: Home) -> None:
    with home.instance() as instance:
        _failed(instance, "day.nwb")
        _sorted(instance, home.store, "day.nwb", num_units=8)

        digest = make_digest(instance, home.store, datetime.now(UTC) - AN_HOUR_AGO)

    assert digest.failed == []
    assert digest.sorted_ == [("day.nwb", "8 units")]


def test_a_long_night_stays_a_message_that_somebody_reads() -> None:
    now = datetime.now(UTC)
    failed = [
        RunFailure(f"run{number}", "sort_recording", f"day_{number}.nwb", "sorting", "DiskFullError", "Full.", "Clean.")
        for number in range(300)
    ]
    sorted_ = [(f"good_{number}.nwb", "8 units") for number in range(1000)]

    message = Digest(now - AN_HOUR_AGO, now, sorted_=sorted_, failed=failed, failed_unread=7).message

    assert message.title == "sort_assets: 1000 sorted, 307 failed"
    assert "Sorted (1000)\n- good_0.nwb: 8 units\n" in message.text
    assert "and 980 more\n" in message.text
    assert message.text.count("What to do: Clean.") == 1
    assert "and 289 more times\n" in message.text
    assert "7 more runs failed" in message.text
    assert len(message.text.splitlines()) < 60


def test_the_job_sends_it_shows_it_and_remembers_up_to_when(home: Home, hook: Webhook) -> None:
    with home.instance() as instance:
        _sorted(instance, home.store, "day.nwb", num_units=8)
        result = send_digest.execute_in_process(instance=instance)
        again = send_digest.execute_in_process(instance=instance)

        until = last_digest(instance)
        run = instance.get_run_by_id(again.run_id)

    assert hook.titles == ["sort_assets: 1 sorted"]
    assert "- day.nwb: 8 units" in hook.received[0]["message"]
    (output,) = [event for event in result.all_events if event.event_type == dg.DagsterEventType.STEP_OUTPUT]
    shown = output.step_output_data.metadata
    assert "- day.nwb: 8 units" in str(shown["text"].value)
    assert shown["sorted"].value == 1
    assert run is not None
    assert until.isoformat() == run.tags[UNTIL_TAG]


def test_what_nobody_could_be_told_is_told_by_the_next_one(home: Home, hook: Webhook) -> None:
    hook.status = 503
    with home.instance() as instance:
        _sorted(instance, home.store, "day.nwb", num_units=8)
        failed = _without_retries(instance)
        hook.status = 200

        send_digest.execute_in_process(instance=instance)

    assert not failed.success
    (failure,) = [event for event in failed.all_events if event.is_step_failure]
    assert "The digest reached nobody: URL 1" in str(failure.step_failure_data.user_failure_data.description)
    assert hook.titles == ["sort_assets: 1 sorted"]


def _without_retries(instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    """The job, with nobody waiting minutes for its next attempt."""

    @dg.job(name=send_digest.name)
    def once() -> None:
        send_news.with_retry_policy(dg.RetryPolicy(max_retries=0))()

    return once.execute_in_process(instance=instance, raise_on_error=False)


@pytest.mark.parametrize("configured", [False, True])
def test_the_schedule_asks_for_no_run_while_nobody_is_to_be_told(
    configured: bool, monkeypatch: pytest.MonkeyPatch, home: Home
) -> None:
    monkeypatch.setenv(NOTIFY_VARIABLE, "json://127.0.0.1" if configured else "")

    with home.instance() as instance:
        data = digest_schedule(DEFAULT_DIGEST_CRON).evaluate_tick(
            dg.build_schedule_context(instance, datetime.now(UTC))
        )

    assert len(data.run_requests or []) == (1 if configured else 0)
    assert data.skip_message == (None if configured else "SORT_ASSETS_NOTIFY is not set.")


def test_the_schedule_follows_its_cron_expression_in_the_time_of_the_machine() -> None:
    schedule = digest_schedule("30 8 * * 1-5")

    assert schedule.cron_schedule == "30 8 * * 1-5"
    assert schedule.execution_timezone == time_zone()
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING


def test_a_schedule_with_an_invalid_cron_expression_keeps_the_default_time(home: Home) -> None:
    schedule = digest_schedule("at dawn")

    assert schedule.cron_schedule == DEFAULT_DIGEST_CRON
    assert schedule.description is not None
    assert "SORT_ASSETS_DIGEST_CRON is 'at dawn', which is no cron expression" in schedule.description


@pytest.mark.parametrize(("variable", "name"), [("Europe/Zurich", "Europe/Zurich"), ("UTC", "UTC")])
def test_the_time_zone_is_that_of_the_machine(variable: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", variable)
    monkeypatch.setattr(tzlocal.unix, "_cache_tz_name", None)  # it looks once per process

    assert time_zone() == name


def test_a_machine_whose_time_zone_has_no_name_is_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest_module, "get_localzone_name", lambda: "local")  # as a copied /etc/localtime gives

    assert time_zone() == "UTC"
