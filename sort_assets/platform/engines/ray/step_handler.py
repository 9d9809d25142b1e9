"""Steps as jobs of Ray, by dagster-ray's step handler, whose defects (up to 0.4.8) are mended here one by one.

Ray's head may be away, or be started again, at any time; a run waits for it.
"""

import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import dagster as dg

# Without public names, though every step handler is made of them (dagster-k8s, dagster-docker, dagster-ray).
from dagster._core.events import EngineEventData
from dagster._core.execution.plan.objects import StepFailureData, UserFailureData
from dagster._core.executor.step_delegating import CheckStepHealthResult, StepHandlerContext
from dagster_ray.core.executor import RayStepHandler
from dagster_shared.error import SerializableErrorInfo
from ray.job_submission import JobStatus, JobSubmissionClient

from sort_assets.config.settings import RAY_VARIABLE
from sort_assets.errors import InstanceError, SortAssetsError
from sort_assets.platform.engines.ray.job_end import failure_of, has_waited_too_long, nodes_in_words
from sort_assets.platform.engines.ray.on_node import step_words
from sort_assets.platform.execution.step_needs import StepNeeds
from sort_assets.platform.pipeline.failure_rendering import render_failure
from sort_assets.platform.pipeline.run_requests import RunRequests

if TYPE_CHECKING:
    from dagster._core.execution.context.system import IStepContext
    from requests import Response

PATIENCE_S = 900.0
"""For how long a Ray that can't be reached is waited for."""
_REQUEST_TIMEOUT_S = 30.0
_SERVER_ERROR = "status code 5"
_UNKNOWN = "status code 404"
_SAYS_IT_WAITS_S = 30.0
_ENDS = {dg.DagsterEventType.STEP_SUCCESS, dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.STEP_UP_FOR_RETRY}


class RayClient(JobSubmissionClient):  # type: ignore[misc]
    """Ray's client, whose requests end. Ray 2.60 waits for ever for a head that has stopped to answer."""

    def _do_request(self, method: str, endpoint: str, **kwargs: Any) -> "Response":
        response: Response = super()._do_request(method, endpoint, **{"timeout": _REQUEST_TIMEOUT_S, **kwargs})
        return response


@dataclass
class _Job:
    """One attempt of a step as a job of Ray.

    Attributes
    ----------
    name : str
        Its id in Ray.
    needs : StepNeeds
        What it asks for.
    submitted : bool
        Whether Ray has it.
    times : int
        How often it was submitted.
    since : float
        When it was to be submitted first, by the monotonic clock.
    away_since : float or None
        Since when Ray can't be reached.
    told_that_it_waits : bool
        Whether the log says that no node is free for it.
    given_up : bool
        Whether its step was reported as failed.
    """

    name: str
    needs: StepNeeds
    submitted: bool = False
    times: int = 0
    since: float = field(default_factory=time.monotonic)
    away_since: float | None = None
    told_that_it_waits: bool = False
    given_up: bool = False


