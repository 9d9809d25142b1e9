"""Runs and steps as jobs of Kubernetes: what is asked of its API, and what follows from what it says.

The file of settings is the one in examples/. No cluster can run here: the API is that of `fixtures.kubernetes_api`.
"""

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.execution.api import create_execution_plan
from dagster._core.execution.context.system import PlanData, PlanOrchestrationContext
from dagster._core.execution.context_creation_job import create_context_free_log_manager
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.executor.step_delegating import CheckStepHealthResult, StepHandlerContext
from dagster._core.launcher import LaunchRunContext
from dagster._grpc.types import ExecuteStepArgs
from dagster_k8s import K8sRunLauncher
from kubernetes_validate import ValidationError
from ruamel.yaml import YAML

from sort_assets.definitions import defs
from sort_assets.errors import MEMORY_LIMIT_GB, HostOutOfMemoryError, InstanceError, StepCrashedError
from sort_assets.platform.engines.kubernetes.run_launcher import kubernetes_run_launcher
from sort_assets.platform.engines.kubernetes.settings import launcher_settings
from sort_assets.platform.engines.kubernetes.step_handler import KubernetesJobHandler
from sort_assets.platform.pipeline.catalog import PIPELINE
from sort_assets.platform.pipeline.partitions import PARTITION_TAG
from sort_assets.platform.store.failures import failed_attempts, forget_failure, record_failure
from sort_assets_tests.fixtures.kubernetes_api import KubernetesApi, check, kubernetes_api
from sort_assets_tests.fixtures.ready import Ready
from sort_assets_tests.platform.engines.kubernetes.settings_file import EXAMPLES, settings_file

PASSWORD = "very secret"


