"""What a step needs of the machine that executes it, and how each engine is told.

The catalogue of assets declares it (`pipeline.catalog`); `pipeline.step_requests` says what a step asks for on a
certain recording. The tags that Dagster's engines read are made here and nowhere else.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sort_assets.config.settings import CORES_VARIABLE

LOCAL_GPU_TAG: Final = "sort_assets/gpu"
"""For limits by tag, which people may configure."""
RAY_TAG: Final = "dagster-ray/config"
KUBERNETES_TAG: Final = "dagster-k8s/config"

GPU_RESOURCE: Final = "nvidia.com/gpu"
"""The resource that NVIDIA's device plugin announces on nodes of Kubernetes, and the taint that they often have."""
_GPU_MEMORY_LABEL: Final = "nvidia.com/gpu.memory"
"""Label of a node with the memory of its GPUs in MiB, from NVIDIA's GPU feature discovery."""


@dataclass(frozen=True)
class StepNeeds:
    """What a step, or a whole run, needs.

    Attributes
    ----------
    cpus : int
        Cores.
    memory_gb : float
        Memory of the host, in GB of 1e9 bytes.
    gpus : int
    gpu_memory_gb : float or None
        Memory that each GPU should have; None where nothing is known.
    time_limit_h : float or None
        After how many hours the engine may end it; None where nobody set a limit.
    why : Mapping[str, str]
        By the name of a number, who or what decided it; nothing of those that are as declared.
    """

    cpus: int = 1
    memory_gb: float = 4.0
    gpus: int = 0
    gpu_memory_gb: float | None = None
    time_limit_h: float | None = None
    why: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def memory_bytes(self) -> int:
        """Memory of the host in bytes."""
        return math.ceil(self.memory_gb * 1e9)

    @property
    def in_words(self) -> str:
        """For people, as part of a sentence."""
        gpus = {0: "", 1: "1 GPU, "}.get(self.gpus, f"{self.gpus} GPUs, ")
        limit = "" if self.time_limit_h is None else f", for at most {self.time_limit_h:g} h"
        return f"{gpus}{self.cpus} CPU{'' if self.cpus == 1 else 's'} and {self.memory_gb:g} GB of memory{limit}"

    def op_tags(self) -> dict[str, Any]:
        """The tags of Dagster's op by which engines are told."""
        return {
            **({LOCAL_GPU_TAG: str(self.gpus)} if self.gpus else {}),
            RAY_TAG: self._for_ray(),
            KUBERNETES_TAG: self._for_kubernetes(),
        }

    def _for_ray(self) -> dict[str, Any]:
        # Without num_cpus, a job runs on the head, however many are there already (ray-project/ray#42432).
        asked = {"num_cpus": self.cpus, "memory": self.memory_bytes}
        return {**asked, "num_gpus": self.gpus} if self.gpus else asked

    def _for_kubernetes(self) -> dict[str, Any]:
        # The same as request and as limit: the memory that is asked for is there. A step counts the cores that it was
        # given, which it would not see where nodes have cgroups of version 1.
        amounts = {"cpu": str(self.cpus), "memory": f"{math.ceil(self.memory_gb * 1000)}M"}
        gpus = {GPU_RESOURCE: str(self.gpus)} if self.gpus else {}
        config: dict[str, Any] = {
            "container_config": {
                "resources": {"requests": amounts, "limits": {**amounts, **gpus}},
                "env": [{"name": CORES_VARIABLE, "value": str(self.cpus)}],
            },
        }
        if self.gpus:
            config["pod_spec_config"] = {
                "tolerations": [{"key": GPU_RESOURCE, "operator": "Exists", "effect": "NoSchedule"}],
                **({} if self.gpu_memory_gb is None else {"affinity": _with_gpu_memory(self.gpu_memory_gb)}),
            }
        if self.time_limit_h is not None:
            config["job_spec_config"] = {"active_deadline_seconds": math.ceil(self.time_limit_h * 3600)}
        return config


def _with_gpu_memory(memory_gb: float) -> dict[str, Any]:
    """Prefer nodes whose GPUs have that much memory; others will do, since a sort can take less."""
    mebibytes = math.floor(memory_gb * 1e9 / 2**20)
    enough = {"key": _GPU_MEMORY_LABEL, "operator": "Gt", "values": [str(mebibytes - 1)]}
    preferred = {"weight": 100, "preference": {"match_expressions": [enough]}}
    return {"node_affinity": {"preferred_during_scheduling_ignored_during_execution": [preferred]}}


SMALL_STEP = StepNeeds()
"""Of steps that are no asset of a recording: the summary, the digest."""