class RayJobHandler(RayStepHandler):
    """Executes each step as a job of Ray.

    Parameters
    ----------
    address : str
        Of Ray's dashboard.
    patience_s : float
        For how long a Ray that can't be reached is waited for.
    """

    def __init__(self, address: str, *, patience_s: float = PATIENCE_S) -> None:
        self._address = address.rstrip("/")
        self._patience_s = patience_s
        self._jobs: dict[str, _Job] = {}

    @cached_property
    def client(self) -> JobSubmissionClient:
        """The connection, made when it is first needed: that fails while the head is away."""
        return RayClient(self._address)

    def launch_step(self, step_handler_context: StepHandlerContext) -> Iterator[dg.DagsterEvent]:
        """Submit the job; while Ray can't be reached, that is left to `check_step_health`."""
        job = self._job(step_handler_context)
        yield dg.DagsterEvent.step_worker_starting(
            self._step_context(step_handler_context),
            message=f"Executing the step in Ray job {job.name}.",
            metadata={
                "ray_job": dg.MetadataValue.url(f"{self._address}/#/jobs/{job.name}"),
                "asks_for": job.needs.in_words,
            },
        )
        self._ask(step_handler_context, job, lambda: self._submit(step_handler_context, job))

    def check_step_health(self, step_handler_context: StepHandlerContext) -> CheckStepHealthResult:
        """Whether the job lives or has said how it ended; the executor asks every few seconds."""
        job = self._job(step_handler_context)
        if job.given_up:
            return CheckStepHealthResult.healthy()
        act = self._check if job.submitted else self._submit
        return self._ask(step_handler_context, job, lambda: act(step_handler_context, job))

    def terminate_step(self, step_handler_context: StepHandlerContext) -> Iterator[dg.DagsterEvent]:
        """Stop the job. One that Ray can't stop now ends by itself soon after its run."""
        try:
            yield from super().terminate_step(step_handler_context)
        except (OSError, RuntimeError) as error:
            self._tell(step_handler_context, f"Ray could not be asked to stop the job: {error}")

    def _get_ray_job_submission_id(self, step_handler_context: StepHandlerContext) -> str:
        return self._job(step_handler_context).name

    def _job(self, context: StepHandlerContext) -> _Job:
        """The job of the attempt that is due.

        Its id names run, step and attempt in full. dagster-ray 0.4.8 makes 32 bits of run and step, and Ray refuses an
        id that it has seen before.
        """
        name = f"{context.execute_step_args.run_id}-{self._get_step_key(context)}-{self._earlier_attempts(context) + 1}"
        if name not in self._jobs:
            requests = RunRequests(context.instance, context.dagster_run)
            self._jobs[name] = _Job(name, requests.of_step(self._get_step_key(context)))
        return self._jobs[name]

    def _earlier_attempts(self, context: StepHandlerContext) -> int:
        known = context.execute_step_args.known_state
        return int(known.get_retry_state().get_attempt_count(self._get_step_key(context))) if known else 0

    def _ask(
        self, context: StepHandlerContext, job: _Job, question: Callable[[], CheckStepHealthResult]
    ) -> CheckStepHealthResult:
        """Ask Ray; while it can't be reached, wait."""
        try:
            result = question()
        except OSError as error:
            return self._wait_for_ray(context, job, error)
        if job.away_since is not None:
            self._tell(context, f"Ray at {self._address} can be reached again.")
            job.away_since = None
        return result

    def _wait_for_ray(self, context: StepHandlerContext, job: _Job, error: OSError) -> CheckStepHealthResult:
        now = time.monotonic()
        what = f"Ray at {self._address} can't be reached or takes no jobs"
        remedy = f"Look whether its nodes are up (`ray status`), start those that are not, or correct {RAY_VARIABLE}"
        if job.away_since is None:
            job.away_since = now
            minutes = self._patience_s / 60
            self._tell(context, f"{what}; it is waited for, for up to {minutes:g} minutes. {remedy}. {error}")
        elif now - job.away_since > self._patience_s:
            self._give_up(
                context,
                job,
                InstanceError(
                    f"{what}, for {self._patience_s / 60:g} minutes: {error}",
                    remedy=f"{remedy}; then launch the run again.",
                ),
            )
        return CheckStepHealthResult.healthy()

    def _submit(self, context: StepHandlerContext, job: _Job) -> CheckStepHealthResult:
        run, step_key = context.dagster_run, self._get_step_key(context)
        variables = {
            "DAGSTER_RUN_JOB_NAME": run.job_name,
            "DAGSTER_RUN_STEP_KEY": step_key,
            **{one["name"]: one["value"] for one in context.execute_step_args.get_command_env()},
        }
        try:
            self.client.submit_job(
                submission_id=job.name,
                entrypoint=shlex.join(step_words(job.needs.cpus)),
                metadata={"dagster/job": run.job_name, "dagster/op": step_key, "dagster/run-id": run.run_id},
                runtime_env={"env_vars": variables},
                # Without any, Ray would start it on the head, however many run there (ray-project/ray#42432).
                entrypoint_num_cpus=job.needs.cpus,
                entrypoint_num_gpus=job.needs.gpus,
                entrypoint_memory=job.needs.memory_bytes,
            )
        except RuntimeError as error:
            if "already exists" in str(error):
                pass  # Ray has it, and its answer was lost
            elif _SERVER_ERROR in str(error):
                raise OSError(str(error)) from error  # the head is up, and takes no jobs yet
            else:
                raise
        job.submitted = True
        job.times += 1
        return CheckStepHealthResult.healthy()

    def _check(self, context: StepHandlerContext, job: _Job) -> CheckStepHealthResult:
        try:
            details = self.client.get_job_info(job.name)
        except RuntimeError as error:
            # dagster-ray 0.4.8 takes any trouble of the head for a job that is gone.
            if _UNKNOWN not in str(error):
                raise OSError(str(error)) from error
            if self._has_said_its_end(context):
                return CheckStepHealthResult.healthy()
            return CheckStepHealthResult.unhealthy(
                f"Ray does not know job {job.name} any more: its head was started again."
            )
        if details.status == JobStatus.PENDING:
            self._tell_that_it_waits(context, job)
        # dagster-ray 0.4.8 takes a job that was stopped, or has ended without an event of its step, for healthy, and
        # the run waits for ever; and it reports the end of a step once more that has just said it itself.
        if not details.status.is_terminal() or self._has_said_its_end(context):
            return CheckStepHealthResult.healthy()
        if has_waited_too_long(details):  # to wait for a free node, however long, is no failure
            job.name, job.submitted = f"{job.name.partition('~')[0]}~{job.times + 1}", False
            return self._submit(context, job)
        failure, another_may_help = failure_of(details)
        if another_may_help:
            return CheckStepHealthResult.unhealthy("\n".join(filter(None, (str(failure), failure.log_excerpt))))
        self._give_up(context, job, failure)
        return CheckStepHealthResult.healthy()

    def _has_said_its_end(self, context: StepHandlerContext) -> bool:
        step_key = self._get_step_key(context)
        ends = context.instance.all_logs(context.execute_step_args.run_id, of_type=_ENDS)
        return sum(entry.step_key == step_key for entry in ends) > self._earlier_attempts(context)

    def _tell_that_it_waits(self, context: StepHandlerContext, job: _Job) -> None:
        if job.told_that_it_waits or time.monotonic() - job.since < _SAYS_IT_WAITS_S:
            return
        job.told_that_it_waits = True
        self._tell(
            context,
            f"The step waits until a node of Ray has {job.needs.in_words} free. "
            f"{nodes_in_words(self._address)} The settings "
            f"resources.{self._get_step_key(context)} can ask for less.",
        )

    def _give_up(self, context: StepHandlerContext, job: _Job, error: SortAssetsError) -> None:
        """Report the step as failed, which no other attempt follows."""
        job.given_up = True
        shown = render_failure(error)
        dg.DagsterEvent.step_failure_event(
            step_context=self._step_context(context),
            step_failure_data=StepFailureData(
                error=SerializableErrorInfo(f"{shown.description}\n", [], type(error).__name__),
                user_failure_data=UserFailureData("intentional-failure", shown.description, shown.metadata),
            ),
        )

    def _tell(self, context: StepHandlerContext, text: str) -> None:
        dg.DagsterEvent.engine_event(self._step_context(context), text, event_specific_data=EngineEventData())

    def _step_context(self, context: StepHandlerContext) -> "IStepContext":
        return context.get_step_context(self._get_step_key(context))
