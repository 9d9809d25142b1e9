"""What the steps of a recording ask of the engine: declared, estimated from its shape, or chosen by somebody.

For each number, what comes later counts: the asset's declaration in the catalogue; what the recording's settings and
shape tell; the section `resources` of its configuration; and, for memory, what earlier attempts ran out of.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from itertools import groupby
from typing import Any

from sort_assets.backends.shape import RecordingShape
from sort_assets.config import ResolvedConfig, SortingPipelineConfig
from sort_assets.errors import MEMORY_LIMIT_GB, HostOutOfMemoryError, SortAssetsError
from sort_assets.platform.execution.step_needs import SMALL_STEP, StepNeeds
from sort_assets.platform.pipeline.catalog import in_pipeline_order, is_result, pipeline_asset
from sort_assets.platform.store.handles import StoredSorting

RUN = "run"
"""The part of the section `resources` that is about a run as a whole."""
_NUMBERS = tuple(one.name for one in fields(StepNeeds) if one.name != "why")
_IDLE_GB = 3.0
"""A step's process with all that it imports, torch on a GPU among it."""
_COPIES = 4.0
"""A step holds fewer copies of a recording, as float32, at a time: what is small asks for less than is declared."""
_OVER_ESTIMATE = 2.0
"""The estimates of sorters are lower bounds (`SorterBackend.memory_needed`)."""
_MORE_MEMORY = 2.0
"""How much more is asked for after memory has run out."""


def needs_of_step(
    asset: str,
    settings: ResolvedConfig,
    shape: RecordingShape | None = None,
    failures: Iterable[SortAssetsError] = (),
) -> StepNeeds:
    """What the step of an asset asks for.

    Parameters
    ----------
    asset : str
        Its name; of a step that makes no asset of a recording, the step's.
    settings : ResolvedConfig
        The recording's.
    shape : RecordingShape or None
        The recording's; None where it is not known.
    failures : iterable of SortAssetsError
        Those of earlier attempts that were not made good.
    """
    if not is_result(asset):
        return SMALL_STEP
    record = pipeline_asset(asset)
    part = asset if record.asks_like is None else record.asks_like.asset
    needs = _by_settings(record.needs, settings)
    if part == StoredSorting.asset:
        needs = _by_sorter(needs, settings.config, shape)
    if shape is not None and not needs.why.get("memory_gb"):
        needs = _by_size(needs, shape)
    needs = _as_chosen(needs, settings, part)
    return _more_after(needs, failures)


def needs_of_run(
    assets: Iterable[str],
    settings: ResolvedConfig,
    shape: RecordingShape | None = None,
    failures: Mapping[str, Sequence[SortAssetsError]] | None = None,
    settings_of: Mapping[str, ResolvedConfig] | None = None,
) -> StepNeeds:
    """What a run asks for that makes several assets within one job of the engine.

    The steps follow each other, so the largest counts; those that are made from the same asset run at the same time,
    and need their memory together.

    Parameters
    ----------
    assets : iterable of str
    settings, shape
        As in `needs_of_step`.
    failures : mapping or None
        By asset.
    settings_of : mapping or None
        Those with which an asset is made, where they are not `settings`.
    """
    made = [pipeline_asset(name) for name in in_pipeline_order(assets)]
    steps = {
        one.name: needs_of_step(
            one.name, (settings_of or {}).get(one.name, settings), shape, (failures or {}).get(one.name, ())
        )
        for one in made
    }
    at_once = [[steps[one.name] for one in group] for _, group in groupby(made, key=lambda one: one.made_from)]
    if not at_once:
        return _as_chosen(SMALL_STEP, settings, RUN)
    each = list(steps.values())
    limits_h = [one.time_limit_h for one in each]
    largest = max(at_once, key=lambda group: sum(one.memory_gb for one in group))
    by_gpu = max(each, key=lambda one: one.gpus)
    together = StepNeeds(
        cpus=max(one.cpus for one in each),
        memory_gb=sum(one.memory_gb for one in largest),
        gpus=by_gpu.gpus,
        gpu_memory_gb=by_gpu.gpu_memory_gb,
        time_limit_h=None if None in limits_h else sum(limit for limit in limits_h if limit is not None),
        why={**by_gpu.why, **largest[0].why},
    )
    known = [one for some in (failures or {}).values() for one in some]
    return _more_after(_as_chosen(together, settings, RUN), known)


def _by_settings(declared: StepNeeds, settings: ResolvedConfig) -> StepNeeds:
    """As many cores as the work is configured to be shared among, if it is shared at all."""
    n_jobs = settings.config.execution.n_jobs
    if n_jobs == -1 or declared.cpus == 1:
        return declared
    return _changed(declared, settings.chosen.get("execution.n_jobs", "execution.n_jobs"), cpus=n_jobs)


def _by_sorter(needs: StepNeeds, config: SortingPipelineConfig, shape: RecordingShape | None) -> StepNeeds:
    """Whether the sorter uses a GPU, and what it says of the memory that it takes."""
    from sort_assets.backends import create_backend

    if config.sorter.device == "cpu":
        needs = _changed(needs, "sorter.device", gpus=0)
    try:
        backend = create_backend(config)
    except SortAssetsError:  # the step itself will say so, and what to do
        return needs
    if not backend.takes_gpu:
        needs = _changed(needs, f"{backend.name} uses no GPU", gpus=0)
    if shape is None:
        return needs
    gpus = needs.gpus if config.resources.sorting.gpus is None else config.resources.sorting.gpus
    estimate = backend.memory_needed(shape, gpu=gpus > 0)
    if estimate.host is not None:
        memory_gb = math.ceil(_IDLE_GB + _OVER_ESTIMATE * estimate.host / 1e9)
        needs = _changed(needs, f"estimate of {backend.name} for this shape", memory_gb=memory_gb)
    if estimate.gpu is not None:
        needs = _changed(
            needs, f"estimate of {backend.name} for this shape", gpu_memory_gb=math.ceil(estimate.gpu / 1e9)
        )
    return needs


def _by_size(needs: StepNeeds, shape: RecordingShape) -> StepNeeds:
    most_gb = math.ceil(_IDLE_GB + _COPIES * shape.num_bytes / 1e9)
    return _changed(needs, "the recording's size", memory_gb=most_gb) if most_gb < needs.memory_gb else needs


def _as_chosen(needs: StepNeeds, settings: ResolvedConfig, part: str) -> StepNeeds:
    section = getattr(settings.config.resources, part)
    for name in _NUMBERS:
        value = getattr(section, name, None)
        if value is not None:
            field = f"resources.{part}.{name}"
            needs = _changed(needs, settings.chosen.get(field, field), **{name: value})
    return needs if needs.gpus else replace(needs, gpu_memory_gb=None)


def _more_after(needs: StepNeeds, failures: Iterable[SortAssetsError]) -> StepNeeds:
    """More memory than what an earlier attempt ran out of."""
    short = [one for one in failures if isinstance(one, HostOutOfMemoryError)]
    limits_gb = [float(one.diagnostics.get(MEMORY_LIMIT_GB) or needs.memory_gb) for one in short]
    wanted_gb = math.ceil(_MORE_MEMORY * max(limits_gb, default=0.0))
    if wanted_gb <= needs.memory_gb:
        return needs
    return _changed(needs, f"{max(limits_gb):g} GB were too little", memory_gb=wanted_gb)


def _changed(needs: StepNeeds, why: str, **numbers: Any) -> StepNeeds:
    return replace(needs, **numbers, why={**needs.why, **dict.fromkeys(numbers, why)})
