"""Runs as jobs of a real Slurm, launched by the real daemon and followed by its sensor."""

import importlib
import time
from pathlib import Path

import dagster as dg
import pytest

from sort_assets.platform.automation.failed_runs import failures_of_run
from sort_assets.platform.engines.slurm.run_jobs import STATE_TAG
from sort_assets.platform.execution.retried_runs import runs_before
from sort_assets_tests.fixtures.home import CHECKOUT
from sort_assets_tests.fixtures.servers import up
from sort_assets_tests.fixtures.slurm_lab import SlurmLab, timed

_LAUNCH = """
mutation Launch($parameters: ExecutionParams!) {
  launchPipelineExecution(executionParams: $parameters) { __typename ... on LaunchRunSuccess { run { runId } } }
}
"""


def _sort(recording: str, seconds: float) -> dict[str, object]:
    location = {"repositoryLocationName": "sort_assets", "repositoryName": "__repository__"}
    return {
        "selector": {**location, "pipelineName": "sort_recording", "assetSelection": [{"path": ["sorting"]}]},
        "runConfigData": {"resources": {"backend": {"config": timed(seconds)}}},
        "mode": "default",
        "executionMetadata": {"tags": [{"key": "dagster/partition", "value": recording}]},
    }


@pytest.mark.release
@pytest.mark.xdist_group("slurm")
def test_the_run_of_a_node_that_is_cut_off_is_tried_again_on_another(
    lab: SlurmLab, instance: dg.DagsterInstance, ready_key: str, tmp_path: Path
) -> None:
    with up(lab.home, tmp_path / "up.log") as (server, _):
        first = server.ask(_LAUNCH, parameters=_sort(ready_key, 900))["launchPipelineExecution"]["run"]["runId"]

        def state(run_id: str) -> str:
            run = instance.get_run_by_id(run_id)
            return "" if run is None else run.tags.get(STATE_TAG, "")

        lab.cluster.wait_for(lambda: state(first).startswith("RUNNING on "), "the start of the job", 300)
        node = state(first).removeprefix("RUNNING on ")
        lab.cluster.wait_for(lambda: instance.get_run_stats(first).start_time is not None, "the run's start", 300)
        lab.cluster.cut_off(node)
        cut = time.monotonic()
        try:
            assert server.wait_for(first, 300) == "FAILURE"
            print(f"noticed after {time.monotonic() - cut:.0f} s")
            (failure,) = failures_of_run(instance, instance.get_run_by_id(first))  # type: ignore[arg-type]
            assert failure.failure_class == "JobLostError"
            assert f"on {node} is lost (NODE_FAIL)" in failure.message

            def retries() -> list[dg.DagsterRun]:
                return list(instance.get_runs(dg.RunsFilter(tags={"dagster/parent_run_id": first})))

            lab.cluster.wait_for(lambda: bool(retries()), "the retry", 120)
            (retry,) = retries()
            lab.cluster.wait_for(lambda: runs_before(instance, retry) == [first], "the retry's place after the run", 30)
            other = "n2" if node == "n1" else "n1"
            lab.cluster.wait_for(lambda: state(retry.run_id) == f"RUNNING on {other}", "the retry's job", 300)
            print(f"on the other node after {time.monotonic() - cut:.0f} s")
        finally:
            lab.cluster.restore(node)


@pytest.mark.release
@pytest.mark.xdist_group("slurm")
def test_three_recordings_are_sorted_on_two_nodes_and_the_third_waits(
    lab: SlurmLab, instance: dg.DagsterInstance, brief_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(CHECKOUT)
    makespan = importlib.import_module("benchmarks.slurm_makespan")
    keys = makespan.add_ready(lab, brief_file, 3)

    with up(lab.home, tmp_path / "up.log") as (server, _):
        runs = makespan.sort(lab, server, keys, 20.0)  # longer than the sensor's interval
        print(*makespan.in_words(runs, 20.0), sep="\n")
        left = makespan.left_of(lab, keys)

    assert {run.host for run in runs} == {"n1", "n2"}
    waited = [run for run in runs if "is pending: Resources" in run.said or "is pending: Priority" in run.said]
    assert len(waited) >= 1
    assert max(runs, key=lambda run: run.sorting) in waited
    assert left == ""
