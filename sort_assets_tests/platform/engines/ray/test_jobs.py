"""Steps as jobs of a real Ray: how they are started, watched and ended."""

import os
import socket
import time
from pathlib import Path

import dagster as dg
import pytest
from dagster_ray.kuberay.utils import get_k8s_object_name
from ray.job_submission import JobSubmissionClient

from sort_assets_tests.fixtures.home import Home
from sort_assets_tests.fixtures.ray_cluster import GPU_NODE, HEAD, RayCluster, RayNode, node_environment
from sort_assets_tests.platform.engines.ray.runs import (
    events_of,
    failures_in,
    jobs_of,
    note_on_ray,
    on_ray,
    wait_for,
    waiting_run,
)

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]


def test_a_job_that_is_stopped_before_dagster_is_up_in_it_ends_its_run(
    home: Home, ray_cluster: RayCluster, tmp_path: Path
) -> None:
    with waiting_run(on_ray(home, ray_cluster), tmp_path / "done") as (instance, run_id):
        (job,) = wait_for(lambda: jobs_of(ray_cluster, run_id), "the job")
        wait_for(lambda: jobs_of(ray_cluster, run_id)[0].status == "RUNNING", "its start")
        JobSubmissionClient(ray_cluster.address).stop_job(job.submission_id)
        stopped = time.monotonic()
        wait_for(lambda: instance.get_run_by_id(run_id).is_finished, "the end of the run")
        seconds = time.monotonic() - stopped

        (failure,) = failures_in(instance, run_id)

    note_on_ray("Job stopped from outside before Dagster is up in it", "run failed, in words", seconds, "nothing")
    assert "was stopped from outside" in failure
    assert "launch the run again" in failure


@pytest.mark.release
def test_runs_whose_jobs_would_have_the_same_id_with_dagster_ray(
    home: Home, ray_cluster: RayCluster, tmp_path: Path
) -> None:
    first, second = _colliding_run_ids("waiting")
    ray = on_ray(home, ray_cluster)

    (tmp_path / "done").touch()
    for run_id in (first, second):
        with waiting_run(ray, tmp_path / "done", run_id) as (instance, _):
            wait_for(lambda run_id=run_id: instance.get_run_by_id(run_id).is_finished, "the end of the run")
            assert instance.get_run_by_id(run_id).status == dg.DagsterRunStatus.SUCCESS

    assert get_k8s_object_name(first, "waiting") == get_k8s_object_name(second, "waiting")
    note_on_ray("Two runs whose steps have the same 32 bits", "both succeed", None, "nothing")


def _colliding_run_ids(step_key: str) -> tuple[str, str]:
    seen: dict[str, str] = {}
    for number in range(1_000_000):
        run_id = f"00000000-0000-4000-8000-{number:012d}"
        other = seen.setdefault(get_k8s_object_name(run_id, step_key), run_id)
        if other != run_id:
            return other, run_id
    raise AssertionError


@pytest.mark.release
def test_a_step_that_asks_for_more_than_is_free_waits_and_says_so(
    home: Home, ray_cluster: RayCluster, tmp_path: Path
) -> None:
    client = JobSubmissionClient(ray_cluster.address)
    others = [client.submit_job(entrypoint="sleep 1000", entrypoint_num_cpus=1) for _ in range(3)]
    wait_for(lambda: all(client.get_job_status(one) == "RUNNING" for one in others), "the other jobs")
    (tmp_path / "done").touch()

    with waiting_run(on_ray(home, ray_cluster), tmp_path / "done") as (instance, run_id):
        (told,) = wait_for(lambda: _told(instance, run_id, "waits until"), "that it waits", 90)
        client.stop_job(others[0])
        wait_for(lambda: instance.get_run_by_id(run_id).is_finished, "the end of the run")

        assert instance.get_run_by_id(run_id).status == dg.DagsterRunStatus.SUCCESS
    for other in others[1:]:
        client.stop_job(other)
    assert "1 CPU and 4 GB of memory free" in told
    assert "gpu1 has 1 CPUs, 1 GPUs" in told
    assert "head has 2 CPUs, 0 GPUs" in told


