"""Results of recordings whose manifests say what they cost, without the results themselves."""

from collections.abc import Mapping
from typing import Any

from sort_assets.config import SortingPipelineConfig
from sort_assets.platform.pipeline.catalog import CATALOG
from sort_assets.platform.store.details import Details
from sort_assets.platform.store.manifest import InputVersion
from sort_assets.platform.store.step_cost import StepCost
from sort_assets.platform.store.store import Artefact, Store

GPU = "NVIDIA H200"
CHANNELS, SAMPLES = 16, 300_000


def cost(**other: Any) -> StepCost:
    """100 s of wall clock on a GPU, of 16 channels for 10 s at 30 kHz."""
    known = {
        "wall_s": 110.0,
        "waited_s": 10.0,
        "cpu_s": 50.0,
        "gpu_s": 90.0,
        "device": GPU,
        "peak_memory_bytes": 2_000_000_000,
        "channels": CHANNELS,
        "samples": SAMPLES,
    }
    return StepCost(**{**known, **other})


def publish_all(
    store: Store,
    recording: str,
    config: Mapping[str, Any] | None = None,
    step_cost: StepCost | None = None,
    *,
    with_cost: bool = True,
) -> dict[str, Artefact]:
    """Every result of a recording, of 1000 bytes each."""
    resolved = SortingPipelineConfig.model_validate(config or {}).model_dump(mode="json")
    made: dict[str, Artefact] = {}
    for asset in CATALOG:
        inputs = {}
        if asset.made_from is not None:
            read = made[asset.made_from.asset].manifest
            inputs[read.asset] = InputVersion(version=read.version, data_version=read.data_version)
        with store.stage(recording, asset.name, run_id="0123abcd") as staging:
            (staging.path / "result").write_bytes(b"x" * 1000)
            made[asset.name] = staging.publish(
                data_version="v",
                config=resolved,
                config_sources={},
                inputs=inputs,
                details=Details(num_units=8, channels=CHANNELS),
                cost=(step_cost or cost()) if with_cost else None,
            )
    return made
