"""This lab's own history of what steps cost, as the manifests of current results tell it.

Results of versions that recorded no cost have none, and failed attempts count for nothing.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from sort_assets.config import SortingPipelineConfig
from sort_assets.config.section import Section
from sort_assets.forecasts.history import CostHistory, PastStep
from sort_assets.forecasts.totals import CPU_S, DISK_BYTES, GPU_S, PEAK_MEMORY_BYTES, WALL_S
from sort_assets.platform.pipeline.catalog import pipeline_asset, sections_decided_upstream
from sort_assets.platform.store.content_hash import hash_json
from sort_assets.platform.store.layout import CURRENT
from sort_assets.platform.store.step_cost import StepCost
from sort_assets.platform.store.store import Store

NEWEST_RECORDINGS = 500
"""The number of recordings whose results are read, those that were sorted last."""
_NO_INFLUENCE = {
    "sorter": {"device"},  # which one it was, the history says
    "recording": {"stream", "start_s", "end_s", "first_minutes"},  # which part it is; how large it is, counts
}


def settings_of(asset: str, config: Mapping[str, Any]) -> str:
    """Identifies the settings that take effect in the step of an asset: where it has none, in what it is made from.

    Parameters
    ----------
    asset : str
    config : Mapping[str, Any]
        The resolved configuration, as a manifest has it.

    Returns
    -------
    str
        A hash of what differs from the defaults, so that new fields change nothing.
    """
    sections = pipeline_asset(asset).config_sections or sections_decided_upstream(asset)[-1:]
    return hash_json({name: _differing(name, config.get(name) or {}) for name in sections})


def past_step(manifest: Mapping[str, Any]) -> PastStep | None:
    """What a manifest tells of its step; None where it was made without recording that, or of unknown shape.

    Parameters
    ----------
    manifest : Mapping[str, Any]
        As it stands in its file, unchecked.
    """
    cost = StepCost.parse(manifest.get("cost"))
    if cost is None or not cost.channels or not cost.samples:
        return None
    try:
        asset, config = str(manifest["asset"]), manifest["config"]
        return PastStep(
            step=asset,
            made_at=datetime.fromisoformat(manifest["created"]).timestamp(),
            size=float(cost.channels) * cost.samples,
            device=cost.device,
            on_gpu=cost.gpu_s > 0,
            sorter=str(config["sorter"]["name"]),
            settings=settings_of(asset, config),
            costs={
                WALL_S: max(0.0, cost.wall_s - cost.waited_s),
                CPU_S: cost.cpu_s,
                GPU_S: cost.gpu_s,
                PEAK_MEMORY_BYTES: cost.peak_memory_bytes,
                DISK_BYTES: sum(manifest["files"].values()),
            },
        )
    except (LookupError, TypeError, ValueError, AttributeError):  # damaged, which opening it says
        return None


def newest_recordings(store: Store, number: int = NEWEST_RECORDINGS) -> list[str]:
    """The recordings that were sorted last, the last one first."""
    # A version's name begins with the time at which it was begun.
    dated = ((_current_sorting(store, key), key) for key in store.recordings())
    return [key for _, key in sorted((one for one in dated if one[0]), reverse=True)[:number]]


def history_of_step(store: Store, asset: str, number: int = 100) -> CostHistory:
    """The history of one step, read from as many manifests: quick enough to ask it while a step runs."""
    manifests = (store.summary(key, asset) for key in newest_recordings(store, number))
    return CostHistory(_known(past_step(manifest) for manifest in manifests if isinstance(manifest, dict)))


def cost_history(store: Store) -> CostHistory:
    """The history of all steps of a recording."""
    from sort_assets.platform.pipeline.summary_cache import recording_summaries

    summaries = recording_summaries(store, newest_recordings(store))
    return CostHistory(step for summary in summaries.values() for step in summary.past_steps)


def _known(steps: Iterable[PastStep | None]) -> Iterator[PastStep]:
    return (step for step in steps if step is not None)


def _current_sorting(store: Store, recording: str) -> str:
    try:
        return (store.asset_folder(recording, "sorting") / CURRENT).readlink().name
    except OSError:
        return ""


def _differing(name: str, section: Mapping[str, Any]) -> Mapping[str, Any]:
    """What differs from the defaults and takes effect; all of it where this version does not understand it."""
    try:
        understood = _section(name).validate_python(section)
    except ValidationError:
        return section
    left_out = _NO_INFLUENCE.get(name, set())
    differing: dict[str, Any] = understood.model_dump(mode="json", exclude_defaults=True, exclude=left_out)
    return differing


@cache
def _section(name: str) -> TypeAdapter[Section]:
    section: Any = SortingPipelineConfig.model_fields[name].annotation
    return TypeAdapter(section)
