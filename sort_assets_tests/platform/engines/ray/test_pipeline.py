"""The whole pipeline on two nodes of a Ray, with PostgreSQL: the second has no home and another path of the store."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from ray.job_submission import JobSubmissionClient

from sort_assets.platform.execution.home import prepare_home
from sort_assets.platform.pipeline.catalog import PIPELINE
from sort_assets_tests.fixtures.home import Home, cheap, materialize_words
from sort_assets_tests.fixtures.postgres import PASSWORD, PASSWORD_IN_ADDRESS, PostgresServer
from sort_assets_tests.fixtures.ray_cluster import GPU_NODE, RayCluster, RayNode, node_environment, running_ray
from sort_assets_tests.platform.engines.ray.runs import on_ray

pytestmark = [pytest.mark.release, pytest.mark.xdist_group("ray")]


@pytest.fixture
def lab(home: Home, postgres: PostgresServer, tmp_path: Path) -> Iterator[tuple[Home, RayCluster]]:
    """A control host, and a Ray on it and on a node where its paths have other names."""
    address = {"SORT_ASSETS_POSTGRES_URL": postgres.new_database()}
    home = replace(home, variables={**home.variables, **address})
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("recordings", "store"):
        (elsewhere / name).symlink_to(home.folder / name)
    there = {"SORT_ASSETS_RECORDINGS": f"{elsewhere}/recordings", "SORT_ASSETS_STORE": f"{elsewhere}/store"}
    second = RayNode(GPU_NODE, 2, 1, node_environment() | address | there, hidden=(home.folder / "dagster",))
    with running_ray(second, head_environment=node_environment() | address) as cluster:
        home = on_ray(home, cluster)
        with home.environment():
            prepare_home()
        yield home, cluster


def test_all_assets_of_two_recordings(lab: tuple[Home, RayCluster], short_file: Path, tmp_path: Path) -> None:
    home, cluster = lab
    keys = [home.register(home.link(short_file, name)) for name in ("one.nwb", "two.nwb")]
    config = cheap(resources={"sorting": {"gpus": 1}})
    words = [materialize_words(key, *PIPELINE, config=config, config_file=tmp_path / f"{key}.json") for key in keys]
    runs = [home.start(*one, output=tmp_path / f"{key}.log") for key, one in zip(keys, words, strict=True)]
    try:
        statuses = [run.wait(timeout=600) for run in runs]
    finally:
        for run in runs:
            run.kill()

    jobs = JobSubmissionClient(cluster.address).list_jobs()
    logs = "\n".join(path.read_text()[-2000:] for path in tmp_path.glob("*.log"))
    assert statuses == [0, 0], logs
    assert all(len(home.store.versions(key, asset)) == 1 for key in keys for asset in PIPELINE)
    assert len(jobs) == 2 * len(PIPELINE)
    of_cpu_steps = {job.driver_node_id for job in jobs if (job.metadata or {})["dagster/op"] != "sorting"}
    of_sorts = {job.driver_node_id for job in jobs if (job.metadata or {})["dagster/op"] == "sorting"}
    assert len(of_cpu_steps) == 2
    assert len(of_sorts) == 1
    assert not any(secret in str(jobs) for secret in (PASSWORD, PASSWORD_IN_ADDRESS))
