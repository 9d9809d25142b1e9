"""Runs whose worker and steps are jobs: each as a process that has what its pod would have, and nothing else.

The API of Kubernetes is that of `fixtures.kubernetes_api`; launcher, executor, client, database and pipeline are real.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.reconstruct import ReconstructableRepository

from sort_assets.definitions import defs
from sort_assets.platform.execution.home import prepare_home
from sort_assets_tests.fixtures.home import CHEAP, CHECKOUT, Home, staging_of
from sort_assets_tests.fixtures.kubernetes_api import KubernetesApi, kubernetes_api
from sort_assets_tests.fixtures.postgres import PostgresServer
from sort_assets_tests.fixtures.ready import UPSTREAM
from sort_assets_tests.platform.engines.kubernetes.settings_file import settings_file

pytestmark = [pytest.mark.release, pytest.mark.xdist_group("postgres")]


@dataclass
class Lab:
    api: KubernetesApi
    home: Home
    instance: dg.DagsterInstance
    key: str

    def launch(self) -> str:
        """Launch a run of the first two assets; returns its id."""
        keys = frozenset(dg.AssetKey(asset) for asset in UPSTREAM)
        code = ReconstructableRepository.for_module("sort_assets.definitions", "defs")
        run = self.instance.create_run_for_job(
            defs.resolve_job_def("sort_recording").get_subset(asset_selection=set(keys)),
            run_config={"resources": {"backend": {"config": dict(CHEAP)}}},
            tags={"dagster/partition": self.key},
            asset_selection=keys,
            job_code_origin=code.get_reconstructable_job("sort_recording").get_python_origin(),
        )
        self.instance.launch_run(run.run_id, workspace=None)  # type: ignore[arg-type]
        return run.run_id

    def wait(self, run_id: str, done: Callable[[dg.DagsterRun], bool]) -> dg.DagsterRun:
        deadline = time.monotonic() + 300
        while True:
            run = self.instance.get_run_by_id(run_id)
            assert run is not None
            if done(run):
                return run
            said = "\n".join(entry.user_message for entry in self.instance.all_logs(run_id))
            assert time.monotonic() < deadline, said
            time.sleep(0.5)


@pytest.fixture
def lab(
    home: Home, short_file: Path, postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Lab]:
    database = postgres.new_database()
    with kubernetes_api(tmp_path) as (api, kubeconfig):
        path = settings_file(tmp_path, kubeconfig_file=str(kubeconfig))
        chosen = {"SORT_ASSETS_ENGINE": "kubernetes", "SORT_ASSETS_KUBERNETES": str(path)}
        there = replace(home, variables={**home.variables, **chosen, "SORT_ASSETS_POSTGRES_URL": database})
        monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
        api.secrets = {"sort-assets": {"SORT_ASSETS_POSTGRES_URL": database}}
        with there.environment():
            prepare_home()
        key = there.register(there.link(short_file, "day.nwb"))
        with there.instance() as instance:
            yield Lab(api, there, instance, key)


def test_a_run_and_its_steps_go_through_as_jobs_without_the_home(lab: Lab) -> None:
    run_id = lab.launch()

    run = lab.wait(run_id, lambda run: run.is_finished)

    said = "\n".join(entry.user_message for entry in lab.instance.all_logs(run_id))
    assert run.status is dg.DagsterRunStatus.SUCCESS, said
    labels = [job["metadata"]["labels"] for job in lab.api.jobs.values()]
    assert [one.get("dagster/op", "the run") for one in labels] == ["the run", *UPSTREAM]
    assert lab.home.store.summary(lab.key, "binary_dat") is not None
    assert "The step asks Kubernetes for 1 CPU and 4 GB of memory." in said  # n_jobs is 1, and the recording short


def test_a_run_that_is_canceled_ends_its_jobs_and_leaves_nothing(lab: Lab) -> None:
    run_id = lab.launch()
    lab.wait(run_id, lambda _: len(lab.api.jobs) == 2)

    lab.instance.run_launcher.terminate(run_id)

    run = lab.wait(run_id, lambda run: run.is_finished)
    assert run.status is dg.DagsterRunStatus.CANCELED
    assert set(lab.api.deleted) == set(lab.api.jobs)
    for process in lab.api.processes.values():
        process.wait(timeout=60)
    assert staging_of(lab.home, lab.key, "preprocessed_recording") == []
