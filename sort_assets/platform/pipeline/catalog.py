"""The assets of the pipeline, in the order in which they are made: the one list, from which all others derive.

Jobs, sensors, staleness, status, retention, `load`, the launch of missing results and the settings of an attempt all
follow this catalogue. To add an asset:

1. Write its handle, a subclass of `Handle`: which asset it names and how people load it.
2. Add its record to `CATALOG`, behind the asset that it is made from.
3. Write `pipeline/assets/<name>.py` with the Dagster asset, a function of that name.

This module stays light: the code location and `sort_assets.load` import it, so it imports neither Dagster nor numpy.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from sort_assets.config.variant_names import UNITS_SUFFIX, VARIANT_PREFIX
from sort_assets.platform.execution.step_needs import StepNeeds
from sort_assets.platform.store.handles import (
    Handle,
    StoredAnalyzer,
    StoredBinary,
    StoredCuration,
    StoredDelivery,
    StoredManualCuration,
    StoredMetrics,
    StoredRecording,
    StoredReport,
    StoredSorting,
)
from sort_assets.platform.store.stored_comparison import StoredComparison
from sort_assets.platform.store.stored_hybrid import StoredAccuracy, StoredHybrid
from sort_assets.platform.store.stored_variant import StoredComparedVariants, variant_handle, variant_units_handle


@dataclass(frozen=True, kw_only=True)
class PipelineAsset:
    """What the platform knows of an asset of the pipeline.

    Attributes
    ----------
    handle : type of Handle
        Opens its artefacts; names the asset.
    made_from : type of Handle or None
        The result that it reads; None for the first one, which reads the raw recording.
    needs : StepNeeds
        What its step asks of the engine where neither the recording's shape nor anybody says otherwise
        (`pipeline.step_requests`). More than one core means that its work is shared among workers.
    config_sections : tuple of str
        The sections of `SortingPipelineConfig` that take effect here. Whatever is made from this asset keeps them as
        they were.
    calls_backend : bool
        Whether its work is a method of the `SorterBackend`, which then says what is lowered after out-of-memory.
    versions_kept : int or None
        How many of the newest versions `sort-assets gc` keeps, unless somebody chose otherwise; None keeps all. Meant
        for what is large and can be computed again.
    summarized : bool
        Whether the summary over all recordings reads it: its numbers, or the verdicts of its checks.
    asks_like : type of Handle or None
        The asset of the pipeline as which the step asks for resources, where it has no section of its own in
        `ResourcesConfig`.
    """

    handle: type[Handle]
    made_from: type[Handle] | None
    needs: StepNeeds
    config_sections: tuple[str, ...] = ()
    calls_backend: bool = False
    versions_kept: int | None = None
    summarized: bool = False
    asks_like: type[Handle] | None = None

    @property
    def name(self) -> str:
        """The asset's key in Dagster, and its folder in the store."""
        return self.handle.asset


CATALOG: tuple[PipelineAsset, ...] = (
    PipelineAsset(
        handle=StoredRecording,
        made_from=None,
        needs=StepNeeds(cpus=4, memory_gb=8),
        config_sections=("recording",),
        summarized=True,
        calls_backend=True,
    ),
    PipelineAsset(
        handle=StoredBinary,
        made_from=StoredRecording,
        needs=StepNeeds(cpus=4, memory_gb=8),
        versions_kept=1,
        calls_backend=True,
        summarized=True,
    ),
    PipelineAsset(
        handle=StoredSorting,
        made_from=StoredBinary,
        needs=StepNeeds(cpus=4, memory_gb=16, gpus=1),
        config_sections=("sorter",),
        summarized=True,
        calls_backend=True,
    ),
    PipelineAsset(
        handle=StoredAnalyzer,
        made_from=StoredSorting,
        needs=StepNeeds(cpus=4, memory_gb=8),
        config_sections=("waveform",),
        versions_kept=1,
        calls_backend=True,
    ),
    PipelineAsset(
        handle=StoredMetrics,
        made_from=StoredAnalyzer,
        needs=StepNeeds(cpus=4, memory_gb=8),
        config_sections=("metrics",),
        summarized=True,
    ),
    PipelineAsset(
        handle=StoredCuration,
        made_from=StoredMetrics,
        needs=StepNeeds(cpus=2, memory_gb=8),
        config_sections=("curation",),
        summarized=True,
    ),
    PipelineAsset(handle=StoredReport, made_from=StoredCuration, needs=StepNeeds(cpus=1, memory_gb=4)),
    PipelineAsset(
        handle=StoredDelivery,
        made_from=StoredCuration,
        needs=StepNeeds(cpus=1, memory_gb=8),
        config_sections=("delivery",),
        versions_kept=3,
        summarized=True,
    ),
)
"""Every result, each after the one that it is made from."""

