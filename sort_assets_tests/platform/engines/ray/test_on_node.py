"""What a node is asked before a step starts there, and what a failed job is said to have died of."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.job_submission import JobDetails, JobStatus, JobType

from sort_assets.errors import InstanceError, StepCrashedError
from sort_assets.platform.engines.ray import on_node
from sort_assets.platform.engines.ray.job_end import failure_of
from sort_assets_tests.fixtures.home import Home

SECRET = "postgresql://lab:hunter2@ws1/dagster"


def job(status: JobStatus = JobStatus.FAILED, **known: Any) -> JobDetails:
    return JobDetails(
        type=JobType.SUBMISSION,
        submission_id="run-sorting-1",
        status=status,
        entrypoint="",
        driver_agent_http_address="http://10.0.0.2:52365",
        **known,
    )


def lack_on_node(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What the failure of a step says that can't start on this node."""
    with pytest.raises(SystemExit) as ended:
        on_node.main(words)
    details = job(message=capsys.readouterr().out, driver_exit_code=ended.value.code)
    failure, another_may_help = failure_of(details)
    assert isinstance(failure, InstanceError)
    assert not another_may_help
    return str(failure)


@pytest.fixture(autouse=True)
def _environment_as_before() -> Iterator[None]:
    """What a job sets for its step is not left to the tests that follow."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def control_host(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """This process is on the control host, with a database whose address has a password."""
    for name, value in {**home.variables, "SORT_ASSETS_POSTGRES_URL": SECRET}.items():
        monkeypatch.setenv(name, value)
    return home


def test_a_password_is_not_sent_and_a_node_without_it_says_so(
    control_host: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = on_node.step_words(cpus=2)[3:]
    monkeypatch.delenv("SORT_ASSETS_POSTGRES_URL")
    monkeypatch.setenv("HOME", str(tmp_path))

    lack = lack_on_node(words, capsys)

    assert "hunter2" not in " ".join(words)
    assert "SORT_ASSETS_POSTGRES_URL=postgresql://lab@ws1/dagster" in words
    assert "does not know the password" in lack
    assert "Set SORT_ASSETS_POSTGRES_URL in the environment of the node's `ray start`" in lack


def test_a_node_without_the_store_says_so_by_its_own_name_of_it(
    control_host: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = on_node.step_words(cpus=2)[3:]
    monkeypatch.setenv("SORT_ASSETS_STORE", "/data/not-mounted")

    assert "has no folder '/data/not-mounted', which SORT_ASSETS_STORE names" in lack_on_node(words, capsys)


def test_a_node_that_has_neither_the_home_nor_a_database_says_so(
    control_host: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SORT_ASSETS_POSTGRES_URL")
    words = on_node.step_words(cpus=2)[3:]
    monkeypatch.setenv("DAGSTER_HOME", "/home/somebody/dagster")

    assert "can't reach the Dagster instance" in lack_on_node(words, capsys)


def test_another_version_on_a_node_is_named_with_that_of_the_control_host(
    control_host: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    lack = lack_on_node(["--version", "sort-assets=99.0"], capsys)

    assert "the control host sort-assets 99.0" in lack


@pytest.mark.parametrize(
    ("known", "says", "another_may_help"),
    [
        ({"status": JobStatus.STOPPED}, "was stopped from outside", False),
        ({"status": JobStatus.SUCCEEDED}, "did not say how it ended", True),
        ({"error_type": "JOB_SUPERVISOR_ACTOR_DIED"}, "the node has died or was cut off", True),
        ({"driver_exit_code": 137, "message": "Killed"}, "ended with exit status 137", True),
    ],
)
def test_a_job_that_is_over_is_said_to_have_ended(known: dict[str, Any], says: str, another_may_help: bool) -> None:
    failure, helps = failure_of(job(**known))

    assert isinstance(failure, StepCrashedError)
    assert "Ray job run-sorting-1 on node 10.0.0.2" in str(failure)
    assert says in str(failure)
    assert helps is another_may_help


@pytest.mark.parametrize(
    "message", ["python: No module named sort_assets", "ModuleNotFoundError: No module named 'rich'"]
)
def test_a_node_without_a_package_is_named(message: str) -> None:
    failure, another_may_help = failure_of(job(driver_exit_code=1, message=message))

    assert "has no package" in str(failure)
    assert not another_may_help
