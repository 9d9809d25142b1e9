"""The Dagster code location: the only place where everything is wired together."""

import dagster as dg

from sort_assets.assets.binary_dat import binary_dat
from sort_assets.assets.preprocessed_recording import preprocessed_recording
from sort_assets.assets.raw_recording import raw_recording
from sort_assets.assets.settings import SETTINGS, recordings_root
from sort_assets.assets.sorting import sorting
from sort_assets.assets.waveforms import waveforms
from sort_assets.automation.digest_schedule import morning_digest, send_digest
from sort_assets.automation.failure_sensor import recording_failed
from sort_assets.automation.jobs import sort_again, sort_recording
from sort_assets.automation.new_recordings import new_recordings
from sort_assets.automation.stale_recordings import stale_recordings
from sort_assets.execution.executor import local_executor
from sort_assets.resources import backend_resource
from sort_assets.storage.io_manager import HandleIOManager

defs = dg.Definitions(
    assets=[recordings_root, raw_recording, *SETTINGS, preprocessed_recording, binary_dat, sorting, waveforms],
    jobs=[sort_recording, sort_again, send_digest],
    sensors=[new_recordings, recording_failed, stale_recordings],
    schedules=[morning_digest],
    resources={"backend": backend_resource, "io_manager": HandleIOManager()},
    executor=local_executor,
)
