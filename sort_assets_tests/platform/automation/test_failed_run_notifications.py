"""Failed runs are told, with the recording, the class, the remedy and the link; many of a kind in one message.

Runs fail on a real instance; the sensor is evaluated as a code server does it, and tells a real web server. Only the
clock of the sensor is set forward: nobody waits a quarter of an hour.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import pytest

from sort_assets.config.settings import NOTIFY_VARIABLE
from sort_assets.errors import DiskFullError, SorterTimeoutError
from sort_assets.platform.automation import failed_run_notifications
from sort_assets.platform.automation.failed_run_notifications import QUIET_S, recording_failed
from sort_assets.platform.automation.failed_runs import UNCLASSIFIED, failures_of_run
from sort_assets.platform.execution.dead_runs import fail_dead_runs, run_worker_lock
from sort_assets.platform.pipeline.failure_rendering import render_failures
from sort_assets_tests.fixtures.home import Home
from sort_assets_tests.platform.automation.receivers import PASSWORD, Webhook, webhook


@dataclass
class Daemon:
    """Evaluates the sensor, and keeps its cursor from tick to tick, as Dagster's daemon does."""

    instance: dg.DagsterInstance
    cursor: str | None = None
    said: list[str] = field(default_factory=list)

    def tick(self) -> str:
        """One tick; returns why it asked for no run."""
        context = dg.build_sensor_context(self.instance, cursor=self.cursor)
        data = recording_failed.evaluate_tick(context)
        self.cursor = data.cursor
        assert data.skip_message is not None
        return data.skip_message


@dataclass
class Clock:
    """What the sensor takes for the time."""

    ahead_s: float = 0.0

    def time(self) -> float:
        return time.time() + self.ahead_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(failed_run_notifications, "time", clock)
    return clock


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    with webhook() as hook:
        monkeypatch.setenv(NOTIFY_VARIABLE, hook.url)
        yield hook


@pytest.fixture
def daemon(module_home: Home, hook: Webhook) -> Iterator[Daemon]:
    """It has seen what was there before."""
    with module_home.instance() as instance:
        daemon = Daemon(instance)
        daemon.tick()
        yield daemon


@dg.op
def sorting(context: dg.OpExecutionContext) -> None:
    """Fail as an asset of sort_assets does."""
    if context.run.tags["kind"] == "interrupted":
        with render_failures():
            raise dg.DagsterExecutionInterruptedError  # as at a SIGTERM
    kind = {"disk": DiskFullError, "hang": SorterTimeoutError}[context.run.tags["kind"]]
    with render_failures():
        raise kind(f"'/store' is full ({context.run.tags['kind']}).", remedy="Free some space.", stage="copying")


@dg.op
def unforeseen() -> None:
    """Fail as no asset of sort_assets does."""
    raise LookupError("no such thing")


@dg.job
def failing() -> None:
    """Fails in words."""
    sorting()


@dg.job
def failing_otherwise() -> None:
    """Fails with a bare exception."""
    unforeseen()


def _die(instance: dg.DagsterInstance, recording: str) -> str:
    """A run that fails as a whole, which takes much less time than one whose step fails."""
    tags = {"dagster/partition": recording}
    run = instance.add_run(dg.DagsterRun(job_name="sort_recording", status=dg.DagsterRunStatus.STARTED, tags=tags))
    instance.report_run_failed(run, "The worker has died.")
    return run.run_id


def _fail(instance: dg.DagsterInstance, recording: str, kind: str = "disk") -> str:
    """A run whose step fails."""
    tags = {"dagster/partition": recording, "kind": kind}
    return failing.execute_in_process(instance=instance, tags=tags, raise_on_error=False).run_id


def test_a_failed_recording_is_told_with_its_class_its_remedy_and_the_link(
    module_home: Home, daemon: Daemon, hook: Webhook
) -> None:
    key = module_home.add_partition("gone.nwb")
    run_id = module_home.materialize(key, "preprocessed_recording").run_id

    said = daemon.tick()

    (message,) = hook.received
    assert message["title"] == "sort_assets: preprocessed_recording of gone.nwb failed: MissingRecordingError"
    lines = dict(line.split(": ", 1) for line in message["message"].splitlines())
    assert lines["Recording"] == "gone.nwb"
    assert lines["Step"] == "preprocessed_recording"
    assert lines["Failure"].startswith("MissingRecordingError")
    assert lines["What happened"].endswith("gone.nwb' does not exist.")
    assert lines["What to do"].startswith("Check the path")
    assert lines["Run"] == f"http://127.0.0.1:3000/runs/{run_id}"
    assert said == f"Sent: {message['title']}."


