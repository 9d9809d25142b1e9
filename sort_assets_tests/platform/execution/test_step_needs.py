"""How engines are told what a step needs."""

import json

import dagster as dg
import pytest
from dagster_k8s.job import get_user_defined_k8s_config
from dagster_ray.configs import RayExecutionConfig

from sort_assets.definitions import defs
from sort_assets.platform.execution.step_needs import KUBERNETES_TAG, StepNeeds


def _tags(needs: StepNeeds) -> dict[str, str]:
    """As Dagster keeps them."""
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in needs.op_tags().items()}


def test_ray_is_asked_for_cores_memory_and_gpus() -> None:
    asked = RayExecutionConfig.from_tags(_tags(StepNeeds(cpus=4, memory_gb=16, gpus=1)))

    assert (asked.num_cpus, asked.num_gpus, asked.memory) == (4, 1, 16_000_000_000)


def test_kubernetes_is_asked_for_the_same_amounts_as_request_and_as_limit() -> None:
    asked = get_user_defined_k8s_config(_tags(StepNeeds(cpus=4, memory_gb=7.5, gpus=1)))

    resources = asked.container_config["resources"]
    assert resources["requests"] == {"cpu": "4", "memory": "7500M"}
    assert resources["limits"] == {"cpu": "4", "memory": "7500M", "nvidia.com/gpu": "1"}
    assert asked.pod_spec_config["tolerations"][0]["key"] == "nvidia.com/gpu"


def test_a_step_without_gpu_says_nothing_of_gpus() -> None:
    tags = _tags(StepNeeds())

    assert "gpu" not in json.dumps(tags)


def test_only_a_limit_that_somebody_set_ends_a_job() -> None:
    endless, limited = (
        get_user_defined_k8s_config(_tags(needs)) for needs in (StepNeeds(), StepNeeds(time_limit_h=1.5))
    )

    assert endless.job_spec_config == {}
    assert limited.job_spec_config == {"active_deadline_seconds": 5400}


@pytest.mark.parametrize("job", ["sort_recording", "summarize_units", "send_digest"])
def test_every_step_tells_the_engines_what_it_needs(job: str) -> None:
    # With Ray, a step that asks for no cores runs on the head; in Kubernetes, one without a limit may take all memory.
    for node in defs.resolve_job_def(job).graph.node_defs:
        assert RayExecutionConfig.from_tags(node.tags).num_cpus
        assert "memory" in json.loads(node.tags[KUBERNETES_TAG])["container_config"]["resources"]["limits"]


def test_what_asks_for_a_gpu_is_in_the_pool() -> None:
    nodes = defs.resolve_job_def("sort_recording").graph.node_defs

    asking = {node.name for node in nodes if RayExecutionConfig.from_tags(node.tags).num_gpus}
    in_pool = {node.name for node in nodes if isinstance(node, dg.OpDefinition) and node.pool == "gpu"}
    assert asking == in_pool == {"sorting"}
