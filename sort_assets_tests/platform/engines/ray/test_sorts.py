"""Sorts on a real Ray of two nodes, of which nodes, run workers and jobs are ended from outside."""

import os
import signal
import time
from pathlib import Path

import pytest
from ray.job_submission import JobSubmissionClient

from sort_assets.platform.execution.dead_runs import fail_dead_runs
from sort_assets_tests.faults.runs import assert_gone, assert_nothing_half_done, failures_of, retries_of, sorting
from sort_assets_tests.fixtures.ray_cluster import GPU_NODE, RayCluster
from sort_assets_tests.fixtures.ready import Ready
from sort_assets_tests.platform.engines.ray.runs import jobs_of, note_on_ray, on_ray, slow_sort, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]


def test_a_sort_goes_on_when_its_node_that_was_killed_is_back(
    ready: Ready, ray_cluster: RayCluster, misbehaving: Path, tmp_path: Path
) -> None:
    home, key = on_ray(ready.home, ray_cluster), ready.key
    config = slow_sort("log", seconds=600, done=str(tmp_path / "done"))

    with sorting(home, key, tmp_path, config, python_path=misbehaving) as running:
        step, sorter = running.step(), running.sorter(at_work=False)
        of_ray, of_step = step.environ(), sorter.environ()
        wait_for((tmp_path / "done").exists, "the sorter at work")
        ray_cluster.kill_node(GPU_NODE)  # Ray's processes: the sort's live on, as on a node that was cut off
        killed = time.time()
        ray_cluster.mend()
        running.wait_for(lambda: retries_of(home, running.run.run_id) or None, "the retry", 90)
        seconds = time.time() - killed
        status = running.ended()

    assert status == 0, running.output[-3000:]
    assert of_ray["CUDA_VISIBLE_DEVICES"] == "0"
    assert of_step["SORT_ASSETS_CORES"] == "1"
    assert of_step["SORT_ASSETS_LEASES"].endswith(GPU_NODE)
    assert retries_of(home, running.run.run_id) == 1
    assert len(home.store.versions(key, "sorting")) == 1
    assert_gone([step, sorter])
    assert_nothing_half_done(home, key)
    note_on_ray("Node killed while it sorts", "retried when the node was back: success", seconds, "nothing")


def test_nothing_is_published_after_the_run_worker_was_killed(
    ready: Ready, ray_cluster: RayCluster, misbehaving: Path, tmp_path: Path
) -> None:
    home, key = on_ray(ready.home, ray_cluster), ready.key

    with sorting(home, key, tmp_path, slow_sort("log", seconds=600), python_path=misbehaving) as running:
        step, sorter = running.step(), running.sorter(at_work=False)
        run_id = running.run.run_id
        os.killpg(running.command.pid, signal.SIGKILL)
        killed = time.monotonic()
        with home.instance() as instance:
            wait_for(lambda: fail_dead_runs(instance), "the death of the worker")
        assert_gone([step, sorter], within_s=60)
        seconds = time.monotonic() - killed
        client = JobSubmissionClient(ray_cluster.address)
        (job,) = jobs_of(ray_cluster, run_id)
        wait_for(lambda: client.get_job_status(job.submission_id).is_terminal(), "the end of the job")

    assert home.store.versions(key, "sorting") == []
    assert_nothing_half_done(home, key)
    note_on_ray("Run worker killed", "run failed by the next run or the daemon; step ended", seconds, "nothing")


@pytest.mark.release
def test_a_sort_whose_job_is_stopped_from_outside_ends_its_run(
    ready: Ready, ray_cluster: RayCluster, misbehaving: Path, tmp_path: Path
) -> None:
    home, key = on_ray(ready.home, ray_cluster), ready.key

    with sorting(home, key, tmp_path, slow_sort("log", seconds=600), python_path=misbehaving) as running:
        step, sorter = running.step(), running.sorter(at_work=False)
        (job,) = jobs_of(ray_cluster, running.run.run_id)
        JobSubmissionClient(ray_cluster.address).stop_job(job.submission_id)
        stopped = time.monotonic()
        status = running.ended(timeout_s=120)
        seconds = time.monotonic() - stopped

    assert status != 0
    assert retries_of(home, running.run.run_id) == 0
    assert len(failures_of(home, running.run.run_id)) == 1
    assert home.store.versions(key, "sorting") == []
    assert_gone([step, sorter])
    assert_nothing_half_done(home, key)
    note_on_ray("Job stopped from outside while it sorts", "run failed, in words", seconds, "nothing")


@pytest.mark.release
def test_a_run_that_is_interrupted_takes_its_jobs_along(
    ready: Ready, ray_cluster: RayCluster, misbehaving: Path, tmp_path: Path
) -> None:
    home, key = on_ray(ready.home, ray_cluster), ready.key

    with sorting(home, key, tmp_path, slow_sort("log", seconds=600), python_path=misbehaving) as running:
        step, sorter = running.step(), running.sorter(at_work=False)
        running.command.send_signal(signal.SIGINT)
        stopped = time.monotonic()
        assert_gone([step, sorter], within_s=60)
        seconds = time.monotonic() - stopped
        running.ended(timeout_s=60)

    assert home.store.versions(key, "sorting") == []
    assert_nothing_half_done(home, key)
    note_on_ray("Run interrupted", "run canceled; step ended", seconds, "nothing")


@pytest.mark.release
def test_a_step_that_is_killed_is_tried_again(
    ready: Ready, ray_cluster: RayCluster, misbehaving: Path, tmp_path: Path
) -> None:
    home, key = on_ray(ready.home, ray_cluster), ready.key
    config = slow_sort("log", seconds=600, done=str(tmp_path / "done"))

    with sorting(home, key, tmp_path, config, python_path=misbehaving) as running:
        step = running.step()
        wait_for((tmp_path / "done").exists, "the sorter at work", 120)
        step.kill()
        killed = time.monotonic()
        running.wait_for(lambda: retries_of(home, running.run.run_id) or None, "the retry", 60)
        seconds = time.monotonic() - killed
        status = running.ended()

    assert status == 0, running.output[-3000:]
    assert len(home.store.versions(key, "sorting")) == 1
    assert_nothing_half_done(home, key)
    note_on_ray("Step killed while it sorts", "retried in a new job: success", seconds, "nothing")
