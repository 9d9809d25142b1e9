"""A recording with a gap that zeros fill, from the file to the units."""

import h5py
import numpy as np
import pytest
from spikeinterface.core import BaseRecording, BaseSorting

from sort_assets.platform.store.handles import StoredBinary, StoredSorting
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.fixtures.home import IN_PROCESS, Home
from sort_assets_tests.recordings.files import recording_of

pytestmark = [pytest.mark.slow, pytest.mark.release]

GAP, MISSING = 150_000, 12_000
SLOW_UV = 400.0
"""Difference of slow potentials before and after the gap."""


def test_zeros_make_no_spikes_and_leave_the_times_of_all_others(
    home: Home, short: tuple[BaseRecording, BaseSorting]
) -> None:
    recording, truth = short
    traces = recording.get_traces().copy()
    traces[GAP:] += np.int16(SLOW_UV / recording.get_channel_gains()[0])
    times = 5.0 + np.arange(len(traces)) / 30_000
    times[GAP:] += MISSING / 30_000
    file = write_nwb(recording_of(traces, recording), home.roots.recordings / "hole.nwb", timestamps=True)
    with h5py.File(file, "a") as opened:
        opened["acquisition/ElectricalSeries/timestamps"][:] = times
    key = home.register(file)
    config = {**IN_PROCESS, "recording": {"gaps": "zeros"}}

    done = home.materialize(key, "preprocessed_recording", "binary_dat", "sorting", config=config)

    assert done.success
    (clock,) = [check for check in done.get_asset_check_evaluations() if check.check_name == "clock"]
    assert "Zeros stand for 12000 missing samples (0.400 s) in 1 gap" in str(clock.description)
    dat = StoredBinary(home.roots, key).load()
    assert dat.get_num_samples() == len(traces) + MISSING
    assert not dat.get_traces(start_frame=GAP, end_frame=GAP + MISSING).any()
    units = StoredSorting(home.roots, key).load()
    found = {unit: units.get_unit_spike_train(unit, return_times=True) for unit in units.unit_ids}
    everything = np.sort(np.concatenate([*found.values()]))
    true_s = times[np.sort(truth.to_spike_vector()["sample_index"])]
    after = np.clip(np.searchsorted(true_s, everything), 1, len(true_s) - 1)
    off = np.minimum(np.abs(everything - true_s[after - 1]), np.abs(true_s[after] - everything))
    assert len(found) == len(truth.unit_ids)
    assert len(everything) > 0.8 * len(true_s)
    assert np.mean(off < 1e-3) > 0.97
    gap_s = times[GAP - 1], times[GAP]
    assert not ((everything > gap_s[0]) & (everything < gap_s[1])).any()
    # What is found near the edges is there.
    at_edges = (np.abs(everything - gap_s[0]) < 0.005) | (np.abs(everything - gap_s[1]) < 0.005)
    assert (off[at_edges] < 1e-3).all()
