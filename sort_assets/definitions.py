"""The Dagster code location: the only place where everything is wired together."""

import gc
import warnings

import dagster as dg

# Otherwise the garbage collector walks through all that Dagster's import has left while ours runs (0.07 of the time of
# `import dagster`, measured once). What an import leaves is no garbage.
gc.freeze()

from sort_assets.platform.arrivals.sensor import new_recordings
from sort_assets.platform.automation.accuracy_schedule import accuracy_of_rigs
from sort_assets.platform.automation.digest import morning_digest, send_digest
from sort_assets.platform.automation.failed_run_notifications import recording_failed
from sort_assets.platform.automation.stale_results.sensor import stale_recordings
from sort_assets.platform.automation.summary import results_changed
from sort_assets.platform.automation.variant_pages import variant_sensors
from sort_assets.platform.engines.executor import chosen_executor, engine_sensors
from sort_assets.platform.pipeline.assets import declared_variant_assets, on_demand_assets, pipeline_assets
from sort_assets.platform.pipeline.assets.observed import SETTINGS, manual_curation, raw_recording, recordings_root
from sort_assets.platform.pipeline.assets.units_across_recordings import units_across_recordings
from sort_assets.platform.pipeline.config_resolver import backend_resource
from sort_assets.platform.pipeline.io_manager import HandleIOManager
from sort_assets.platform.pipeline.jobs import (
    compare_sortings,
    compare_variants,
    curate_again,
    measure_accuracy,
    sort_again,
    sort_recording,
    summarize_units,
    variant_jobs,
)


def _linked_to_code(asset: dg.AssetsDefinition) -> dg.AssetsDefinition:
    """The asset with a link from the UI to its code.

    `dagster.with_source_code_references` makes the same link, but tokenizes the asset's module for it: for all assets
    together, that is a tenth of the time in which this module is imported.
    """
    code = asset.op.compute_fn.decorated_fn.__code__  # type: ignore[union-attr]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # nothing but the links is lost without it
        link = dg.LocalFileCodeReference(file_path=code.co_filename, line_number=code.co_firstlineno)
        metadata = {"dagster/code_references": dg.CodeReferencesMetadataValue(code_references=[link])}
    return asset.map_asset_specs(lambda spec: spec.merge_attributes(metadata=metadata))


def build_definitions() -> dg.Definitions:
    """All definitions, with those of the variants that are declared now."""
    return dg.Definitions(
        assets=[
            recordings_root,
            raw_recording,
            *SETTINGS,
            manual_curation,
            *map(
                _linked_to_code,
                [*pipeline_assets(), *on_demand_assets(), *declared_variant_assets(), units_across_recordings],
            ),
        ],
        jobs=[
            sort_recording,
            sort_again,
            curate_again,
            compare_sortings,
            measure_accuracy,
            send_digest,
            summarize_units,
            compare_variants,
            *variant_jobs(),
        ],
        sensors=[
            new_recordings,
            recording_failed,
            stale_recordings,
            results_changed,
            *variant_sensors(),
            *engine_sensors(),
        ],
        schedules=[morning_digest, accuracy_of_rigs],
        resources={"backend": backend_resource, "io_manager": HandleIOManager()},
        executor=chosen_executor(),
    )


defs = build_definitions()
