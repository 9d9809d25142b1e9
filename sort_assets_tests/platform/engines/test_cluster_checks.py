"""What is said of a node: by its own report, which the program of `node_report` makes, and beside the control host."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sort_assets.checks.result import CheckResult
from sort_assets.platform.engines import node_report
from sort_assets.platform.engines.cluster import CONTROL_HOST, Answer, Node, read_report
from sort_assets.platform.engines.cluster_checks import judge
from sort_assets.platform.engines.node_report import HELD
from sort_assets.platform.engines.slurm.nodes import _node as slurm_node
from sort_assets_tests.fixtures.home import Home

PROGRAM = Path(node_report.__file__).read_text(encoding="utf-8")
FOLDER = {"path": "/lab", "type": "nfs4", "source": "server:/lab", "options": ["rw", "local_lock=none"]}
SOUND: Mapping[str, Any] = {
    "host": "n1",
    "time": 100.0,
    "packages": {
        "versions": {"python": "3.11.7", "sort-assets": "1.0", "dagster": "1.13", "kilosort": "4.1"},
        "code": "abc",
        "environment": "/env",
    },
    "machine": {"cpus": 8, "memory_bytes": 16 * 10**9},
    "recordings": {**FOLDER, "free_bytes": 10**12},
    "store": {**FOLDER, "free_bytes": 10**12, "ahead_of_files_s": 0.0},
    "scratch": None,
    "locks": {"noticed": {"0": True}},
    "gpu": {"visible": None, "gpus": []},
    "database": {"answers": "db:5432/dagster"},
    "next": "",
}
ANSWER = Answer(Node("n1", cpus=8), SOUND, asked=99.0, answered=101.0)


def results_of(answer: Answer) -> dict[str, CheckResult]:
    """The results of a node beside a sound control host."""
    control = Answer(Node(CONTROL_HOST), SOUND, 99.0, 101.0)
    rows = judge([control, answer], "in its setup script")
    return {result.name: result for name, result in rows if name == answer.node.name}


def changed(**parts: Mapping[str, Any]) -> Answer:
    """An answer in which some parts are different."""
    return replace(ANSWER, report={**SOUND, **{name: {**SOUND[name], **part} for name, part in parts.items()}})


def report_of(*options: str, environment: Mapping[str, str] | None = None, **request: Any) -> dict[str, Any]:
    """What the program prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-P", *options, "-c", PROGRAM, json.dumps({"node": "n1", **request})],
        env=dict(environment or {}),
        capture_output=True,
        text=True,
        check=True,
    )
    return read_report(f"Welcome to the cluster!\n{done.stdout}")


def test_a_sound_node_has_nothing_but_lines_that_are_ok() -> None:
    results = results_of(ANSWER)

    assert {result.level for result in results.values()} == {"ok"}
    assert {"node", "versions", "recordings", "store", "locks", "clock", "gpu", "database"} < results.keys()


@pytest.mark.parametrize(
    ("parts", "name", "level", "says"),
    [
        ({"packages": {"versions": {"python": "3.11.9"}}}, "versions", "error", "sort-assets is missing"),
        ({"packages": {"code": "other"}}, "versions", "warning", "with other code (in /env)"),
        ({"store": {"problem": "other folder"}}, "store", "error", "is not the folder that the control host has"),
        ({"store": {"problem": "not writable", "error": "Read-only"}}, "store", "error", "can't be written to"),
        ({"store": {"options": ["rw", "local_lock=flock"]}}, "store", "error", "no other host notices a lock"),
        ({"store": {"options": ["rw", "soft"]}}, "store", "warning", "a slow server spoils what is written"),
        ({"recordings": {"problem": "not named"}}, "recordings", "error", "SORT_ASSETS_RECORDINGS is not set"),
        ({"locks": {"noticed": {"0": False}}}, "locks", "error", "A lock that control host holds in the store"),
        ({"store": {"ahead_of_files_s": -30.0}}, "clock", "warning", "30 s behind that of the control host"),
        ({"store": {"ahead_of_files_s": 90.0}}, "clock", "error", "90 s ahead of that of the control host"),
        ({"machine": {"cpus": 4}}, "cpus and memory", "warning", "the engine declares 8"),
        ({"gpu": {"trouble": {"message": "Lost.", "remedy": "Reboot."}}}, "gpu", "error", "Lost."),
        ({"gpu": {"error": "no NVML"}}, "gpu", "error", "It could not be found out: no NVML"),
    ],
)
def test_what_is_wrong_with_a_node_has_its_line(
    parts: dict[str, dict[str, Any]], name: str, level: str, says: str
) -> None:
    result = results_of(changed(**parts))[name]

    assert result.level == level
    assert says in result.description
    assert result.remedy


