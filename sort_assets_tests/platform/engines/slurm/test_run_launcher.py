"""Runs as jobs of a real Slurm, on nodes that have no Dagster home and call the store by another name."""

import os
import time
from pathlib import Path

import dagster as dg
import psutil
import pytest

from sort_assets.platform.automation.failed_runs import RunFailure, failures_of_run
from sort_assets.platform.engines.slurm import commands, job_script
from sort_assets.platform.engines.slurm.options import EXCLUDED_NODES_TAG
from sort_assets.platform.engines.slurm.run_jobs import NOT_ANSWERED, STATE_TAG
from sort_assets_tests.fixtures.home import staging_of
from sort_assets_tests.fixtures.slurm_lab import SlurmLab, timed

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("slurm")]

STATUS = dg.DagsterRunStatus
LONG = timed(600)


@pytest.fixture
def fake_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs that stand for Slurm's commands while they are there."""
    folder = tmp_path / "fake-slurm"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def _run(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRun:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run


def _said(instance: dg.DagsterInstance, run_id: str) -> str:
    events = instance.all_logs(run_id)
    return "\n".join(entry.dagster_event.message or "" for entry in events if entry.dagster_event)


def _failure(instance: dg.DagsterInstance, run_id: str) -> RunFailure:
    (failure,) = failures_of_run(instance, _run(instance, run_id))
    return failure


def _is_tried_again(instance: dg.DagsterInstance, run_id: str) -> bool:
    return _run(instance, run_id).tags.get("dagster/will_retry") == "true"


def _wait_for_step(lab: SlurmLab, instance: dg.DagsterInstance, run_id: str) -> None:
    """Wait until the sort of a run is at work."""

    def at_work() -> bool:
        lab.watch(instance).look_after_all()
        return "Sorting ready.nwb with timed" in "\n".join(entry.user_message for entry in instance.all_logs(run_id))

    lab.cluster.wait_for(at_work, "the sort", 120)


def _fake(folder: Path, command: str, script: str) -> Path:
    program = folder / command
    program.write_text(f"#!/bin/bash\n{script}\n")
    program.chmod(0o755)
    return program


def test_a_recording_is_sorted_on_a_node_without_the_home(
    lab: SlurmLab, instance: dg.DagsterInstance, ready_key: str
) -> None:
    run_id = lab.launch(instance, ready_key, "sorting", slurm_nodelist="n2")

    assert lab.wait(instance, run_id) == STATUS.SUCCESS
    assert lab.home.store.artefact(ready_key, "sorting").manifest.host == "n2"
    said = _said(instance, run_id)
    assert "Submitted as Slurm job" in said
    assert "is running on n2" in said
    log = lab.home.roots.store / "@compute_logs" / run_id / "slurm_job.log"
    assert str(log) in str(
        [
            entry.dagster_event.engine_event_data.metadata
            for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
            if entry.dagster_event
        ]
    )
    assert "on n2" in log.read_text()
    assert "Waiting for a free device" not in said
    assert not (lab.cluster.own_disk("n2") / "leases" / "cpu.lock").exists()


def test_a_pending_job_says_why_and_can_be_cancelled_in_three_ways(
    lab: SlurmLab, instance: dg.DagsterInstance, ready_key: str
) -> None:
    for node in ("n1", "n2"):
        lab.cluster.submit("sleep 600", f"--nodelist={node}", "--gres=gpu:1")
    by_launcher, marked, by_hand = (lab.launch(instance, ready_key, "sorting") for _ in range(3))

    def all_say_why() -> bool:
        lab.watch(instance).look_after_all()
        return all("PENDING: " in _run(instance, run_id).tags[STATE_TAG] for run_id in (by_launcher, marked, by_hand))

    lab.cluster.wait_for(all_say_why, "Slurm's reasons")
    for _ in range(3):
        lab.watch(instance).look_after_all()
    reasons = [line for line in _said(instance, by_launcher).splitlines() if "is pending" in line]
    assert len(reasons) == len(set(reasons)), "told again without news"

    assert instance.run_launcher.terminate(by_launcher)
    # What the UI's forced termination does, its only one for a run that is starting.
    instance.report_run_canceled(_run(instance, marked))
    lab.cluster.run("scancel", f"--name=sort_assets-{by_hand}")

    assert lab.wait(instance, by_launcher) == STATUS.CANCELED
    assert lab.wait(instance, by_hand) == STATUS.CANCELED
    assert "was cancelled from outside (scancel)" in _said(instance, by_hand)
    lab.watch(instance).look_after_all()
    ours = lambda: lab.cluster.run("squeue", "--noheader", f"--name=sort_assets-{marked}").strip()  # noqa: E731
    lab.cluster.wait_for(lambda: not ours(), "the end of the marked run's job", 20)


def test_a_running_sort_is_cancelled_in_the_ui_and_leaves_nothing(
    lab: SlurmLab, instance: dg.DagsterInstance, ready_key: str
) -> None:
    run_id = lab.launch(instance, ready_key, "sorting", config=LONG)
    _wait_for_step(lab, instance, run_id)

    assert instance.run_launcher.terminate(run_id)

    assert lab.wait(instance, run_id) == STATUS.CANCELED
    lab.cluster.wait_for(lambda: not lab.cluster.unfinished(), "the end of the job")
    assert staging_of(lab.home, ready_key, "sorting") == []


def test_a_killed_run_worker_fails_its_run_which_is_tried_again(
    lab: SlurmLab, instance: dg.DagsterInstance, ready_key: str
) -> None:
    run_id = lab.launch(instance, ready_key, "sorting", config=LONG)
    _wait_for_step(lab, instance, run_id)
    (worker,) = [one for one in psutil.process_iter(["cmdline"]) if _executes(one, run_id)]

    worker.kill()

    assert lab.wait(instance, run_id) == STATUS.FAILURE
    failure = _failure(instance, run_id)
    assert failure.failure_class == "JobLostError"
    assert "its process was ended by signal 9" in failure.message
    assert _is_tried_again(instance, run_id)


@pytest.mark.release
def test_scancel_by_hand_ends_a_running_sort_and_nobody_tries_it_again(
    lab: SlurmLab, instance: dg.DagsterInstance, ready_key: str
) -> None:
    run_id = lab.launch(instance, ready_key, "sorting", config=LONG)
    _wait_for_step(lab, instance, run_id)

    lab.cluster.run("scancel", f"--name=sort_assets-{run_id}")

    assert lab.wait(instance, run_id) == STATUS.CANCELED
    assert not _is_tried_again(instance, run_id)


@pytest.mark.release
def test_a_run_that_slurm_ends_at_its_time_limit_says_so(
    lab: SlurmLab, instance: dg.DagsterInstance, ready_key: str
) -> None:
    run_id = lab.launch(instance, ready_key, "sorting", config=LONG, slurm_time="1")

    assert lab.wait(instance, run_id, timeout_s=400) == STATUS.FAILURE
    failure = _failure(instance, run_id)
    assert failure.failure_class == "TimeLimitError"
    assert "was ended at its time limit of 00:01:00" in failure.message
    assert "resources.run.time_limit_h" in failure.remedy
    assert not _is_tried_again(instance, run_id)


@pytest.mark.release
def test_a_run_outlives_a_restart_of_the_controller(
    lab: SlurmLab, instance: dg.DagsterInstance, ready_key: str
) -> None:
    run_id = lab.launch(instance, ready_key, "sorting", config=timed(15))
    _wait_for_step(lab, instance, run_id)

    lab.cluster.stop_controller()
    try:
        with pytest.raises(commands.EngineUnavailableError):
            lab.watch(instance).look_after_all()
        assert _run(instance, run_id).status == STATUS.STARTED
    finally:
        lab.cluster.start_controller()

    assert lab.wait(instance, run_id, timeout_s=300) == STATUS.SUCCESS


@pytest.mark.parametrize(
    ("options", "said", "remedy"),
    [
        ({"slurm_partition": "mian"}, "invalid partition specified: mian", "Name a partition that `sinfo` shows"),
        ({"slurm_partition": "lab", "slurm_account": "x"}, "Invalid account", "Name an account"),
        ({"slurm_output": "/tmp/x"}, "The option output of sbatch", "Leave it out"),
    ],
)
def test_a_job_that_slurm_refuses_fails_its_run_with_what_slurm_said(
    lab: SlurmLab, instance: dg.DagsterInstance, ready_key: str, options: dict[str, str], said: str, remedy: str
) -> None:
    run_id = lab.launch(instance, ready_key, "sorting", **options)

    failure = _failure(instance, run_id)
    assert said in failure.message
    assert remedy in failure.remedy
    assert not _is_tried_again(instance, run_id)


@pytest.mark.parametrize(
    ("on_node", "lack"),
    [
        ("export SORT_ASSETS_STORE=/nowhere", "the store is not mounted"),
        ("export SORT_ASSETS_STORE=/", "the store is not mounted, or another folder is in its place"),
        ("export SORT_ASSETS_RECORDINGS=/nowhere", "the recordings are not mounted"),
        ("export SORT_ASSETS_PYTHON=/usr/bin/false", "there is no Python with sort_assets"),
        ("unset SORT_ASSETS_POSTGRES_URL", "the database of the Dagster instance is not named"),
        ("module load cuda/99", "the setup script is not there, can't be read, or failed"),
    ],
)
def test_what_a_node_lacks_is_told_and_the_run_is_tried_elsewhere(
    lab: SlurmLab,
    instance: dg.DagsterInstance,
    ready_key: str,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    on_node: str,
    lack: str,
) -> None:
    setup = tmp_path_factory.mktemp("setup") / "setup.sh"
    setup.write_text(f"{lab.setup.read_text()}\n{on_node}\n")
    monkeypatch.setenv("SORT_ASSETS_SLURM_SETUP", str(setup))

    run_id = lab.launch(instance, ready_key, "sorting", slurm_nodelist="n1")

    assert lab.wait(instance, run_id) == STATUS.FAILURE
    failure = _failure(instance, run_id)
    assert failure.failure_class == "NodeSetupError"
    assert "on n1 could not begin" in failure.message
    assert lack in failure.message
    assert _is_tried_again(instance, run_id)
    assert _run(instance, run_id).tags[EXCLUDED_NODES_TAG] == "n1"


def test_another_version_on_a_node_is_told(
    lab: SlurmLab, instance: dg.DagsterInstance, ready_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = job_script.importlib.metadata.version
    monkeypatch.setattr(job_script.importlib.metadata, "version", lambda package: theirs(package) + ".dev1")

    run_id = lab.launch(instance, ready_key, "sorting", slurm_nodelist="n1")

    assert lab.wait(instance, run_id) == STATUS.FAILURE
    assert "has another version than on the control host" in _failure(instance, run_id).message


def test_a_slurm_that_hangs_or_is_down_fails_nothing_and_gets_the_job_later(
    lab: SlurmLab,
    instance: dg.DagsterInstance,
    ready_key: str,
    fake_commands: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    down = "echo 'sbatch: error: Batch job submission failed: Unable to contact slurm controller' >&2; exit 1"
    sbatch = _fake(fake_commands, "sbatch", down)
    run_id = lab.launch(instance, ready_key, "sorting")
    assert _run(instance, run_id).status == STATUS.STARTING
    assert _run(instance, run_id).tags[STATE_TAG] == NOT_ANSWERED
    sbatch.unlink()

    squeue = _fake(fake_commands, "squeue", "sleep 600")
    watch = lab.watch(instance)
    watch.jobs = type(watch.jobs)(instance, commands.SlurmCommands(timeout_s=0.5))
    with pytest.raises(commands.EngineUnavailableError):
        watch.look_after_all()
    assert _run(instance, run_id).status == STATUS.STARTING
    squeue.unlink()

    lab.watch(instance).look_after_all()
    assert "Submitted as Slurm job" in _said(instance, run_id)
    assert instance.run_launcher.terminate(run_id)
    assert lab.wait(instance, run_id) == STATUS.CANCELED


def test_the_job_of_a_run_that_is_over_is_cancelled(
    lab: SlurmLab, instance: dg.DagsterInstance, ready_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sort_assets.platform.engines.slurm.run_watch.TIME_TO_END_S", 0.0)
    run_id = lab.launch(instance, ready_key, "sorting", config=LONG)
    instance.report_run_failed(_run(instance, run_id), "Somebody marked it as failed.")
    time.sleep(0.1)

    lab.watch(instance).look_after_all()

    lab.cluster.wait_for(lambda: not lab.cluster.unfinished(), "the end of the job")


def _executes(process: psutil.Process, run_id: str) -> bool:
    words = process.info["cmdline"] or []
    return any("execute_run" in word for word in words) and any(run_id in word for word in words)
