"""What one attempt of a step runs with: one function decides it, from everything that has a say.

In this order: the recording's resolved configuration; the sections by which the upstream artefact was made, which can
no longer change; what the earlier attempts of the run leave that ran out of memory; the device that is held; and the
memory profile of other sorts of the same shape.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sort_assets.backends.oom_schedule import BESIDE_THE_SORT, changed_fields, next_oom_params
from sort_assets.config import ResolvedConfig, SortingPipelineConfig
from sort_assets.errors import SortAssetsError
from sort_assets.platform.pipeline.catalog import pipeline_asset, sections_decided_upstream
from sort_assets.platform.pipeline.config_resolver import RUN_CONFIG
from sort_assets.platform.pipeline.retries import failures_to_reduce_after
from sort_assets.platform.store.handles import StoredBinary

if TYPE_CHECKING:
    from sort_assets.config.section import Section
    from sort_assets.platform.execution.leases import Lease
    from sort_assets.platform.store.manifest import Manifest
    from sort_assets.platform.store.memory_profiles import MemoryProfile

_DAT_FIELDS = ("dat_dtype", "dat_gain_to_uv")
"""Fields of the section `recording` that take effect only in `binary_dat`."""


@dataclass(frozen=True)
class AttemptSettings:
    """What one attempt of a step runs with.

    Attributes
    ----------
    asset : str
        What is being made.
    configured : ResolvedConfig
        The configuration without what memory and device change, and where each choice came from.
    config : SortingPipelineConfig
        The configuration that runs.
    ignored : tuple of str
        Dotted fields in which this run asks for other values than the upstream artefact was made with.
    profile : MemoryProfile or None
        The memory profile that lowered parameters; None where none did.
    """

    asset: str
    configured: ResolvedConfig
    config: SortingPipelineConfig
    ignored: tuple[str, ...] = ()
    profile: "MemoryProfile | None" = None

    @property
    def scaled(self) -> dict[str, list[Any]]:
        """Fields that were scaled, each with the configured value and the one that runs."""
        return changed_fields(self.configured.config, self.config)

    def reduced_after(self, failure: SortAssetsError) -> SortingPipelineConfig | None:
        """The configuration that takes less memory after a failure; None when nothing can take less."""
        return _reduced(self.config, failure, self.asset)


def decide_settings(
    resolved: ResolvedConfig,
    asset: str,
    *,
    upstream: "Manifest | None" = None,
    failures: Iterable[SortAssetsError] = (),
    device: "Lease | None" = None,
    profile: "MemoryProfile | None" = None,
) -> AttemptSettings:
    """Decide what an attempt runs with.

    Parameters
    ----------
    resolved : ResolvedConfig
        The recording's configuration.
    asset : str
        What is being made.
    upstream : Manifest or None
        Of the artefact that is read.
    failures : iterable of SortAssetsError
        Failures of earlier attempts of the same run, oldest first; those of memory count, unless they waited for
        another program to leave the GPU.
    device : Lease or None
        The device that is held, in place of "auto".
    profile : MemoryProfile or None
        What sorts of the same shape left.

    Raises
    ------
    SorterEnvironmentError
        When a GPU was asked for and there is none.
    """
    ignored: tuple[str, ...] = ()
    if upstream is not None:
        resolved, ignored = _as_upstream_was_made(resolved, asset, upstream)
    config = resolved.config
    for out_of_memory in failures_to_reduce_after(failures):
        config = _reduced(config, out_of_memory, asset) or config
    if device is not None:
        from sort_assets.platform.execution.leases import on_device

        config = on_device(config, device)
    before = config
    for failure in profile.errors if profile is not None else ():
        config = _reduced(config, failure, asset) or config
    lowered = config is not before  # else the configured values are as low as the profile's
    return AttemptSettings(asset, resolved, config, ignored, profile if lowered else None)


def _reduced(config: SortingPipelineConfig, failure: SortAssetsError, asset: str) -> SortingPipelineConfig | None:
    factor = config.execution.oom_retry_factor
    if not pipeline_asset(asset).calls_backend:
        return next_oom_params(config, BESIDE_THE_SORT, factor)
    from sort_assets.backends import create_backend

    backend = create_backend(config)
    return backend.config if backend.scale_oom_params(factor, failure=failure) else None


def _as_upstream_was_made(
    resolved: ResolvedConfig, asset: str, upstream: "Manifest"
) -> tuple[ResolvedConfig, tuple[str, ...]]:
    """The configuration with the sections by which the upstream artefact was made, and what is asked for in vain."""
    sections: dict[str, Section] = {}
    differing: list[str] = []
    for name in sections_decided_upstream(asset):
        asked: Section = getattr(resolved.config, name)
        if name not in upstream.config:  # made by an older version of this software
            continue
        made = type(asked).model_validate(upstream.config[name])
        if asset == StoredBinary.asset:
            made = made.model_copy(update={field: getattr(asked, field) for field in _DAT_FIELDS})
        if made != asked:
            sections[name] = made
            fields = [one for one in type(asked).model_fields if getattr(made, one) != getattr(asked, one)]
            differing += [f"{name}.{one}" for one in fields]
    if not sections:
        return resolved, ()
    # What rules say by now shows as stale; what the very run asks for in vain has to be said.
    ignored = [one for one in differing if one.startswith("recording.") or _is_asked_by_run(one, resolved.chosen)]
    under = tuple(differing)
    sources = {name: source for name, source in resolved.chosen.items() if not _is_of(name, under)}
    sources |= {name: source for name, source in upstream.config_sources.items() if _is_of(name, under)}
    return ResolvedConfig(resolved.config.model_copy(update=sections), sources), tuple(ignored)


def _is_of(name: str, fields: tuple[str, ...]) -> bool:
    return any(name == field or name.startswith(f"{field}.") for field in fields)


def _is_asked_by_run(field: str, chosen: Mapping[str, str]) -> bool:
    return any(source == RUN_CONFIG and _is_of(name, (field,)) for name, source in chosen.items())
