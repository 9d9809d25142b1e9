"""What the steps of recordings will cost: each with its settings and its shape, against this lab's history."""

from collections.abc import Iterable, Sequence

import dagster as dg

from sort_assets.config import SortingPipelineConfig
from sort_assets.config.settings import Roots
from sort_assets.forecasts.history import CostHistory, StepKind
from sort_assets.forecasts.totals import (
    WALL_S,
    AtATime,
    Forecast,
    PlannedRecording,
    PlannedStep,
    Quantiles,
    forecast,
)
from sort_assets.platform.execution.executor import GPU_POOL
from sort_assets.platform.pipeline.catalog import PIPELINE, pipeline_asset
from sort_assets.platform.pipeline.partitions import PARTITION_TAG
from sort_assets.platform.pipeline.recording_shape import recording_shape
from sort_assets.platform.pipeline.run_requests import RunRequests
from sort_assets.platform.pipeline.step_history import cost_history, history_of_step, settings_of
from sort_assets.platform.store.handles import StoredRecording, StoredSorting
from sort_assets.platform.store.manifest import Manifest
from sort_assets.platform.store.step_cost import StepCost
from sort_assets.platform.store.store import Store

FORECAST_TAG = "sort_assets/forecast"
"""The tag of a queued run that says how long it will take."""
NO_HISTORY = "no history yet"
_TAGGED_AT_ONCE = 25
_ASKED_AT_ONCE = 200


def plan_recording(
    history: CostHistory,
    recording: str,
    config: SortingPipelineConfig,
    size: float | None,
    assets: Iterable[str] = PIPELINE,
    *,
    device: str | None = None,
) -> PlannedRecording:
    """The steps that make assets of a recording, with what the past says of each.

    Parameters
    ----------
    history : CostHistory
    recording : str
        Its key.
    config : SortingPipelineConfig
        Its configuration.
    size : float or None
        Channels × samples, as `recording_size` gives it.
    assets : iterable of str
        What is to be made.
    device : str or None
        The GPU to sort on; None is the one that the newest such sort was on.
    """
    chosen, plain = set(assets), config.model_dump(mode="json")
    steps = []
    for asset in PIPELINE:
        if asset not in chosen:
            continue
        is_sort, made_from = asset == StoredSorting.asset, pipeline_asset(asset).made_from
        kind = StepKind(
            step=asset,
            sorter=config.sorter.name,
            settings=settings_of(asset, plain),
            device=device if is_sort else None,
            on_gpu=_on_gpu(config) if is_sort and device is None else None,
        )
        after = made_from.asset if made_from is not None and made_from.asset in chosen else None
        steps.append(PlannedStep(history.basis(kind), after, is_sort))
    return PlannedRecording(recording, size, tuple(steps))


def recording_size(
    instance: dg.DagsterInstance, roots: Roots, recording: str, config: SortingPipelineConfig, *, again: bool = False
) -> float | None:
    """Channels × samples of a recording; None where nobody knows them yet.

    Parameters
    ----------
    instance : DagsterInstance
    roots : Roots
    recording : str
        Its key.
    config : SortingPipelineConfig
        Which part of it is sorted.
    again : bool
        Whether that part may be another than the store has: then what its file says comes first.
    """
    if not again and (known := _stored_size(Store(roots.store), recording)) is not None:
        return known
    shape = recording_shape(instance, roots, recording, config.recording)
    if shape is None:
        return _stored_size(Store(roots.store), recording)
    return float(shape.channels * shape.duration_s * shape.sampling_frequency)


def plan_run(
    instance: dg.DagsterInstance, run: dg.DagsterRun, history: CostHistory, *, device: str | None = None
) -> PlannedRecording | None:
    """What a run of a recording is to make; None for another run."""
    requests = RunRequests(instance, run)
    if requests.recording is None or not requests.assets:
        return None
    config, roots = requests.settings.config, Roots.from_environment()
    again = StoredRecording.asset in requests.assets
    size = recording_size(instance, roots, requests.recording, config, again=again)
    return plan_recording(history, requests.recording, config, size, requests.assets, device=device)


