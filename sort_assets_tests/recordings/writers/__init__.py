"""Synthetic recordings with known spikes, and writers that put them into files as the formats lay them out.

Tests, examples and benchmarks are made of them.
"""

from sort_assets.testing.ground_truth import GAIN_TO_UV, make_ground_truth, make_probe
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.recordings.writers.files import (
    MAXWELL_GAIN_TO_UV,
    write_maxwell,
    write_spikeinterface_binary,
    write_spikeinterface_zarr,
)
from sort_assets_tests.recordings.writers.intan import write_intan
from sort_assets_tests.recordings.writers.open_ephys import write_open_ephys
from sort_assets_tests.recordings.writers.plain_binary import write_binary
from sort_assets_tests.recordings.writers.spikeglx import write_spikeglx

__all__ = [
    "GAIN_TO_UV",
    "MAXWELL_GAIN_TO_UV",
    "make_ground_truth",
    "make_probe",
    "write_binary",
    "write_intan",
    "write_maxwell",
    "write_nwb",
    "write_open_ephys",
    "write_spikeglx",
    "write_spikeinterface_binary",
    "write_spikeinterface_zarr",
]
