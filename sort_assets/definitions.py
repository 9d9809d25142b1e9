"""The Dagster code location: the only place where everything is wired together."""

import warnings

import dagster as dg

from sort_assets.platform.arrivals.sensor import new_recordings
from sort_assets.platform.automation.digest import morning_digest, send_digest
from sort_assets.platform.automation.failure_messages import recording_failed
from sort_assets.platform.automation.stale_results.sensor import stale_recordings
from sort_assets.platform.automation.summary import results_changed
from sort_assets.platform.execution.executor import local_executor
from sort_assets.platform.pipeline.assets import pipeline_assets
from sort_assets.platform.pipeline.assets.observed import SETTINGS, manual_curation, recordings_root
from sort_assets.platform.pipeline.assets.raw_recording import raw_recording
from sort_assets.platform.pipeline.assets.units_across_recordings import units_across_recordings
from sort_assets.platform.pipeline.config_resolver import backend_resource
from sort_assets.platform.pipeline.io_manager import HandleIOManager
from sort_assets.platform.pipeline.jobs import curate_again, sort_again, sort_recording, summarize_units

with warnings.catch_warnings():
    warnings.simplefilter("ignore", dg.BetaWarning)  # links from the UI to the code; nothing is lost without them
    _made_with_code = dg.with_source_code_references([*pipeline_assets(), units_across_recordings])

defs = dg.Definitions(
    assets=[recordings_root, raw_recording, *SETTINGS, manual_curation, *_made_with_code],
    jobs=[sort_recording, sort_again, curate_again, send_digest, summarize_units],
    sensors=[new_recordings, recording_failed, stale_recordings, results_changed],
    schedules=[morning_digest],
    resources={"backend": backend_resource, "io_manager": HandleIOManager()},
    executor=local_executor,
)