def test_another_sorter_is_a_warning_and_another_dagster_an_error() -> None:
    versions = SOUND["packages"]["versions"]
    sorter = results_of(changed(packages={"versions": {**versions, "kilosort": "4.0"}}))["versions"]
    dagster = results_of(changed(packages={"versions": {**versions, "dagster": "1.12"}}))["versions"]

    assert (sorter.level, dagster.level) == ("warning", "error")
    assert "kilosort 4.0 (the control host has 4.1)" in sorter.description


def test_a_node_without_the_database_of_the_instance_is_an_error() -> None:
    result = results_of(replace(ANSWER, report={**SOUND, "database": None}))["database"]

    assert result.level == "error"
    assert "in its setup script" in result.remedy


def test_of_a_node_that_hangs_it_is_said_where() -> None:
    cut_off = {name: SOUND[name] for name in ("host", "time", "packages", "machine", "recordings")}

    results = results_of(replace(ANSWER, report={**cut_off, "next": "store"}))

    assert "it was looking at the store" in results["node"].description
    assert results.keys() == {"node", "versions", "cpus and memory", "recordings", "clock"}


def test_a_node_that_takes_no_jobs_or_is_busy_is_said() -> None:
    down = slurm_node("n3", "down*", "64", "256000", "gpu:a100:4(S:0-1)", "Not responding")
    drained = results_of(Answer(down, {}))["node"]

    assert (down.cpus, down.gpus) == (64, 4)
    assert drained.level == "warning"
    assert "Slurm says that it is down* (Not responding)" in drained.description
    assert slurm_node("n4", "mixed-", "64+", "256000+", "(null)", "none").out == ""


def test_a_node_without_any_package_gives_a_line_for_each_part(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()

    report = report_of("-S", environment={"SORT_ASSETS_STORE": str(store)})  # without site-packages

    assert report["packages"]["versions"].keys() == {"python"}
    assert report["store"]["path"] == str(store)
    assert report["recordings"] == {"problem": "not named"}
    assert "without sort_assets" in report["gpu"]["error"]
    assert report["next"] == ""


def test_a_lock_that_is_held_is_noticed_and_one_that_only_is_said_to_be_is_not(tmp_path: Path) -> None:
    (tmp_path / "inquiry").mkdir()
    # As on a mount whose locks stay on one host: the file says that its lock is held, and here it is free.
    (tmp_path / "inquiry" / "2.lock").write_bytes(HELD)
    (tmp_path / "inquiry" / "2.tried").touch()
    request = {"folder": "inquiry", "peers": ["0", "1", "2"], "meet_s": 8}
    command = [sys.executable, "-P", "-c", PROGRAM, json.dumps({**request, "me": "0"})]
    environment = {"SORT_ASSETS_STORE": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as other:
        here = report_of(environment=environment, **request, me="1")
        there = read_report(other.communicate(timeout=60)[0])

    assert here["locks"]["noticed"] == {"0": True, "2": False}
    assert there["locks"]["noticed"] == {"1": True, "2": False}


def test_one_machine_alone_asks_itself(home: Home) -> None:
    done = home.invoke("doctor", "--cluster", "--json")

    rows = json.loads(done.stdout)
    assert done.status == 0, done.output
    assert {row["node"] for row in rows} == {CONTROL_HOST}
    assert {row["subject"] for row in rows} >= {"node", "versions", "recordings", "store", "gpu", "cpus and memory"}
    assert not list(home.roots.store.glob("@node_checks/*"))
