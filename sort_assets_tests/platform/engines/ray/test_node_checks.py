"""`doctor --cluster` through a real Ray: its head and a further node, which has no store by the control host's name."""

import json
from pathlib import Path

import pytest

from sort_assets_tests.fixtures.home import Home
from sort_assets_tests.fixtures.postgres import PASSWORD, PASSWORD_IN_ADDRESS, PostgresServer
from sort_assets_tests.fixtures.ray_cluster import GPU_NODE, HEAD, RayCluster

pytestmark = [pytest.mark.release, pytest.mark.xdist_group("ray")]


def test_each_node_of_ray_is_asked(home: Home, ray_cluster: RayCluster, postgres: PostgresServer) -> None:
    (home.roots.recordings / "day.nwb").touch()
    address = postgres.new_database()
    beyond = {"SORT_ASSETS_ENGINE": "ray", "SORT_ASSETS_RAY_ADDRESS": ray_cluster.address}
    asking = Home(home.folder, home.roots, {**home.variables, **beyond, "SORT_ASSETS_POSTGRES_URL": address})

    done = asking.invoke("doctor", "--cluster", "--json")

    found = {(row["node"], row["subject"]): row for row in json.loads(done.stdout)}
    assert {node for node, _ in found} == {"control host", HEAD, GPU_NODE}, done.output
    assert PASSWORD not in done.output
    assert PASSWORD_IN_ADDRESS not in done.output
    for node in (HEAD, GPU_NODE):
        # The nodes are processes of this host, with the same folders.
        for subject in ("node", "versions", "recordings", "store", "locks", "clock"):
            assert found[node, subject]["level"] == "ok", found[node, subject]
        # The database is no secret of Ray's dashboard, so that its variable must be set on the node.
        assert "`ray start`" in found[node, "database"]["remedy"]
    assert "declares 1" in found[GPU_NODE, "gpu"]["detail"]
    assert done.status == 1


def test_a_ray_that_does_not_answer_is_an_error_with_the_cure(home: Home) -> None:
    beyond = {"SORT_ASSETS_ENGINE": "ray", "SORT_ASSETS_RAY_ADDRESS": "http://127.0.0.1:9"}

    done = Home(home.folder, home.roots, {**home.variables, **beyond}).invoke("doctor", "--json")

    rows = {row["subject"]: row for row in json.loads(done.stdout)}
    assert rows["engine"]["level"] == "error"
    assert "ray start --head" in rows["engine"]["remedy"]
    assert done.status == 1
    assert not list(Path(home.roots.store).glob("@node_checks/*"))
