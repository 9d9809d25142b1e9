"""`doctor --cluster` through a real Slurm: two nodes that are as they should be, and one with every fault at once."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sort_assets.config.settings import Roots
from sort_assets_tests.fixtures.faketime import libfaketime
from sort_assets_tests.fixtures.home import CHECKOUT, Home
from sort_assets_tests.fixtures.postgres import PASSWORD, PASSWORD_IN_ADDRESS, PostgresServer
from sort_assets_tests.fixtures.slurm_cluster import SlurmCluster

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("slurm")]


@pytest.fixture
def lab(slurm: SlurmCluster, postgres: PostgresServer) -> Iterator[Home]:
    """A control host whose nodes know the shared folder by other names; no Dagster home is needed."""
    shared, setup = slurm.shared / "checked", slurm.folder / "checked-setup.sh"
    for name in ("store", "recordings"):
        (shared / name).mkdir(parents=True)
    (shared / "recordings" / "day.nwb").touch()
    setup.write_text(
        f". {slurm.node}/profile.sh\nexport SORT_ASSETS_STORE=$SHARED/checked/store\n"
        "export SORT_ASSETS_RECORDINGS=$SHARED/checked/recordings\n"
    )
    variables = {
        **slurm.environment,
        "DAGSTER_HOME": str(slurm.control / "checked"),
        "SORT_ASSETS_RECORDINGS": str(shared / "recordings"),
        "SORT_ASSETS_STORE": str(shared / "store"),
        "SORT_ASSETS_ENGINE": "slurm",
        "SORT_ASSETS_SLURM_SETUP": str(setup),
        "SORT_ASSETS_POSTGRES_URL": postgres.new_database(),
        "PYTHONPATH": str(CHECKOUT),
    }
    yield Home(slurm.folder, Roots(shared / "recordings", shared / "store"), variables)
    assert not list((shared / "store").glob("@node_checks/*"))


def asked(home: Home) -> tuple[dict[str, dict[str, tuple[str, str, str]]], int, str]:
    """Of each node, of each check: level, what was found, and remedy; the exit status; all that was printed."""
    done = home.invoke("doctor", "--cluster", "--json")
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    found: dict[str, dict[str, tuple[str, str, str]]] = {}
    for one in rows:
        found.setdefault(one["node"], {})[one["subject"]] = (one["level"], one["detail"], one["remedy"])
    return found, done.status, done.output


def test_each_node_is_asked_and_what_is_wrong_with_one_is_said(lab: Home, slurm: SlurmCluster, tmp_path: Path) -> None:
    sound, status, output = asked(lab)

    assert list(sound) == ["control host", "n1", "n2"]
    errors = {(node, name): row for node, rows in sound.items() for name, row in rows.items() if row[0] == "error"}
    assert (errors, status) == ({}, 0), output
    assert PASSWORD not in output
    assert PASSWORD_IN_ADDRESS not in output
    assert "those of control host, n1 are noticed" in sound["n2"]["locks"][1]
    assert "those of n1, n2 are noticed" in sound["control host"]["locks"][1]
    assert str(slurm.folder / "shared-n2") in sound["n2"]["store"][1]
    for node in ("n1", "n2"):
        levels = {name: level for name, (level, _, _) in sound[node].items()}
        assert levels == {
            **dict.fromkeys(("node", "versions", "recordings", "store", "scratch", "locks"), "ok"),
            **dict.fromkeys(("database", "clock", "cpus and memory"), "ok"),
            "scratch": levels["scratch"],  # a warning where this machine's disk is small
            "gpu": "warning",  # it is declared, and there is none
        }

    plain = lab.invoke("doctor", "--json")
    shown = {row["subject"]: row["detail"] for row in json.loads(plain.stdout)}
    assert shown["engine"] == "slurm: 2 of 2 nodes take jobs, with 2 GPUs in all"
    assert shown["database"].startswith("PostgreSQL 15")
    assert PASSWORD_IN_ADDRESS not in plain.output

    info = tmp_path / "sort_assets-9.9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sort-assets\nVersion: 9.9.9\n")
    with Path(lab.variables["SORT_ASSETS_SLURM_SETUP"]).open("a") as setup:
        setup.write(
            f"if [ $(hostname) = n2 ]; then\nexport SORT_ASSETS_STORE=/nowhere SORT_ASSETS_SCRATCH={tmp_path}/gone\n"
            f"export PYTHONPATH={shlex.quote(str(tmp_path))}:$PYTHONPATH\n"
            "export SORT_ASSETS_POSTGRES_URL=${SORT_ASSETS_POSTGRES_URL/:se/:wrong}\n"
            f"export LD_PRELOAD={libfaketime()} FAKETIME=-300s\nfi\n"
        )

    faulty, status, output = asked(lab)

    assert status == 1
    wrong = {name: row for name, row in faulty["n2"].items() if row[0] == "error"}
    assert wrong.keys() == {"store", "scratch", "versions", "clock", "database"}, output
    assert wrong["store"][1] == "There is no folder '/nowhere'."
    assert "set SORT_ASSETS_STORE in the setup script of jobs" in wrong["store"][2]
    assert "sort-assets 9.9.9 (the control host has" in wrong["versions"][1]
    assert "behind that of the control host" in wrong["clock"][1]
    assert "set-ntp" in wrong["clock"][2]
    assert "password authentication failed" in wrong["database"][1]
    assert "wrong" not in wrong["database"][1].split("FATAL")[0]
    assert {name for name, row in faulty["n1"].items() if row[0] == "error"} == set()
    assert "locks" not in faulty["n2"]
    slurm.wait_for(lambda: not slurm.unfinished(), "the end of all jobs")
