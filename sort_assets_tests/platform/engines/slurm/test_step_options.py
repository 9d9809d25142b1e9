"""What an attempt of a step that is a job of its own asks of Slurm, after the attempts before it."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.execution.plan.state import KnownExecutionState
from dagster._core.execution.retries import RetryMode
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG

from sort_assets.definitions import defs
from sort_assets.errors import NodeSetupError, SortAssetsError, TimeLimitError
from sort_assets.platform.engines.slurm.step_jobs import Attempt, StepJobs
from sort_assets.platform.store.failures import record_failure
from sort_assets_tests.fixtures.ready import Ready

TOO_SHORT = TimeLimitError("Ended.", remedy="Raise it.", time_limit="01:30:00")
UNFIT = NodeSetupError("It could not begin.", remedy="Mount the store there.")


def _job() -> dg.JobDefinition:
    return defs.resolve_job_def("sort_recording")


def _run(instance: dg.DagsterInstance, key: str, **related: Any) -> dg.DagsterRun:
    return instance.create_run_for_job(_job(), tags={"dagster/partition": key}, **related)


def _fail(ready: Ready, run: dg.DagsterRun, number: int, error: SortAssetsError) -> None:
    record_failure(
        *(ready.home.store, ready.key, "sorting"),
        version=f"2026010{number}T000000000-x",
        run_id=run.run_id,
        attempt=number,
        error=error,
        scaled={},
        logs=[],
        retried=True,
        host=f"n{number}",
    )


def _options(instance: dg.DagsterInstance, run: dg.DagsterRun, number: int) -> dict[str, str]:
    jobs = StepJobs(instance, run, dg.reconstructable(_job).get_python_origin(), RetryMode.ENABLED)
    _, options = jobs.submit(Attempt("sorting", number, KnownExecutionState()), again=False)
    return dict(options)


@pytest.fixture(autouse=True)
def sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that takes every job."""
    program = tmp_path / "sbatch"
    program.write_text("#!/bin/sh\ncat > /dev/null\necho 12\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


def test_twice_the_time_and_other_nodes_are_asked_for_also_by_the_retry_of_the_run(ready: Ready) -> None:
    with ready.home.instance() as instance:
        first = _run(instance, ready.key)
        _fail(ready, first, 1, TOO_SHORT)
        _fail(ready, first, 2, UNFIT)
        retry = _run(instance, ready.key, parent_run_id=first.run_id, root_run_id=first.run_id)
        instance.add_run_tags(first.run_id, {AUTO_RETRY_RUN_ID_TAG: retry.run_id})

        asked = [_options(instance, first, 3), _options(instance, retry, 1)]
        by_person = _options(instance, _run(instance, ready.key), 1)

    assert [(one["time"], one["exclude"]) for one in asked] == [("180", "n2")] * 2
    assert not {"time", "exclude"} & by_person.keys()
