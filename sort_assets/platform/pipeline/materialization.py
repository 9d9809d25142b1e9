"""What every asset does around its one call of the library.

`staged` resolves the recording's configuration, opens a staging folder, decides what the attempt runs with, builds the
backend, and turns every failure into one that Dagster shows with its class and remedy, or retries. Inside of it, an
asset draws with `StagedAsset.figure` and ends with `StagedAsset.publish`, which makes the staging folder the current
version and describes it to Dagster. An asset that does not get to `publish` leaves only the record of its failure.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from sort_assets.config import SortingPipelineConfig
from sort_assets.config.settings import Roots
from sort_assets.errors import DamagedArtefactError
from sort_assets.machine.cores import job_kwargs
from sort_assets.machine.resource_use import ResourceMeter
from sort_assets.platform.execution.executor import die_with_run_worker, leave_the_processor_to_sorts
from sort_assets.platform.execution.instance import missing_settings, refuse_temporary_instance
from sort_assets.platform.execution.remote_steps import (
    StepAttempt,
    end_with_run,
    refuse_late_publication,
    run_is_over_in,
)
from sort_assets.platform.execution.retried_runs import runs_before
from sort_assets.platform.pipeline.attempt_settings import AttemptSettings
from sort_assets.platform.pipeline.attempts import Attempt
from sort_assets.platform.pipeline.config_resolver import RecordingConfigResolver
from sort_assets.platform.pipeline.failure_rendering import render_failures
from sort_assets.platform.pipeline.io_manager import VERSION_METADATA
from sort_assets.platform.store.details import AssetDetails, Details, StoredCheck
from sort_assets.platform.store.handles import Handle
from sort_assets.platform.store.layout import FIGURES
from sort_assets.platform.store.locks import HeldLock
from sort_assets.platform.store.manifest import InputVersion, Manifest
from sort_assets.platform.store.memory_profiles import MemoryProfile
from sort_assets.platform.store.sort_lock import sort_lock
from sort_assets.platform.store.step_cost import StepCost
from sort_assets.platform.store.store import Artefact, Staging, Store
from sort_assets.recordings.key import RecordingKey

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sort_assets.backends import SorterBackend
    from sort_assets.platform.execution.leases import Lease
    from sort_assets.platform.pipeline.recording_rules import RecordingRules

GROUP = "spike_sorting"
OWNERS = ["team:electrophysiology"]
TAKEN_FROM_METADATA = "published_by"
"""Of a version that an earlier run had published before it was killed: that run."""


@dataclass
class StagedAsset:
    """One materialization in the making.

    Attributes
    ----------
    context : dg.AssetExecutionContext
    roots : Roots
    inputs : Mapping[str, Handle]
        The upstream artefacts that are read, by asset.
    attempt : Attempt
        Which attempt of the step this is, and what it runs with.
    backend : SorterBackend
        Built from the attempt's settings, for this materialization alone.
    meter : ResourceMeter
        Measures what the step takes.
    figures : dict
        Figures by title, in the order in which they are shown.
    shape : tuple of int or None
        Channels and samples of the recording after preprocessing, of which the step's cost is kept; None leaves it as
        it was when what is read was made.
    """

    context: dg.AssetExecutionContext
    roots: Roots
    inputs: Mapping[str, Handle]
    attempt: Attempt
    backend: "SorterBackend"
    meter: ResourceMeter
    figures: dict[str, Path] = field(default_factory=dict)
    shape: tuple[int, int] | None = None

    @property
    def staging(self) -> Staging:
        """Where the artefact is written."""
        return self.attempt.staging

    @property
    def config(self) -> SortingPipelineConfig:
        """The configuration that this attempt runs with."""
        return self.attempt.settings.config

    @property
    def raw_path(self) -> Path:
        """The raw recording's file or folder.

        Raises
        ------
        RecordingKeyError
            When the key leads outside of the recordings root.
        """
        return RecordingKey.parse(self.staging.recording).locate(self.roots.recordings)

    @property
    def job_kwargs(self) -> dict[str, Any]:
        """How SpikeInterface is to share work among workers, as this attempt may."""
        return job_kwargs(self.config.execution)

    def hold(self, device: "Lease | None", profile: MemoryProfile | None) -> None:
        """Go on with the device that is held and the memory profile that is known for it, and a backend built so.

        Raises
        ------
        SorterEnvironmentError
            When a GPU was asked for and there is none.
        """
        from sort_assets.backends import create_backend

        self.attempt.hold(device, profile)
        earlier, self.backend = self.backend, create_backend(self.config)
        self.backend.continue_from(earlier)

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
        first : Mapping[str, Any] or None
            Shown above the figures, as `metadata` is below them.
        """
        artefact = self.staging.publish(
            data_version=data_version,
            config=self.config.model_dump(mode="json"),
            config_sources=self.attempt.settings.configured.chosen,
            inputs=self._versions_read,
            details=details.model_copy(update={"checks": tuple(map(_stored, checks or []))}),
            cost=self._cost,
        )
        shown = {title.replace(" ", "_"): self._image(title, path) for title, path in self.figures.items()}
        return _described(artefact, {**(first or {}), **shown, **metadata}, checks or [])

    @property
    def _cost(self) -> StepCost:
        costs = (handle.manifest.cost for handle in self.inputs.values())
        upstream = next((one for one in costs if one is not None), None)
        if self.shape is not None or upstream is None or upstream.channels is None or upstream.samples is None:
            return StepCost.of(self.meter.read(), self.shape)
        return StepCost.of(self.meter.read(), (upstream.channels, upstream.samples))

    def published_before(self) -> dg.MaterializeResult | None:
        """What an earlier attempt has published from the same inputs, and was killed before Dagster heard of it.

        That is an attempt of this run, or of one that this run follows by itself. None where there is none.
        """
        store, staging = self.attempt.store, self.staging
        for version in store.versions(staging.recording, staging.asset)[-1:]:
            try:
                artefact = store.artefact(staging.recording, staging.asset, version)
            except DamagedArtefactError:
                return None
            made = artefact.manifest
            if made.run_id in (staging.run_id, *self.attempt.runs_before) and made.inputs == self._versions_read:
                self.context.log.info(f"{version} was published by an attempt that then was killed; it is taken over.")
                checks = [_unstored(one) for one in made.details_as(AssetDetails).checks]
                figures = sorted((artefact.path / FIGURES).glob("*.png"))
                shown = {one.stem: self._image(one.stem.replace("_", " "), one, version) for one in figures}
                return _described(artefact, {**shown, TAKEN_FROM_METADATA: made.run_id}, checks)
        return None

    @property
    def _versions_read(self) -> dict[str, InputVersion]:
        return {name: handle.input_version for name, handle in self.inputs.items()}

    def address(self, name: str, version: str | None = None) -> str:
        """Where a file among the figures is served once it is published; of another version, where it is served."""
        staging = self.staging
        folder = f"{staging.recording}/{staging.asset}/{version or staging.version}/{FIGURES}"
        return f"{self.roots.figures_url}/{folder}/{name}"

    def _image(self, title: str, path: Path, version: str | None = None) -> dg.MarkdownMetadataValue:
        return dg.MetadataValue.md(f"![{title}]({self.address(path.name, version)})")


