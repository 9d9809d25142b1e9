"""What the pods of a job say of themselves: why they wait, and how they ended."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from kubernetes.utils import parse_quantity

if TYPE_CHECKING:
    from kubernetes.client import V1Pod

_OUT_OF_MEMORY = "OOMKilled"
_FOR_EVER = {
    "InvalidImageName": "Correct job_image.",
    "ErrImageNeverPull": "Put the image onto the node, or set image_pull_policy to IfNotPresent.",
    "ImagePullBackOff": "Check job_image, and whether nodes may pull it (image_pull_secrets).",
    "CreateContainerConfigError": "Make the secret or the map that it names (env_secrets, env_config_maps).",
    "CreateContainerError": "Check volumes, volume_mounts and security_context.",
}
"""What does not change by waiting, with what to do about it."""
_PULLED_AGAIN = "ImagePullBackOff"
_PULLED_FOR = timedelta(minutes=10)
"""Kubernetes pulls an image again and again; a registry may be away for a while."""


@dataclass(frozen=True)
class PodEnd:
    """How a pod ended.

    Attributes
    ----------
    sentence : str
        For people.
    out_of_memory : bool
        Whether it was killed at its limit of memory.
    memory_gb : float or None
        That limit.
    """

    sentence: str
    out_of_memory: bool = False
    memory_gb: float | None = None


@dataclass(frozen=True)
class PodWait:
    """Why a pod does not run yet.

    Attributes
    ----------
    sentence : str
        For people.
    for_ever : bool
        Whether somebody has to do something about it.
    """

    sentence: str
    for_ever: bool = False


def end_of_pods(pods: "Iterable[V1Pod]") -> PodEnd | None:
    """How the newest of a job's pods ended, as far as it is known."""
    for pod in sorted(pods, key=lambda one: str(one.metadata.creation_timestamp), reverse=True):
        where = f"Pod {pod.metadata.name} on node {pod.spec.node_name}"
        for container in pod.status.container_statuses or ():
            ended = container.state.terminated
            if ended is None or ended.exit_code == 0:
                continue
            if ended.reason == _OUT_OF_MEMORY:
                return PodEnd(f"{where} used all of its memory and was killed.", True, _memory_limit_gb(pod))
            return PodEnd(f"{where} ended with status {ended.exit_code} ({ended.reason}).")
        if pod.status.reason:  # evicted, preempted, its node is lost
            return PodEnd(f"{where} was ended: {pod.status.reason}. {pod.status.message or ''}".rstrip())
    return None


def why_pods_wait(pods: "Iterable[V1Pod]") -> PodWait | None:
    """Why the pods of a job do not run; None where they do, or will in a moment."""
    for pod in pods:
        for container in pod.status.container_statuses or ():
            waiting = container.state.waiting
            if waiting is not None and waiting.reason in _FOR_EVER:
                said = f"{waiting.reason}: {waiting.message or pod.spec.containers[0].image}"
                lasts = waiting.reason != _PULLED_AGAIN or _is_old(pod)
                return PodWait(f"Pod {pod.metadata.name} can't start. {said}. {_FOR_EVER[waiting.reason]}", lasts)
        for condition in pod.status.conditions or ():
            if condition.type == "PodScheduled" and condition.reason == "Unschedulable":
                return PodWait(f"Pod {pod.metadata.name} waits for a node: {condition.message}")
    return None


def _is_old(pod: "V1Pod") -> bool:
    made = pod.metadata.creation_timestamp
    return made is None or datetime.now(UTC) - made > _PULLED_FOR


def _memory_limit_gb(pod: "V1Pod") -> float | None:
    resources = pod.spec.containers[0].resources
    limit = ((resources and resources.limits) or {}).get("memory")
    return None if limit is None else float(parse_quantity(limit)) / 1e9
