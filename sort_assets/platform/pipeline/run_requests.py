"""What the steps of one Dagster run ask of the engine, with the recording's settings, shape and failures looked up."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import dagster as dg

from sort_assets.backends.shape import RecordingShape
from sort_assets.config import ResolvedConfig, SortingPipelineConfig
from sort_assets.config.settings import Roots, variants_folder
from sort_assets.config.variant_names import VARIANT_PREFIX
from sort_assets.errors import SortAssetsError
from sort_assets.platform.execution.step_needs import StepNeeds
from sort_assets.platform.pipeline.catalog import in_pipeline_order, is_result
from sort_assets.platform.pipeline.config_resolver import resolver_of_config
from sort_assets.platform.pipeline.partitions import PARTITION_TAG
from sort_assets.platform.pipeline.recording_rules import RecordingRules
from sort_assets.platform.pipeline.recording_shape import recording_shape
from sort_assets.platform.pipeline.step_requests import needs_of_run, needs_of_step
from sort_assets.platform.store.failures import failed_attempts, was_made_good
from sort_assets.platform.store.store import Store

if TYPE_CHECKING:
    from sort_assets.config.variants import Variant


@dataclass(frozen=True)
class RunRequests:
    """What the steps of a run ask for.

    Attributes
    ----------
    instance : DagsterInstance
    run : DagsterRun
        Its partition is the recording, and its run config counts. A run without a partition asks for little.
    """

    instance: dg.DagsterInstance
    run: dg.DagsterRun

    def of_step(self, step_key: str) -> StepNeeds:
        """What a step asks for now: what earlier attempts ran out of counts, so ask again before each attempt.

        Where the settings can't be resolved, that is what is declared: the step itself says what is wrong.
        """
        shape = self._shape if is_result(step_key) else None
        return needs_of_step(step_key, self._settings_of(step_key), shape, self._failures(step_key))

    def of_run(self, *, without_gpu_steps: bool = False) -> StepNeeds:
        """What the run asks for when it is one job of the engine.

        Parameters
        ----------
        without_gpu_steps : bool
            Whether its steps that need a GPU are jobs of their own.
        """
        assets = self.assets
        if without_gpu_steps:
            assets = tuple(asset for asset in assets if not self.of_step(asset).gpus)
        return needs_of_run(
            assets,
            self.settings,
            self._shape,
            {asset: self._failures(asset) for asset in assets},
            {asset: self._settings_of(asset) for asset in assets},
        )

    @property
    def recording(self) -> str | None:
        """The key of the recording; None where the run has none."""
        return self.run.tags.get(PARTITION_TAG)

    @cached_property
    def assets(self) -> tuple[str, ...]:
        """The assets of a recording that the run makes, in the order of the pipeline."""
        if self.recording is None:
            return ()
        steps: set[str] = set(self.run.step_keys_to_execute or ())
        if not steps and self.run.asset_selection:
            steps = {key.to_user_string() for key in self.run.asset_selection}
        if not steps and self.run.execution_plan_snapshot_id:
            plan = self.instance.get_execution_plan_snapshot(self.run.execution_plan_snapshot_id)
            steps = set(plan.step_keys_to_execute)
        return in_pipeline_order(steps)

    @cached_property
    def settings(self) -> ResolvedConfig:
        """The recording's; the defaults where they can't be resolved, for the step itself says what is wrong."""
        return self._resolve(None)

    def _settings_of(self, asset: str) -> ResolvedConfig:
        """Those with which an asset is made: a variant differs."""
        if not asset.startswith(VARIANT_PREFIX):
            return self.settings
        from sort_assets.config.variants import declared_variants

        variant = declared_variants(variants_folder()).named(asset)
        return self.settings if variant is None else self._resolve(variant)

    def _resolve(self, variant: "Variant | None") -> ResolvedConfig:
        resources = cast("dict[str, Any]", self.run.run_config.get("resources") or {})
        asked = resources.get("backend", {}).get("config") or {}
        if self.recording is None:
            return _NO_SETTINGS
        try:
            rules = RecordingRules(Roots.from_environment())
            resolver = resolver_of_config(asked)
            if variant is not None:
                resolver = resolver.under(variant.layer)
            return resolver.resolve(self.recording, rules.settings(self.recording))
        except SortAssetsError:
            return _NO_SETTINGS

    @property
    def _shape(self) -> RecordingShape | None:
        # Not kept: once the .dat is there, it tells more than the header did.
        if self.recording is None:
            return None
        roots = Roots.from_environment()
        return recording_shape(self.instance, roots, self.recording, self.settings.config.recording)

    def _failures(self, asset: str) -> Sequence[SortAssetsError]:
        if self.recording is None:
            return ()
        store = Store(Roots.from_environment().store)
        failed = failed_attempts(store, self.recording, asset)
        return [one.error for one in failed if not was_made_good(store, one)]


_NO_SETTINGS = ResolvedConfig(SortingPipelineConfig(), {})