def _described(
    artefact: Artefact, metadata: Mapping[str, Any], checks: list[dg.AssetCheckResult]
) -> dg.MaterializeResult:
    made = artefact.manifest
    return dg.MaterializeResult(
        data_version=dg.DataVersion(made.data_version),
        check_results=checks,
        metadata={
            **metadata,
            "config": dg.MetadataValue.json(made.config),
            "chosen_by": dg.MetadataValue.json(made.config_sources),
            "folder": dg.MetadataValue.path(artefact.path),
            VERSION_METADATA: made.version,
        },
    )


def _stored(check: dg.AssetCheckResult) -> StoredCheck:
    return StoredCheck(
        name=str(check.check_name),
        passed=check.passed,
        severity=check.severity.value,
        description=check.description,
    )


def _unstored(check: StoredCheck) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=check.name,
        passed=check.passed,
        severity=dg.AssetCheckSeverity(check.severity),
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

    meter = ResourceMeter()
    die_with_run_worker()
    if not alone:
        leave_the_processor_to_sorts()
    step = StepAttempt.of(context)
    with render_failures(), end_with_run(step), ExitStack() as held:
        refuse_temporary_instance(context.instance)
        for lack in missing_settings(context.instance):
            context.log.warning(f"The Dagster instance lacks a setting of sort_assets' dagster.yaml: {lack}.")
        roots = Roots.from_environment()
        recording, asset = context.partition_key, context.asset_key.to_user_string()
        rules = RecordingRules(roots)
        _warn_if_rules_are_broken(rules, context.log.warning)
        resolved = backend.resolve(recording, rules.settings(recording))
        store = Store(roots.store, run_is_over_in(context.instance))
        locks: dict[Path, HeldLock] = {}
        if alone:  # before this counts as an attempt: that somebody else is at work is no failure of the recording
            locks = held.enter_context(sort_lock(store, recording, run_id=context.run.run_id, log=context.log.info))
        with store.stage(
            recording,
            asset,
            run_id=context.run.run_id,
            attempt=context.retry_number + 1,
            before_publishing=lambda: refuse_late_publication(step),
            locks=locks,
        ) as staging:
            upstream = next(iter(inputs.values()), None)
            manifest = None if upstream is None else upstream.manifest
            retry_of = runs_before(context.instance, context.run)
            attempt = Attempt(store, staging, resolved, manifest, context.log.warning, retry_of)
            made = StagedAsset(context, roots, inputs, attempt, create_backend(attempt.settings.config), meter)
            _warn_of_ignored_fields(attempt.settings, manifest, context.log.warning)
            with attempt.run():
                yield made


def _warn_if_rules_are_broken(rules: "RecordingRules", warn: Callable[[str], None]) -> None:
    """Refuse to go on without rules where there should be some; keep good ones for when a mistake gets in."""
    if rules.problem is not None:
        if not rules.in_force:
            raise rules.problem
        warn(f"{rules.problem} Until then the last good rules are in force.")
        return
    try:
        rules.keep()
    except OSError as error:
        warn(f"The rules can't be kept as the last good ones, for when a mistake gets into the file: {error}.")


def _warn_of_ignored_fields(settings: AttemptSettings, upstream: Manifest | None, warn: Callable[[str], None]) -> None:
    if upstream is not None and settings.ignored:
        warn(
            f"This run asks for other settings ({', '.join(settings.ignored)}) than {upstream.asset} was made with; "
            f"they are left as they were. Materialize {upstream.asset} too, and what it is made from, to change them."
        )
