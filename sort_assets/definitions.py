"""The Dagster code location: the only place where everything is wired together."""

import warnings

import dagster as dg

from sort_assets.assets.binary_dat import binary_dat
from sort_assets.assets.curated_units import curated_units
from sort_assets.assets.preprocessed_recording import preprocessed_recording
from sort_assets.assets.raw_recording import raw_recording
from sort_assets.assets.settings import SETTINGS, manual_curation, recordings_root
from sort_assets.assets.sorting import sorting
from sort_assets.assets.sorting_report import sorting_report
from sort_assets.assets.spike_data import spike_data
from sort_assets.assets.unit_metrics import unit_metrics
from sort_assets.assets.units_across_recordings import units_across_recordings
from sort_assets.assets.waveforms import waveforms
from sort_assets.automation.digest_schedule import morning_digest, send_digest
from sort_assets.automation.failure_sensor import recording_failed
from sort_assets.automation.jobs import curate_again, sort_again, sort_recording, summarize_units
from sort_assets.automation.new_recordings import new_recordings
from sort_assets.automation.stale_recordings import stale_recordings
from sort_assets.automation.units_summary_sensor import results_changed
from sort_assets.execution.executor import local_executor
from sort_assets.resources import backend_resource
from sort_assets.storage.io_manager import HandleIOManager

_MADE = (
    *(preprocessed_recording, binary_dat, sorting, waveforms),
    *(unit_metrics, curated_units, sorting_report, spike_data, units_across_recordings),
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore", dg.BetaWarning)  # links from the UI to the code; nothing is lost without them
    _made_with_code = dg.with_source_code_references(_MADE)

defs = dg.Definitions(
    assets=[recordings_root, raw_recording, *SETTINGS, manual_curation, *_made_with_code],
    jobs=[sort_recording, sort_again, curate_again, send_digest, summarize_units],
    sensors=[new_recordings, recording_failed, stale_recordings, results_changed],
    schedules=[morning_digest],
    resources={"backend": backend_resource, "io_manager": HandleIOManager()},
    executor=local_executor,
)
