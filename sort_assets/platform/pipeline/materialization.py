"""What every asset does around its one call of the library: stage, publish, and fail in words."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from sort_assets.config import ResolvedConfig, SortingPipelineConfig
from sort_assets.config.section import Section
from sort_assets.config.settings import Roots
from sort_assets.machine.cores import job_kwargs
from sort_assets.platform.execution.executor import die_with_run_worker
from sort_assets.platform.execution.instance import missing_settings, refuse_temporary_instance
from sort_assets.platform.pipeline.attempts import Attempt
from sort_assets.platform.pipeline.catalog import sections_decided_upstream
from sort_assets.platform.pipeline.config_resolver import RUN_CONFIG, RecordingConfigResolver
from sort_assets.platform.pipeline.failure_rendering import render_failures
from sort_assets.platform.pipeline.io_manager import VERSION_METADATA
from sort_assets.platform.store.details import Details, StoredCheck
from sort_assets.platform.store.handles import Handle, StoredBinary
from sort_assets.platform.store.sort_lock import sort_lock
from sort_assets.platform.store.store import FIGURES, Staging, Store

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sort_assets.backends import SorterBackend
    from sort_assets.platform.pipeline.recording_rules import RecordingRules

GROUP = "spike_sorting"
OWNERS = ["team:electrophysiology"]
_DAT_FIELDS = ("dat_dtype", "dat_gain_to_uv")


@dataclass
class StagedAsset:
    """One materialization in the making.

    Attributes
    ----------
    context : dg.AssetExecutionContext
    staging : Staging
        Where the artefact is written.
    roots : Roots
    resolved : ResolvedConfig
        The configuration of this recording.
    sorter : SorterBackend
        Built with it, for this materialization alone.
    inputs : Mapping[str, Handle]
        The upstream artefacts that are read, by asset.
    attempt : Attempt
        Which attempt of the step this is, and what the earlier ones taught.
    figures : dict
        Figures by title, in the order in which they are shown.
    """

    context: dg.AssetExecutionContext
    staging: Staging
    roots: Roots
    resolved: ResolvedConfig
    sorter: "SorterBackend"
    inputs: Mapping[str, Handle]
    attempt: Attempt
    figures: dict[str, Path] = field(default_factory=dict)

    @property
    def job_kwargs(self) -> dict[str, Any]:
        """How SpikeInterface is to share work among workers, as this attempt may."""
        return job_kwargs(self.sorter.config.execution)

    def figure(self, title: str, draw: "Callable[[], Figure | None]") -> None:
        """Draw a figure into the artefact; one that fails is logged, and does not fail the asset.

        Parameters
        ----------
        title : str
            Shown in the UI, and part of the file's name.
        draw : callable
            Returns the figure, or None where there is none to show.
        """
        from sort_assets.figures import save

        try:
            figure = draw()
            if figure is not None:
                path = self.staging.figures / f"{title.replace(' ', '_')}.png"
                self.figures[title] = save(figure, path)
        except Exception:
            self.context.log.warning(f"The figure '{title}' could not be drawn.", exc_info=True)

    def publish(
        self,
        *,
        data_version: str,
        details: Details,
        metadata: Mapping[str, Any],
        config: SortingPipelineConfig | None = None,
        checks: list[dg.AssetCheckResult] | None = None,
        first: Mapping[str, Any] | None = None,
    ) -> dg.MaterializeResult:
        """Publish the artefact and describe it to Dagster.

        Parameters
        ----------
        data_version : str
            Hash of the content.
        details : Details
            What the asset's handle and other readers need. The results of the checks are added to it, for the report.
        metadata : Mapping[str, Any]
            Shown in the UI, besides the figures, the configuration and the version.
        config : SortingPipelineConfig or None
            The configuration that really ran, where it is not the sorter's.
        first : Mapping[str, Any] or None
            Shown above the figures, as `metadata` is below them.
        """
        ran = (config or self.sorter.config).model_dump(mode="json")
        artefact = self.staging.publish(
            data_version=data_version,
            config=ran,
            config_sources=self.resolved.chosen,
            inputs={name: handle.input_version for name, handle in self.inputs.items()},
            details=details.model_copy(update={"checks": tuple(map(_stored, checks or []))}),
        )
        shown = {title.replace(" ", "_"): self._image(title, path) for title, path in self.figures.items()}
        return dg.MaterializeResult(
            data_version=dg.DataVersion(data_version),
            check_results=checks or [],
            metadata={
                **(first or {}),
                **shown,
                **metadata,
                "config": dg.MetadataValue.json(ran),
                "chosen_by": dg.MetadataValue.json(dict(self.resolved.chosen)),
                "folder": dg.MetadataValue.path(artefact.path),
                VERSION_METADATA: artefact.manifest.version,
            },
        )

    def address(self, name: str) -> str:
        """Where a file among the figures is served once it is published."""
        staging = self.staging
        return f"{self.roots.figures_url}/{staging.recording}/{staging.asset}/{staging.version}/{FIGURES}/{name}"

    def _image(self, title: str, path: Path) -> dg.MarkdownMetadataValue:
        return dg.MetadataValue.md(f"![{title}]({self.address(path.name)})")


def _stored(check: dg.AssetCheckResult) -> StoredCheck:
    return StoredCheck(
        name=str(check.check_name),
        passed=check.passed,
        severity=check.severity.value,
        description=check.description,
    )


@contextmanager
def staged(
    context: dg.AssetExecutionContext, backend: RecordingConfigResolver, *, alone: bool = False, **inputs: Handle
) -> Iterator[StagedAsset]:
    """Write a new version of the asset that is being materialized.

    Parameters
    ----------
    context : dg.AssetExecutionContext
    backend : RecordingConfigResolver
        Resolves the recording's configuration.
    alone : bool
        Whether nobody else may do this to the recording meanwhile.
    **inputs : Handle
        The upstream artefacts that are read, by asset.

    Raises
    ------
    dagster.RetryRequested
        When another attempt may help.
    dagster.Failure
        For every other failure, with its class, its remedy, what the sorter last wrote and what was tried.
    """
    from sort_assets.backends import create_backend
    from sort_assets.platform.pipeline.recording_rules import RecordingRules

    die_with_run_worker()
    with render_failures(), ExitStack() as held:
        refuse_temporary_instance(context.instance)
        for lack in missing_settings(context.instance):
            context.log.warning(f"The Dagster instance lacks a setting of sort_assets' dagster.yaml: {lack}.")
        roots = Roots.from_environment()
        recording, asset = context.partition_key, context.asset_key.to_user_string()
        rules = RecordingRules(roots)
        _warn_if_rules_are_broken(rules, context.log.warning)
        resolved = _as_made(backend.resolve(recording, rules.settings(recording)), asset, inputs, context.log.warning)
        sorter = create_backend(resolved.config)
        store = Store(roots.store)
        attempt = context.retry_number + 1
        if alone:  # before this counts as an attempt: that somebody else is at work is no failure of the recording
            held.enter_context(sort_lock(store, recording, run_id=context.run.run_id))
        with store.stage(recording, asset, run_id=context.run.run_id, attempt=attempt) as staging:
            this = Attempt(store, staging, sorter, context.log.warning)
            with this.run():
                yield StagedAsset(context, staging, roots, resolved, sorter, inputs, this)


def _warn_if_rules_are_broken(rules: "RecordingRules", warn: Callable[[str], None]) -> None:
    """Refuse to go by no rules at all where there should be some; keep good ones for when a mistake gets in."""
    if rules.problem is not None:
        if not rules.in_force:
            raise rules.problem
        warn(f"{rules.problem} Until then the last good rules are in force.")
        return
    try:
        rules.keep()
    except OSError as error:
        warn(f"The rules can't be kept as the last good ones, for when a mistake gets into the file: {error}.")


def _as_made(
    resolved: ResolvedConfig, asset: str, inputs: Mapping[str, Handle], warn: Callable[[str], None]
) -> ResolvedConfig:
    """The configuration, with the parts by which the upstream artefact was made; those can no longer change."""
    upstream = next(iter(inputs.values()), None)
    if upstream is None:
        return resolved
    sections: dict[str, Section] = {}
    differing: list[str] = []
    for name in sections_decided_upstream(asset):
        asked: Section = getattr(resolved.config, name)
        if name not in upstream.manifest.config:  # made by an older version of this software
            continue
        made = type(asked).model_validate(upstream.manifest.config[name])
        if asset == StoredBinary.asset:
            made = made.model_copy(update={field: getattr(asked, field) for field in _DAT_FIELDS})
        if made != asked:
            sections[name] = made
            fields = [one for one in type(asked).model_fields if getattr(made, one) != getattr(asked, one)]
            differing += [f"{name}.{one}" for one in fields]
    if not sections:
        return resolved
    # What rules say by now shows as stale; that the very run asks for something in vain has to be said.
    in_vain = [one for one in differing if one.startswith("recording.") or _is_asked_by_run(one, resolved.chosen)]
    if in_vain:
        warn(
            f"This run asks for other settings ({', '.join(in_vain)}) than {upstream.asset} was made with; they are "
            f"left as they were. Materialize {upstream.asset} too, and what it is made from, to change them."
        )
    under = tuple(differing)
    sources = {name: source for name, source in resolved.chosen.items() if not _is_of(name, under)}
    sources |= {name: source for name, source in upstream.manifest.config_sources.items() if _is_of(name, under)}
    return ResolvedConfig(resolved.config.model_copy(update=sections), sources)


def _is_of(name: str, fields: tuple[str, ...]) -> bool:
    return any(name == field or name.startswith(f"{field}.") for field in fields)


def _is_asked_by_run(field: str, chosen: Mapping[str, str]) -> bool:
    return any(source == RUN_CONFIG and _is_of(name, (field,)) for name, source in chosen.items())