def test_the_stage_and_the_place_of_the_logs_are_told(daemon: Daemon, tmp_path: Any) -> None:
    run_id = _fail(daemon.instance, "day.nwb")
    run = daemon.instance.get_run_by_id(run_id)
    assert run is not None

    (failure,) = failures_of_run(daemon.instance, run)

    assert failure.message == "'/store' is full (disk)."
    assert failure.stage == "copying"
    assert "Failure: DiskFullError in copying\n" in failure.in_full


def test_a_run_whose_process_was_asked_to_end_has_failed_as_a_whole_and_not_in_its_step(daemon: Daemon) -> None:
    run_id = _fail(daemon.instance, "day.nwb", "interrupted")
    run = daemon.instance.get_run_by_id(run_id)
    assert run is not None

    (step_alone,) = failures_of_run(daemon.instance, run)
    daemon.instance.report_run_failed(run, "Execution was interrupted unexpectedly.")  # as Dagster words it
    (with_its_run,) = failures_of_run(daemon.instance, run)

    assert (step_alone.step, step_alone.failure_class) == ("sorting", "StepCrashedError")
    assert (with_its_run.step, with_its_run.failure_class) == ("", UNCLASSIFIED)
    assert with_its_run.message.startswith("The run's process was asked to end")


def test_a_failure_is_told_once(daemon: Daemon, hook: Webhook) -> None:
    _die(daemon.instance, "day.nwb")

    ticks = [daemon.tick() for _ in range(3)]

    assert len(hook.received) == 1
    assert ticks[1:] == ["No run has failed."] * 2


def test_many_runs_that_fail_in_the_same_way_are_two_messages(daemon: Daemon, hook: Webhook, clock: Clock) -> None:
    for number in range(14):
        _die(daemon.instance, f"night_{number}.nwb")
        if number % 5 == 0:
            daemon.tick()
    while_it_lasts = list(hook.titles)

    daemon.tick()
    clock.ahead_s += QUIET_S + 1
    daemon.tick()
    daemon.tick()

    assert while_it_lasts == ["sort_assets: a run of sort_recording of night_0.nwb failed"]
    assert hook.titles[1:] == ["sort_assets: 13 runs failed: the run itself (13)"]
    text = hook.received[1]["message"]
    assert text.startswith("Recording: night_1.nwb\nFailure: the run itself\nWhat happened: The worker has died.\n")
    assert "\n- a run of sort_recording of night_11.nwb: http://127.0.0.1:3000/runs/" in text
    assert "night_12.nwb" not in text
    assert text.endswith("\nand 2 more times")


def test_what_goes_on_is_told_less_and_less_often(daemon: Daemon, hook: Webhook, clock: Clock) -> None:
    run = daemon.instance.get_run_by_id(_die(daemon.instance, "day.nwb"))
    assert run is not None
    told_at = []
    for _ in range(25):  # four hours, a failure every ten minutes; to the sensor, the same run is as good as another
        daemon.instance.report_run_failed(run)
        before = len(hook.received)
        daemon.tick()
        told_at += [round(clock.ahead_s / 60)] * (len(hook.received) - before)
        clock.ahead_s += 600

    assert told_at == [0, 20, 50, 110, 230]  # after 15, 30, 60, 120 minutes of quiet, at the next failure or tick


def test_a_class_that_was_quiet_for_a_while_is_told_at_once_again(daemon: Daemon, hook: Webhook, clock: Clock) -> None:
    _die(daemon.instance, "one.nwb")
    daemon.tick()
    clock.ahead_s += QUIET_S + 1
    daemon.tick()

    _die(daemon.instance, "two.nwb")
    daemon.tick()

    assert hook.titles == [f"sort_assets: a run of sort_recording of {name}.nwb failed" for name in ("one", "two")]


def test_another_class_is_not_held_back(daemon: Daemon, hook: Webhook) -> None:
    _die(daemon.instance, "one.nwb")
    daemon.tick()

    _fail(daemon.instance, "two.nwb", "hang")
    daemon.tick()

    assert hook.titles[1:] == ["sort_assets: sorting of two.nwb failed: SorterTimeoutError"]


def test_different_failures_of_one_tick_are_one_message(daemon: Daemon, hook: Webhook) -> None:
    _fail(daemon.instance, "day.nwb")
    for name in ("one", "two"):
        _die(daemon.instance, name)

    daemon.tick()

    assert hook.titles == ["sort_assets: 3 runs failed: DiskFullError (1), the run itself (2)"]
    assert "What to do: Free some space.\n" in hook.received[0]["message"]