@pytest.mark.release
def test_a_run_waits_for_a_head_that_is_away(home: Home, ray_cluster: RayCluster, tmp_path: Path) -> None:
    ray_cluster.end_node(HEAD)
    (tmp_path / "done").touch()

    with waiting_run(on_ray(home, ray_cluster), tmp_path / "done") as (instance, run_id):
        (told,) = wait_for(lambda: _told(instance, run_id, "can't be reached or takes no jobs"), "that Ray is away")
        ray_cluster.mend()
        started = time.monotonic()
        wait_for(lambda: instance.get_run_by_id(run_id).is_finished, "the end of the run")
        seconds = time.monotonic() - started

        assert instance.get_run_by_id(run_id).status == dg.DagsterRunStatus.SUCCESS
        assert _told(instance, run_id, "can be reached again")
    assert ray_cluster.address in told
    assert "SORT_ASSETS_RAY_ADDRESS" in told
    note_on_ray("Ray's head is away when a step starts", "waits, then succeeds", seconds, "nothing")


@pytest.mark.release
def test_a_run_waits_for_a_head_that_takes_no_jobs(home: Home, ray_cluster: RayCluster, tmp_path: Path) -> None:
    ray_cluster.kill_raylets()
    (tmp_path / "done").touch()

    with waiting_run(on_ray(home, ray_cluster), tmp_path / "done") as (instance, run_id):
        (told,) = wait_for(lambda: _told(instance, run_id, "takes no jobs"), "that Ray takes no jobs")
        ray_cluster.end_node(HEAD)
        ray_cluster.mend()
        wait_for(lambda: instance.get_run_by_id(run_id).is_finished, "the end of the run")

        assert instance.get_run_by_id(run_id).status == dg.DagsterRunStatus.SUCCESS
    assert "ray status" in told


@pytest.mark.release
def test_a_step_that_the_head_has_forgotten_is_said_to_have_ended(
    home: Home, ray_cluster: RayCluster, tmp_path: Path
) -> None:
    with waiting_run(on_ray(home, ray_cluster), tmp_path / "done") as (instance, run_id):
        wait_for(lambda: events_of(instance, run_id, dg.DagsterEventType.STEP_START), "the step's start")
        ended = time.monotonic()
        ray_cluster.end_node(HEAD)
        ray_cluster.mend()
        again = dg.DagsterEventType.STEP_UP_FOR_RETRY
        wait_for(lambda: failures_in(instance, run_id) or events_of(instance, run_id, again), "an end of the step", 90)
        seconds = time.monotonic() - ended

        (failure,) = failures_in(instance, run_id)
    note_on_ray("Ray's head started again while a step runs", "step failed, in words", seconds, "nothing")
    assert "does not know job" in failure
    assert [one for one in ray_cluster.processes() if "execute_step" in " ".join(one.cmdline())] == []


@pytest.mark.release
def test_a_node_with_another_version_is_named(home: Home, ray_cluster: RayCluster, tmp_path: Path) -> None:
    info = tmp_path / "sort_assets-0.0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sort-assets\nVersion: 0.0.1\n")
    old = RayNode(GPU_NODE, 3, 1, node_environment(tmp_path))

    failure = _failure_on(old, home, ray_cluster, tmp_path)

    assert f"Node {socket.gethostname()} has sort-assets 0.0.1" in failure
    assert "Install the same versions" in failure


@pytest.mark.release
def test_a_node_without_our_package_is_named(home: Home, ray_cluster: RayCluster, tmp_path: Path) -> None:
    (tmp_path / "python").symlink_to("/usr/bin/python3")
    bare = RayNode(GPU_NODE, 3, 1, {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": ""})

    failure = _failure_on(bare, home, ray_cluster, tmp_path)

    assert "has no package sort_assets" in failure
    assert "start Ray there again" in failure


def _failure_on(node: RayNode, home: Home, cluster: RayCluster, folder: Path) -> str:
    """What the failure of a step on that node says; the head has no free core meanwhile."""
    with cluster.replaced(node):
        client = JobSubmissionClient(cluster.address)
        others = [client.submit_job(entrypoint="sleep 1000", entrypoint_num_cpus=2)]
        wait_for(lambda: all(client.get_job_status(one) == "RUNNING" for one in others), "the other jobs")
        with waiting_run(on_ray(home, cluster), folder / "done") as (instance, run_id):
            wait_for(lambda: failures_in(instance, run_id), "the failure")
            (failure,) = failures_in(instance, run_id)
        for other in others:
            client.stop_job(other)
    return failure


def _told(instance: dg.DagsterInstance, run_id: str, what: str) -> list[str]:
    return [text for text in events_of(instance, run_id, dg.DagsterEventType.ENGINE_EVENT) if what in text]
