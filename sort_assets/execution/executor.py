"""The GPU-tagged executor in its local form.

Every step runs in its own process. GPU steps carry `GPU_TAGS` and take a slot of the `gpu` pool, which holds across
runs; inside, they lease one device. Other executors (dagster-ray) read the same tags.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

GPU_POOL = "gpu"
GPU_TAGS: Mapping[str, Any] = {"sort_assets/gpu": "1", "dagster-ray/config": {"num_gpus": 1}}

# Steps are forked from a server that has already imported these, which saves seconds per step. Torch and kilosort are
# not among them: most steps do without, and CUDA must not be initialised before a device is leased.
PRELOADED_MODULES = ["sort_assets.definitions", "sort_assets.execution.preload"]

local_executor = dg.multiprocess_executor.configured(
    {"start_method": {"forkserver": {"preload_modules": PRELOADED_MODULES}}}, name="local_processes"
)