def time_of_sort(store: Store, binary_dat: Manifest, config: SortingPipelineConfig, device: str) -> str:
    """How long the sort of a `.dat` takes on a device, in words; empty without a history."""
    cost = binary_dat.cost
    if cost is None or not cost.channels or not cost.samples:
        return ""
    history, size = history_of_step(store, StoredSorting.asset), float(cost.channels) * cost.samples
    planned = plan_recording(history, binary_dat.recording, config, size, [StoredSorting.asset], device=device)
    return in_words(forecast([planned]))


def tag_queued_runs(instance: dg.DagsterInstance, store: Store) -> int:
    """Say in a tag of each run in the queue how long it will take, or that no history tells; returns of how many.

    It is said once for each run, some runs at a time, by the sensor that looks for recordings anyway.
    """
    waiting = [run for run in queued_runs(instance) if FORECAST_TAG not in run.tags][:_TAGGED_AT_ONCE]
    if not waiting:
        return 0
    history, tagged = cost_history(store), 0
    for run in waiting:
        planned = plan_run(instance, run, history)
        if planned is not None:
            instance.add_run_tags(run.run_id, {FORECAST_TAG: in_words(forecast([planned])) or NO_HISTORY})
            tagged += 1
    return tagged


def queued_runs(instance: dg.DagsterInstance) -> Sequence[dg.DagsterRun]:
    """Runs that wait in the queue, the oldest first, as many as are worth telling of."""
    queued = dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])
    return instance.get_runs(queued, limit=_ASKED_AT_ONCE, ascending=True)


def queued_estimates(instance: dg.DagsterInstance) -> dict[str, str]:
    """By recording, how long its run takes that waits in the queue, as its tag says."""
    tags = [run.tags for run in queued_runs(instance)]
    return {one[PARTITION_TAG]: one[FORECAST_TAG] for one in tags if PARTITION_TAG in one and FORECAST_TAG in one}


def runs_at_a_time(instance: dg.DagsterInstance) -> AtATime:
    """How many runs of recordings, and how many sorts, an instance lets run at a time."""
    pools = {pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits()}
    sorts = pools.get(GPU_POOL, instance.global_op_concurrency_default_limit) or 1
    runs = instance.get_concurrency_config().run_queue_config
    limits = [] if runs is None else [runs.max_concurrent_runs, *(one["limit"] for one in runs.tag_concurrency_limits)]
    return AtATime(runs=max(sorts, min((limit for limit in limits if limit > 0), default=sorts)), sorts=sorts)


def in_words(found: Forecast) -> str:
    """How long it takes: "about 25 min (18 min to 40 min)"; empty without a forecast."""
    return about(found.costs[WALL_S]) if found.costs else ""


def about(seconds: Quantiles) -> str:
    """A forecast of a time, in words."""
    low, middle, high = (duration(value) for value in (seconds.p10, seconds.p50, seconds.p90))
    return f"about {middle}" if low == high else f"about {middle} ({low} to {high})"


def duration(seconds: float) -> str:
    """Like "40 s", "25 min", "3.5 h" or "12 days"."""
    for below, per, unit in _UNITS:
        if seconds < below:
            return f"{_rounded(seconds / per)} {unit}"
    return f"{seconds / 86400:.0f} days"


_UNITS: Sequence[tuple[float, float, str]] = (
    (90, 1, "s"),
    (5400, 60, "min"),
    (36 * 3600, 3600, "h"),
    (10 * 86400, 86400, "days"),
)


def _rounded(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _on_gpu(config: SortingPipelineConfig) -> bool | None:
    return None if config.sorter.device == "auto" else config.sorter.device != "cpu"


def _stored_size(store: Store, recording: str) -> float | None:
    manifest = store.summary(recording, StoredRecording.asset)
    cost = StepCost.parse(manifest.get("cost")) if isinstance(manifest, dict) else None
    return float(cost.channels) * cost.samples if cost and cost.channels and cost.samples else None