ON_DEMAND: tuple[PipelineAsset, ...] = (
    PipelineAsset(
        handle=StoredHybrid,
        made_from=StoredMetrics,
        needs=StepNeeds(cpus=1, memory_gb=8),
        config_sections=("hybrid",),
        asks_like=StoredMetrics,
    ),
    PipelineAsset(
        handle=StoredAccuracy,
        made_from=StoredHybrid,
        needs=StepNeeds(cpus=4, memory_gb=16, gpus=1),
        calls_backend=True,
        asks_like=StoredSorting,
    ),
    PipelineAsset(
        handle=StoredComparison,
        made_from=StoredSorting,
        needs=StepNeeds(cpus=1, memory_gb=8),
        config_sections=("comparison",),
        summarized=True,
        asks_like=StoredMetrics,
    ),
    PipelineAsset(
        handle=StoredComparedVariants,
        made_from=StoredSorting,
        needs=StepNeeds(cpus=1, memory_gb=8),
        config_sections=("comparison",),
        asks_like=StoredMetrics,
    ),
)
"""What is made of a recording only when somebody asks for it, each after the one that it is made from. No recording
lacks it, none of it becomes stale, and nothing of the pipeline is made from it."""

PIPELINE: tuple[str, ...] = tuple(asset.name for asset in CATALOG)
"""The names of the results, in the same order."""
RESULTS: tuple[str, ...] = (*PIPELINE, *(asset.name for asset in ON_DEMAND))
"""The same, and behind them what is made only on demand."""
SUMMARIZED: tuple[str, ...] = tuple(asset.name for asset in CATALOG if asset.summarized)
"""What the summary over all recordings reads of each."""
SUMMARIZED_ON_DEMAND: tuple[str, ...] = tuple(asset.name for asset in ON_DEMAND if asset.summarized)
"""What it reads of the recordings that have it."""
DEFAULT_VERSIONS_KEPT: Mapping[str, int | None] = {
    **{asset.name: asset.versions_kept for asset in (*CATALOG, *ON_DEMAND) if asset.versions_kept is not None},
    f"{VARIANT_PREFIX}*": 1,
}
"""How many versions are kept by default, by asset or by a pattern of assets; of an asset that is not named, all."""
STORED: Mapping[str, type[Handle]] = {
    **{asset.name: asset.handle for asset in (*CATALOG, *ON_DEMAND)},
    StoredManualCuration.asset: StoredManualCuration,
}
"""The handles of all that the store keeps of a recording: the results, and what people decided of its units."""

_BY_NAME = {asset.name: asset for asset in (*CATALOG, *ON_DEMAND)}


def pipeline_asset(name: str) -> PipelineAsset:
    """The record of an asset; of a variant too, whether it is declared or was once.

    Raises
    ------
    KeyError
        When it is not in the catalogue.
    """
    return _variant(name) if name.startswith(VARIANT_PREFIX) else _BY_NAME[name]


@cache
def _variant(name: str) -> PipelineAsset:
    if name.endswith(UNITS_SUFFIX):
        return PipelineAsset(
            handle=variant_units_handle(name),
            made_from=variant_handle(name.removesuffix(UNITS_SUFFIX)),
            needs=_BY_NAME[StoredAnalyzer.asset].needs,
            config_sections=("waveform", "metrics", "curation"),
            calls_backend=True,
            asks_like=StoredAnalyzer,
        )
    return PipelineAsset(
        handle=variant_handle(name),
        made_from=StoredBinary,
        needs=_BY_NAME[StoredSorting.asset].needs,
        config_sections=("sorter",),
        calls_backend=True,
        asks_like=StoredSorting,
    )


def is_result(name: str) -> bool:
    """Whether an asset is made of a recording."""
    return name in _BY_NAME or name.startswith(VARIANT_PREFIX)


def is_on_demand(name: str) -> bool:
    """Whether an asset is made of a recording only when somebody asks for it."""
    return name not in PIPELINE and is_result(name)


def in_pipeline_order(names: Iterable[str]) -> tuple[str, ...]:
    """Those of some assets that are made of a recording, in the order in which they are made; variants last."""
    found = set(names)
    variants = sorted(name for name in found if name.startswith(VARIANT_PREFIX))
    return (*(asset for asset in RESULTS if asset in found), *variants)


def step_tags(name: str) -> dict[str, Any]:
    """The tags by which Dagster's engines are told what the step of an asset needs."""
    return pipeline_asset(name).needs.op_tags()


def from_asset(name: str) -> tuple[str, ...]:
    """The names of an asset and of all behind it in the pipeline."""
    return PIPELINE[PIPELINE.index(name) :]


def upstream_assets(name: str) -> tuple[PipelineAsset, ...]:
    """What an asset is made from, directly and indirectly, in the order in which it is made."""
    made_from = pipeline_asset(name).made_from
    return () if made_from is None else (*upstream_assets(made_from.asset), pipeline_asset(made_from.asset))


def sections_decided_upstream(name: str) -> tuple[str, ...]:
    """The sections of the configuration by which what an asset reads was made."""
    return tuple(section for asset in upstream_assets(name) for section in asset.config_sections)


def lineage(handle: Handle) -> list[Handle]:
    """A result, and before it the very versions of all results that it was made from, the first one first."""
    made_from = pipeline_asset(handle.asset).made_from
    if made_from is None:
        return [handle]
    version = handle.upstream_version(made_from.asset)
    return [*lineage(made_from(handle.roots, handle.recording, version)), handle]
