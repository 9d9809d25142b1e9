"""Whose run it is, when the worker's lock is free: this host's, or another's of the same name."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from sort_assets.machine.host import HostIdentity
from sort_assets.platform.execution import dead_runs
from sort_assets.platform.execution.dead_runs import fail_dead_runs, run_worker_lock

HERE = HostIdentity.here()
CONTAINER = HERE.model_copy(update={"pid_namespace": "pid:[4026532000]", "network_cards": ""})


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("home"))) as instance:
        yield instance


@pytest.fixture
def instance(storage: dg.DagsterInstance) -> dg.DagsterInstance:
    shutil.rmtree(Path(storage.root_directory) / "run_locks", ignore_errors=True)
    return storage


def _dead_run(instance: dg.DagsterInstance, signature: str) -> str:
    @dg.op
    def sort() -> None: ...

    @dg.job
    def job() -> None:
        sort()

    run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    folder = Path(instance.root_directory) / "run_locks"
    folder.mkdir(exist_ok=True)
    (folder / f"{run.run_id}.lock").write_text(signature)
    return run.run_id


@pytest.mark.parametrize(
    "worker",
    [
        pytest.param(HERE, id="this host"),
        pytest.param(CONTAINER, id="another container of this machine"),
        pytest.param(CONTAINER.model_copy(update={"boot_id": "old"}), id="a container restarted with its machine"),
    ],
)
def test_a_dead_run_of_this_host_is_reported(instance: dg.DagsterInstance, worker: HostIdentity) -> None:
    run_id = _dead_run(instance, worker.model_dump_json())

    assert fail_dead_runs(instance) == [run_id]


def test_a_dead_run_of_an_earlier_version_is_reported_by_the_name_of_the_host(instance: dg.DagsterInstance) -> None:
    ours = _dead_run(instance, HERE.name)
    _dead_run(instance, f"not-{HERE.name}")

    assert fail_dead_runs(instance) == [ours]


@pytest.mark.parametrize(
    "other",
    [
        {"boot_id": "other", "network_cards": "aa:02"},
        {"boot_id": "other", "machine_id": "another"},
        {"boot_id": "other", "name": "another", "machine_id": ""},
    ],
)
def test_two_hosts_of_one_name_leave_each_others_runs_alone(
    instance: dg.DagsterInstance, other: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HostIdentity, "here", lambda: HERE.model_copy(update={"network_cards": "aa:01"}))
    _dead_run(instance, HERE.model_copy(update=other).model_dump_json())

    assert fail_dead_runs(instance) == []


def test_on_a_share_a_container_of_the_same_image_is_another_host(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No network file system can be mounted here.
    monkeypatch.setattr(dead_runs, "is_local", lambda _: False)
    _dead_run(instance, CONTAINER.model_copy(update={"boot_id": "other"}).model_dump_json())

    assert fail_dead_runs(instance) == []


def test_the_lock_of_a_worker_says_which_host_it_is_on(instance: dg.DagsterInstance) -> None:
    with run_worker_lock(instance, "run"):
        (lock,) = (Path(instance.root_directory) / "run_locks").iterdir()
        signed = HostIdentity.model_validate_json(lock.read_text())

    assert signed == HERE
    assert list(lock.parent.iterdir()) == []