def _choose_kubernetes(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    monkeypatch.setenv("SORT_ASSETS_ENGINE", "kubernetes")
    monkeypatch.setenv("SORT_ASSETS_KUBERNETES", str(path))
    monkeypatch.setenv("SORT_ASSETS_POSTGRES_URL", f"postgresql://dagster:{PASSWORD}@database/dagster")


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A control host with this engine; returns its file of settings."""
    path = settings_file(tmp_path)
    _choose_kubernetes(monkeypatch, path)
    return path


@dataclass
class Cluster:
    """A stand-in for a cluster, and one run on it whose steps a test launches itself."""

    api: KubernetesApi
    launcher: K8sRunLauncher
    handler: KubernetesJobHandler
    ready: Ready
    instance: dg.DagsterInstance
    run: dg.DagsterRun

    @property
    def rules(self) -> Path:
        return self.ready.home.roots.recordings / "sort_assets.yaml"

    def context(self, step: str) -> StepHandlerContext:
        plan = _plan()
        plan_context = PlanOrchestrationContext(
            plan_data=PlanData(
                job=dg.reconstructable(_job),
                dagster_run=self.run,
                instance=self.instance,
                execution_plan=plan,
                raise_on_error=False,
            ),
            log_manager=create_context_free_log_manager(self.instance, self.run),
            executor=None,  # type: ignore[arg-type]
            output_capture=None,
        )
        words = ExecuteStepArgs(dg.reconstructable(_job).get_python_origin(), self.run.run_id, [step], None)
        (due,) = (one for one in plan.get_steps_to_execute_in_topo_order() if one.key == step)
        instance: Any = _WithLauncher(self.instance, self.launcher)
        return StepHandlerContext(instance, plan_context, [due], words, self.run)

    def launch(self, step: str) -> dict[str, Any]:
        """Launch a step; returns its job, as it was posted."""
        before = set(self.api.jobs)
        list(self.handler.launch_step(self.context(step)))
        (name,) = set(self.api.jobs) - before
        return self.api.jobs[name]

    def health(self, step: str) -> CheckStepHealthResult:
        return self.handler.check_step_health(self.context(step))

    def said(self) -> str:
        return "\n".join(entry.user_message for entry in self.instance.all_logs(self.run.run_id))


class _WithLauncher:
    """An instance with the launcher that it would have in the cluster."""

    def __init__(self, instance: dg.DagsterInstance, launcher: K8sRunLauncher) -> None:
        self._instance, self.run_launcher = instance, launcher

    def __getattr__(self, name: str) -> Any:
        return getattr(self._instance, name)


def _job() -> dg.JobDefinition:
    return defs.resolve_job_def("sort_recording")


@cache
def _plan() -> ExecutionPlan:
    return create_execution_plan(_job())


@pytest.fixture(scope="module")
def one_cluster(module_ready: Ready, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    # The instance before the engine: this one is in files, and its events are those of one in PostgreSQL.
    folder = tmp_path_factory.mktemp("kubernetes")
    with (
        kubernetes_api(folder) as (api, kubeconfig),
        module_ready.home.instance() as instance,
        pytest.MonkeyPatch.context() as patch,
    ):
        _choose_kubernetes(patch, settings_file(folder, kubeconfig_file=str(kubeconfig)))
        launcher = kubernetes_run_launcher(None)
        launcher.register_instance(instance)
        run = instance.create_run_for_job(_job(), tags={PARTITION_TAG: module_ready.key})
        yield Cluster(api, launcher, KubernetesJobHandler(launcher), module_ready, instance, run)


@pytest.fixture
def cluster(one_cluster: Cluster) -> Iterator[Cluster]:
    """That of the module, on which nothing has been launched yet."""
    yield replace(one_cluster, handler=KubernetesJobHandler(one_cluster.launcher))
    one_cluster.api.forget()
    one_cluster.rules.unlink(missing_ok=True)
    for failed in one_cluster.ready.home.store.asset_folder(one_cluster.ready.key, "sorting").glob("failed/*"):
        forget_failure(failed)


def _container(job: Mapping[str, Any]) -> dict[str, Any]:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return container


def test_the_job_of_every_step_is_valid_and_asks_for_what_its_recording_needs(cluster: Cluster) -> None:
    jobs = {asset: cluster.launch(asset) for asset in PIPELINE}  # the stand-in refuses what is not valid

    limits = {asset: _container(job)["resources"]["limits"] for asset, job in jobs.items()}
    assert {asset for asset, given in limits.items() if "nvidia.com/gpu" in given} == {"sorting"}
    assert all(
        _container(job)["resources"]["requests"]["memory"] == limits[asset]["memory"] for asset, job in jobs.items()
    )
    # Of ten seconds, a tenth of what is declared.
    assert limits["waveforms"] == {"cpu": "4", "memory": "4000M"}
    pod = jobs["sorting"]["spec"]["template"]["spec"]
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert "affinity" in pod
    assert "The step asks Kubernetes for 1 GPU, 4 CPUs and" in cluster.said()


def test_pods_have_folders_environment_and_secrets_and_nothing_secret_in_clear(cluster: Cluster) -> None:
    job = cluster.launch("binary_dat")

    container, pod = _container(job), job["spec"]["template"]["spec"]
    given = {one["name"]: one.get("value") for one in container["env"]}
    assert given["SORT_ASSETS_ENGINE"] == "kubernetes"
    assert given["SORT_ASSETS_CORES"] == "4"
    assert given["SORT_ASSETS_STORE"] == str(cluster.ready.home.roots.store)
    assert given["DAGSTER_RUN_STEP_KEY"] == "binary_dat"  # by which a step ends with its run
    assert given["DAGSTER_HOME"] != str(cluster.ready.home.folder / "dagster")
    assert container["envFrom"] == [{"secretRef": {"name": "sort-assets"}}]
    assert PASSWORD not in json.dumps(job)
    assert [one["mountPath"] for one in container["volumeMounts"]] == [
        *("/data/recordings", "/data/store", "/etc/sort-assets", "/scratch")
    ]
    assert (pod["serviceAccountName"], pod["terminationGracePeriodSeconds"]) == ("sort-assets", 60)
    assert job["spec"]["backoffLimit"] == 0  # Dagster retries, and counts


def test_rules_and_what_ran_out_of_memory_change_what_a_step_asks_for(cluster: Cluster) -> None:
    rules = "rules: [{match: '*.nwb', sorter: {device: cpu}, resources: {sorting: {time_limit_h: 2}}}]"
    cluster.rules.write_text(rules, encoding="utf-8")
    record_failure(
        *(cluster.ready.home.store, cluster.ready.key, "sorting"),
        version="20260101T000000000-x",
        run_id="another run",
        attempt=1,
        error=HostOutOfMemoryError("Killed.", remedy="Launch it again.", **{MEMORY_LIMIT_GB: 20}),
        scaled={},
        logs=[],
        retried=False,
    )

    job = cluster.launch("sorting")

    assert _container(job)["resources"]["limits"] == {"cpu": "4", "memory": "40000M"}
    assert "tolerations" not in job["spec"]["template"]["spec"]
    assert job["spec"]["activeDeadlineSeconds"] == 7200


def test_a_misspelt_field_is_noticed(cluster: Cluster) -> None:
    job = copy.deepcopy(cluster.launch("sorting"))
    _container(job)["resources"]["limit"] = {}

    with pytest.raises(ValidationError, match="limit"):
        check(job)


def test_a_run_is_a_small_job(cluster: Cluster) -> None:
    run = cluster.run._replace(job_code_origin=dg.reconstructable(_job).get_python_origin())
    cluster.launcher.launch_run(LaunchRunContext(run, None))

    (job,) = cluster.api.jobs.values()
    assert _container(job)["resources"] == {
        "requests": {"cpu": "250m", "memory": "2G"},
        "limits": {"memory": "2G"},
    }
    assert PASSWORD not in json.dumps(job)


def _pod(name: str = "p", **status: Any) -> dict[str, Any]:
    container = {"name": "dagster", "image": "i", "resources": {"limits": {"memory": "4000M"}}}
    return {"metadata": {"name": name}, "spec": {"nodeName": "n1", "containers": [container]}, "status": status}


def _container_state(**state: Any) -> dict[str, Any]:
    one = {"name": "dagster", "image": "i", "imageID": "", "ready": False, "restartCount": 0, "state": state}
    return {"containerStatuses": [one]}


def _condition(kind: str, status: str, reason: str, message: str) -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def test_a_step_killed_at_its_memory_says_so_and_the_next_attempt_asks_for_more(cluster: Cluster) -> None:
    job = cluster.launch("sorting")["metadata"]["name"]
    store, key = cluster.ready.home.store, cluster.ready.key
    cluster.api.status[job] = {"failed": 1}
    cluster.api.pods[job] = [_pod(**_container_state(terminated={"exitCode": 137, "reason": "OOMKilled"}))]
    record_failure(
        *(store, key, "sorting"),
        version="20260101T000000000-x",
        run_id=cluster.run.run_id,
        attempt=1,
        error=StepCrashedError("The step's process was killed.", remedy="Look at its log."),
        scaled={},
        logs=[],
        retried=True,
    )

    health = cluster.health("sorting")

    assert not health.is_healthy
    assert "Pod p on node n1 used all of its memory and was killed." in str(health.unhealthy_reason)
    (attempt,) = failed_attempts(store, key, "sorting")
    assert type(attempt.error) is HostOutOfMemoryError
    assert attempt.error.diagnostics == {MEMORY_LIMIT_GB: 4.0}


@pytest.mark.parametrize(
    ("status", "pod", "said"),
    [
        (
            {"failed": 1},
            _pod(**_container_state(terminated={"exitCode": 1, "reason": "Error"})),
            "Pod p on node n1 ended with status 1 (Error).",
        ),
        ({"failed": 1}, _pod(reason="Evicted", message="Low on disk."), "was ended: Evicted. Low on disk."),
        (
            {
                "conditions": [
                    {"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "Too long."}
                ]
            },
            None,
            "DeadlineExceeded: Too long.",
        ),
        (
            {"active": 1},
            _pod(**_container_state(waiting={"reason": "ImagePullBackOff", "message": "Back-off pulling image"})),
            "ImagePullBackOff: Back-off pulling image. Check job_image",
        ),
        (
            {"active": 1},
            _pod(
                **_container_state(waiting={"reason": "CreateContainerConfigError", "message": 'secret "x" not found'})
            ),
            'secret "x" not found. Make the secret',
        ),
    ],
)
def test_what_ended_a_step_is_told(cluster: Cluster, status: Any, pod: Any, said: str) -> None:
    job = cluster.launch("binary_dat")["metadata"]["name"]
    cluster.api.status[job], cluster.api.pods[job] = status, [pod] if pod else []

    health = cluster.health("binary_dat")

    assert not health.is_healthy
    assert said in str(health.unhealthy_reason)


def test_a_step_that_waits_for_a_node_is_healthy_and_says_once_for_what(cluster: Cluster) -> None:
    job = cluster.launch("sorting")["metadata"]["name"]
    why = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    cluster.api.pods[job] = [_pod(conditions=[_condition("PodScheduled", "False", "Unschedulable", why)])]

    assert all(cluster.health("sorting").is_healthy for _ in range(3))

    assert cluster.said().count(why) == 1


def test_a_job_that_somebody_deleted_is_told(cluster: Cluster) -> None:
    job = cluster.launch("sorting")["metadata"]["name"]
    cluster.api.delete(job)

    health = cluster.health("sorting")

    assert "somebody deleted it" in str(health.unhealthy_reason)


def test_a_step_that_is_ended_has_its_job_deleted(cluster: Cluster) -> None:
    job = cluster.launch("sorting")["metadata"]["name"]

    list(cluster.handler.terminate_step(cluster.context("sorting")))

    assert cluster.api.deleted == [job]


def test_a_job_that_is_refused_says_what_kubernetes_said(cluster: Cluster) -> None:
    cluster.api.refuses = 'jobs.batch is forbidden: User "sort-assets" cannot create resource "jobs"'

    with pytest.raises(InstanceError, match="cannot create resource") as raised:
        cluster.launch("sorting")

    assert "service account" in raised.value.remedy


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"job_image": None}, "lack job_image"),
        ({"env_secrets": []}, "lack env_secrets"),
        ({"job_imgae": "x"}, 'unexpected config entry "job_imgae"'),
        ({"env_vars": ["SORT_ASSETS_POSTGRES_URL=postgresql://u:p@h/d"]}, "in clear"),
    ],
)
def test_settings_that_can_not_be_used_say_why(environment: Path, changed: dict[str, Any], said: str) -> None:
    settings_file(environment.parent, **changed)

    with pytest.raises(InstanceError, match="(?is)" + said.replace('"', ".")):
        launcher_settings()


def test_without_a_database_or_a_file_nothing_is_launched(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SORT_ASSETS_KUBERNETES")
    with pytest.raises(InstanceError, match="SORT_ASSETS_KUBERNETES is not set"):
        launcher_settings()
    monkeypatch.delenv("SORT_ASSETS_POSTGRES_URL")
    with pytest.raises(InstanceError, match="SORT_ASSETS_POSTGRES_URL is not set"):
        launcher_settings()


def test_the_control_host_of_the_example_is_valid() -> None:
    objects = list(YAML(typ="safe").load_all((EXAMPLES / "control.yaml").read_text(encoding="utf-8")))

    for one in objects:
        check(one)

    (deployment,) = (one for one in objects if one["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    pods = YAML(typ="safe").load((EXAMPLES / "pods.yaml").read_text(encoding="utf-8"))
    assert pod["containers"][0]["image"] == pods["job_image"]
    assert pod["serviceAccountName"] == pods["service_account_name"]
    claims = {one["metadata"]["name"] for one in objects if one["kind"] == "PersistentVolumeClaim"}
    mounted = [*pod["volumes"], *pods["volumes"]]
    named = [one.get("persistentVolumeClaim") or one.get("persistent_volume_claim") for one in mounted]
    assert {claim.get("claimName") or claim["claim_name"] for claim in named if claim} <= claims


def test_an_image_that_is_pulled_again_is_waited_for_for_a_while(cluster: Cluster) -> None:
    job = cluster.launch("binary_dat")["metadata"]["name"]
    pod = _pod(**_container_state(waiting={"reason": "ImagePullBackOff", "message": "Back-off pulling image"}))
    pod["metadata"]["creationTimestamp"] = datetime.now(UTC).isoformat()
    cluster.api.pods[job] = [pod]

    assert cluster.health("binary_dat").is_healthy

    assert "Check job_image" in cluster.said()
    pod["metadata"]["creationTimestamp"] = (datetime.now(UTC) - timedelta(minutes=11)).isoformat()
    assert not cluster.health("binary_dat").is_healthy