def test_a_run_whose_worker_died_is_told(module_home: Home, daemon: Daemon, hook: Webhook) -> None:
    run = dg.DagsterRun(
        job_name="sort_recording", status=dg.DagsterRunStatus.STARTED, tags={"dagster/partition": "day.nwb"}
    )
    run_id = daemon.instance.add_run(run).run_id
    with run_worker_lock(daemon.instance, run_id):
        lock = next((module_home.folder / "dagster" / "run_locks").iterdir())
        left_by_a_kill = lock.read_bytes()
    lock.write_bytes(left_by_a_kill)
    assert fail_dead_runs(daemon.instance) == [run_id]

    daemon.tick()

    assert hook.titles == ["sort_assets: a run of sort_recording of day.nwb failed: RunWorkerLostError"]
    assert "has died: it was killed" in hook.received[0]["message"]
    assert f"Run: http://127.0.0.1:3000/runs/{run_id}" in hook.received[0]["message"]


def test_an_exception_that_nobody_classified_is_told(daemon: Daemon, hook: Webhook) -> None:
    failing_otherwise.execute_in_process(instance=daemon.instance, raise_on_error=False)

    daemon.tick()

    assert hook.titles == ["sort_assets: unforeseen failed: LookupError"]
    assert "What happened: no such thing" in hook.received[0]["message"]


def test_a_message_that_can_not_be_delivered_is_logged_and_not_sent_again(
    daemon: Daemon, hook: Webhook, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    hook.status = 503
    _fail(daemon.instance, "day.nwb")

    failed = daemon.tick()
    hook.status = 200
    later = daemon.tick()

    assert failed == "Not delivered: sort_assets: sorting of day.nwb failed: DiskFullError."
    assert later == "No run has failed."
    assert hook.titles == []
    logged = caplog.text + capfd.readouterr().err
    assert "URL 1 of SORT_ASSETS_NOTIFY (json://…): the server answered with status 503" in logged
    assert "What to do: Free some space." in logged
    assert PASSWORD not in logged
    assert daemon.cursor is not None
    assert PASSWORD not in daemon.cursor


def test_a_cursor_of_the_version_that_sent_messages_again_is_read(daemon: Daemon, hook: Webhook) -> None:
    earlier = json.loads(daemon.cursor or "{}")
    unsent = {"title": "Old.", "text": "Old.", "to": [1], "tries": 1, "not_before": 0.0}
    daemon.cursor = json.dumps({**earlier, "unsent": [unsent]})
    _die(daemon.instance, "day.nwb")

    daemon.tick()

    assert hook.titles == ["sort_assets: a run of sort_recording of day.nwb failed"]


def test_nothing_is_told_of_what_failed_before_it_was_switched_on(
    daemon: Daemon, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(NOTIFY_VARIABLE)
    _die(daemon.instance, "before.nwb")
    off = daemon.tick()
    monkeypatch.setenv(NOTIFY_VARIABLE, hook.url)
    on = daemon.tick()

    _die(daemon.instance, "after.nwb")
    daemon.tick()

    assert off == "SORT_ASSETS_NOTIFY is not set."
    assert on == "Failed runs are reported from now on."
    assert hook.titles == ["sort_assets: a run of sort_recording of after.nwb failed"]


@pytest.mark.parametrize("spoil", [lambda _: "not one of ours", lambda _: None])
def test_a_cursor_of_somebody_else_starts_anew(daemon: Daemon, spoil: Callable[[object], str | None]) -> None:
    daemon.cursor = spoil(daemon.cursor)

    assert daemon.tick() == "Failed runs are reported from now on."


def test_a_run_that_can_not_be_read_does_not_keep_others_from_being_told(daemon: Daemon, hook: Webhook) -> None:
    deleted = _die(daemon.instance, "deleted.nwb")
    daemon.instance.delete_run(deleted)
    _die(daemon.instance, "day.nwb")

    daemon.tick()

    assert hook.titles == ["sort_assets: a run of sort_recording of day.nwb failed"]


@pytest.mark.parametrize(("urls", "interval_s"), [("", 3600), ("json://127.0.0.1:9/", 30)])
def test_the_sensor_ticks_rarely_where_there_is_nobody_to_tell(urls: str, interval_s: int) -> None:
    """The interval is that of the environment in which a code server loads the code."""
    program = (
        f"from {failed_run_notifications.__name__} import recording_failed\n"
        "print(recording_failed.minimum_interval_seconds)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {NOTIFY_VARIABLE: urls},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(loaded.stdout) == interval_s
