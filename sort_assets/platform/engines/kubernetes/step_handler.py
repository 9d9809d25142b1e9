"""Steps as jobs of Kubernetes, by dagster-k8s' step handler: each asks for what it needs on its recording.

dagster-k8s reads that from the tags of a step, which are the same for all recordings.
"""

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import dagster as dg

# Without public names, though every step handler is made of them (dagster-k8s, dagster-docker, dagster-ray).
from dagster._core.events import EngineEventData
from dagster._core.executor.step_delegating import CheckStepHealthResult, StepHandlerContext
from dagster_k8s import K8sRunLauncher
from dagster_k8s.client import DagsterK8sAPIRetryLimitExceeded, DagsterK8sUnrecoverableAPIError
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.executor import K8sStepHandler
from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from sort_assets.config.settings import KUBERNETES_VARIABLE, Roots
from sort_assets.errors import HostOutOfMemoryError, InstanceError
from sort_assets.platform.engines.kubernetes.pod_end import PodEnd, end_of_pods, why_pods_wait
from sort_assets.platform.execution.step_needs import StepNeeds
from sort_assets.platform.pipeline.run_requests import RunRequests
from sort_assets.platform.store.dead_staging import record_out_of_memory
from sort_assets.platform.store.store import Store

if TYPE_CHECKING:
    from kubernetes.client import V1JobStatus, V1Pod

_NO_ANSWER = (DagsterK8sAPIRetryLimitExceeded, DagsterK8sUnrecoverableAPIError, ApiException, HTTPError, OSError)


class _WithTags(StepHandlerContext):
    """The same context, whose steps have other tags."""

    def __init__(self, context: StepHandlerContext, tags: Mapping[str, Mapping[str, str]]) -> None:
        vars(self).update(vars(context))
        self._tags = tags

    @property
    def step_tags(self) -> Mapping[str, Mapping[str, str]]:
        return self._tags


class KubernetesJobHandler(K8sStepHandler):
    """Executes each step as a job of Kubernetes.

    Parameters
    ----------
    launcher : K8sRunLauncher
        The instance's; the pods of steps are made like those of its runs.
    """

    def __init__(self, launcher: K8sRunLauncher) -> None:
        super().__init__(
            image=None,
            container_context=K8sContainerContext(),
            load_incluster_config=launcher.load_incluster_config,
            kubeconfig_file=launcher.kubeconfig_file,
        )
        self._asked: dict[str, StepNeeds] = {}
        self._told: set[tuple[str, str]] = set()

    def launch_step(self, step_handler_context: StepHandlerContext) -> Iterator[dg.DagsterEvent]:
        """Make the job of a step."""
        context, step_key = step_handler_context, self._get_step_key(step_handler_context)
        needs = self._needs(context)
        tags = {**context.step_tags[step_key], **_as_dagster_keeps(needs)}
        self._tell(context, f"The step asks Kubernetes for {needs.in_words}.")
        try:
            yield from super().launch_step(_WithTags(context, {**context.step_tags, step_key: tags}))
        except DagsterK8sUnrecoverableAPIError as error:
            raise InstanceError(
                f"Kubernetes refuses the job of step {step_key}: {_said_by(error.k8s_api_exception)}",
                remedy=f"If it is not allowed, give the service account of {KUBERNETES_VARIABLE} the rights of "
                "examples/kubernetes; if a quota is used up, lower resources of the step, or ask for a larger one.",
            ) from error

    def check_step_health(self, step_handler_context: StepHandlerContext) -> CheckStepHealthResult:
        """Whether the job of a step may still end well; while Kubernetes does not answer, it may."""
        context, job = step_handler_context, self._get_k8s_step_job_name(step_handler_context)
        namespace = str(self._get_container_context(context).namespace)
        try:
            status = self._api_client.get_job_status(namespace=namespace, job_name=job)
            pods = self._api_client.get_pods_in_job(job, namespace)
        except _NO_ANSWER as error:
            self._tell_once(context, job, f"Kubernetes does not say how the job is, and is asked again: {error}")
            return CheckStepHealthResult.healthy()
        if status is None:
            return CheckStepHealthResult.unhealthy(f"Kubernetes has no job {job} any more: somebody deleted it.")
        if _has_failed(status):
            return CheckStepHealthResult.unhealthy(self._why_it_failed(context, job, status, pods))
        waits = why_pods_wait(pods)
        if waits is None:
            return CheckStepHealthResult.healthy()
        if waits.for_ever:
            try:
                self._api_client.delete_job(job_name=job, namespace=namespace)
            except _NO_ANSWER as error:
                self._tell_once(context, job, f"The job could not be deleted, and is asked about again: {error}")
                return CheckStepHealthResult.healthy()
            return CheckStepHealthResult.unhealthy(waits.sentence)
        self._tell_once(context, job, waits.sentence)
        return CheckStepHealthResult.healthy()

    def _why_it_failed(self, context: StepHandlerContext, job: str, status: "V1JobStatus", pods: "list[V1Pod]") -> str:
        end = end_of_pods(pods)
        reasons = [f"{one.reason}: {one.message}" for one in status.conditions or () if one.type == "Failed"]
        said = " ".join([f"Kubernetes job {job} has failed.", *([] if end is None else [end.sentence]), *reasons])
        if end is not None and end.out_of_memory:
            self._remember_memory(context, said, end)
        return said

    def _remember_memory(self, context: StepHandlerContext, said: str, end: PodEnd) -> None:
        requests, step_key = RunRequests(context.instance, context.dagster_run), self._get_step_key(context)
        if requests.recording is None:
            return
        limit_gb = end.memory_gb or self._needs(context).memory_gb
        error = HostOutOfMemoryError(
            f"{said} It had {limit_gb:g} GB.",
            remedy=f"Launch it again: it asks for more. To ask for more at once, set resources.{step_key}.memory_gb.",
            memory_limit_gb=limit_gb,
        )
        store, run_id = Store(Roots.from_environment().store), context.execute_step_args.run_id
        try:
            record_out_of_memory(store, requests.recording, step_key, run_id=run_id, error=error)
        except OSError as error:
            self._tell(context, f"That memory ran out can't be kept for the next attempt: {error}")

    def _needs(self, context: StepHandlerContext) -> StepNeeds:
        """What the attempt that is due asks for, looked up once."""
        job = self._get_k8s_step_job_name(context)
        if job not in self._asked:
            self._asked[job] = RunRequests(context.instance, context.dagster_run).of_step(self._get_step_key(context))
        return self._asked[job]

    def _tell_once(self, context: StepHandlerContext, job: str, text: str) -> None:
        if (job, text) not in self._told:
            self._told.add((job, text))
            self._tell(context, text)

    def _tell(self, context: StepHandlerContext, text: str) -> None:
        step = context.get_step_context(self._get_step_key(context))
        dg.DagsterEvent.engine_event(step, text, event_specific_data=EngineEventData())


def _as_dagster_keeps(needs: StepNeeds) -> dict[str, str]:
    """Tags as text, where what is no text is JSON."""
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in needs.op_tags().items()}


def _has_failed(status: "V1JobStatus") -> bool:
    # A job that was ended at its time limit has the condition, but no pod any more that would count as failed.
    return bool(status.failed) or any(one.type == "Failed" and one.status == "True" for one in status.conditions or ())


def _said_by(error: ApiException) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return f"{error.status} {error.reason}. {error.body or ''}".rstrip()
