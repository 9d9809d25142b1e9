"""Why a job of Ray is over although its step has not said how it ended, in words; and what the nodes of a Ray have."""

import json
import re
from typing import TYPE_CHECKING

from ray.dashboard.modules.job.common import JobErrorType, JobStatus
from ray.exceptions import RayError
from ray.util.state import list_nodes
from ray.util.state.exception import RayStateApiException

from sort_assets.errors import InstanceError, SortAssetsError, StepCrashedError
from sort_assets.platform.engines.ray.on_node import CANNOT_RUN_HERE, LACK

if TYPE_CHECKING:
    from ray.job_submission import JobDetails

_NOT_FOUND = 127
"""Exit status of a shell that does not find a command."""
_MODULE_MISSING = re.compile(r"No module named '?([\w.]+)")
_EXCERPT_LINES = 15


def failure_of(job: "JobDetails") -> tuple[SortAssetsError, bool]:
    """What went wrong, and whether another attempt may help.

    Parameters
    ----------
    job : JobDetails
        A job that is over.
    """
    where = f"Ray job {job.submission_id} on node {_address_of_node(job)}"
    if job.status == JobStatus.STOPPED:
        return StepCrashedError(
            f"{where} was stopped from outside, by `ray job stop` or in Ray's dashboard.",
            remedy="If nobody meant to end this step, launch the run again.",
        ), False
    if job.status == JobStatus.SUCCEEDED:
        return StepCrashedError(
            f"{where} ended without an error, and its step did not say how it ended.",
            remedy="Look at the job's log in Ray's dashboard; then launch the run again.",
        ), True
    if job.driver_exit_code == CANNOT_RUN_HERE and (lacks := _lines_with(LACK, job.message or "")):
        return SortAssetsError.from_dict(json.loads(lacks[-1].partition(LACK)[2])), False
    missing = _MODULE_MISSING.search(job.message or "")
    if job.driver_exit_code == _NOT_FOUND or missing:
        return InstanceError(
            f"{where}: the `python` in the PATH of the node's `ray start` "
            + (f"has no package {missing[1]}." if missing else "does not exist."),
            remedy="Install sort_assets there as on the control host, activate its environment, and start Ray there "
            "again (`ray stop`, then `ray start …`).",
        ), False
    if job.error_type == JobErrorType.JOB_SUPERVISOR_ACTOR_DIED:
        return StepCrashedError(
            f"{where} was lost: the node has died or was cut off, or Ray's processes there were killed.",
            remedy="Look whether the node is up (`ray status`), and start Ray there again.",
            log_excerpt=_last_lines(job),
        ), True
    status = "" if job.driver_exit_code is None else f" with exit status {job.driver_exit_code}"
    return StepCrashedError(
        f"{where} ended{status}.",
        remedy="Look at the job's log in Ray's dashboard, and whether the node ran out of memory (`journalctl -k`).",
        log_excerpt=_last_lines(job),
    ), True


def has_waited_too_long(job: "JobDetails") -> bool:
    """Whether Ray has given the job up because nothing was free for it within RAY_JOB_START_TIMEOUT_SECONDS."""
    return bool(job.status == JobStatus.FAILED and job.error_type == JobErrorType.JOB_SUPERVISOR_ACTOR_START_TIMEOUT)


def nodes_in_words(address: str) -> str:
    """What each living node of a Ray has in all, as a sentence.

    Parameters
    ----------
    address : str
        Of its dashboard.
    """
    try:
        nodes = [node for node in list_nodes(address=address, detail=True) if node.state == "ALIVE"]
    except (OSError, RuntimeError, RayError, RayStateApiException) as error:
        return f"What its nodes have in all, it does not say: {error}."
    if not nodes:
        return "It has no living node."
    return f"In all, {'; '.join(f'{node.node_name} has {_amounts(node.resources_total)}' for node in nodes)}."


def _amounts(resources: dict[str, float]) -> str:
    memory_gb = resources.get("memory", 0.0) / 1e9
    return f"{resources.get('CPU', 0):g} CPUs, {resources.get('GPU', 0):g} GPUs and {memory_gb:.0f} GB of memory"


def _address_of_node(job: "JobDetails") -> str:
    found = re.search(r"//(.*):", job.driver_agent_http_address or "")
    return found[1] if found else "unknown"


def _lines_with(start: str, text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(start)]


def _last_lines(job: "JobDetails") -> str:
    return "\n".join((job.message or "").strip().splitlines()[-_EXCERPT_LINES:])
