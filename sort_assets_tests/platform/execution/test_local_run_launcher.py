"""Runs that are launched while the code server is replaced."""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test, instance_for_test
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import GrpcServerTarget

from sort_assets.platform.execution.code_server import answers

CODE = """
import time
from pathlib import Path

import dagster as dg


@dg.op(config_schema={"until": str})
def wait(context):
    while not Path(context.op_config["until"]).exists():
        time.sleep(0.1)


@dg.job
def waiting():
    wait()


defs = dg.Definitions(jobs=[waiting])
"""
LAUNCHER = {
    "run_launcher": {
        "module": "sort_assets.platform.execution.local_run_launcher",
        "class": "LocalRunLauncher",
        "config": {},
    }
}


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    return tmp_path / "code"


@pytest.fixture
def start_server(tmp_path: Path, socket: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Start a code server; those that are left are killed at the end."""
    code = tmp_path / "waiting.py"
    code.write_text(CODE)
    module = "sort_assets.platform.execution.code_server"
    serve = ["code-server", "start", "--socket", str(socket), "--python-file", str(code), "--location-name", "waiting"]

    with contextlib.ExitStack() as left:

        def start() -> subprocess.Popen[bytes]:
            server = subprocess.Popen([sys.executable, "-m", module, *serve])
            left.callback(server.wait)
            left.callback(server.kill)
            return server

        yield start


def wait_until(holds: Callable[[], bool], within_s: float = 120.0) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, "it has not come about in time"
        time.sleep(0.1)


@pytest.mark.slow
def test_a_run_is_launched_by_the_next_code_server_while_the_last_one_is_left_to_its_own(
    tmp_path: Path, socket: Path, start_server: Callable[[], subprocess.Popen[bytes]]
) -> None:
    first = start_server()
    wait_until(lambda: answers(socket))
    with (
        instance_for_test(overrides=LAUNCHER, temp_dir=str(tmp_path)) as instance,
        WorkspaceProcessContext(
            instance, GrpcServerTarget(host="localhost", port=None, socket=str(socket), location_name="waiting")
        ) as workspace,
    ):

        def create_run(until: Path) -> dg.DagsterRun:
            location = workspace.create_request_context().get_code_location("waiting")
            (repository,) = location.get_repositories().values()
            job = repository.get_full_job("waiting")
            config = {"ops": {"wait": {"config": {"until": str(until)}}}}
            plan = location.get_execution_plan(job, config, step_keys_to_execute=None, known_state=None)
            return create_run_for_test(
                instance,
                job_name="waiting",
                run_config=config,
                execution_plan_snapshot=plan.execution_plan_snapshot,
                job_snapshot=job.job_snapshot,
                remote_job_origin=job.get_remote_origin(),
                job_code_origin=job.get_python_origin(),
            )

        def launch(run: dg.DagsterRun) -> None:
            instance.launch_run(run.run_id, workspace.create_request_context())

        def has(run: dg.DagsterRun, status: dg.DagsterRunStatus) -> bool:
            now = instance.get_run_by_id(run.run_id)
            return now is not None and now.status is status

        long_run, short_run = create_run(tmp_path / "end"), create_run(tmp_path)
        launch(long_run)
        wait_until(lambda: has(long_run, dg.DagsterRunStatus.STARTED))

        first.send_signal(signal.SIGTERM)
        first.wait(timeout=30)  # not only after the end of its run
        start_server()
        launch(short_run)

        wait_until(lambda: has(short_run, dg.DagsterRunStatus.SUCCESS))
        assert has(long_run, dg.DagsterRunStatus.STARTED)
        (tmp_path / "end").touch()
        wait_until(lambda: has(long_run, dg.DagsterRunStatus.SUCCESS))
