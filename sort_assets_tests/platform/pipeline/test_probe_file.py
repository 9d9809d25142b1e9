"""A probe file counts as much as the recording that it describes: another content is another input."""

from pathlib import Path

import numpy as np
import pytest
from probeinterface import write_probeinterface

from sort_assets.errors import RecordingError
from sort_assets.platform.store.handles import StoredRecording
from sort_assets.testing.ground_truth import make_ground_truth
from sort_assets_tests.fixtures.home import Home, cheap
from sort_assets_tests.recordings.writers import write_intan


@pytest.mark.release
@pytest.mark.slow
def test_a_probe_file_that_changed_makes_results_stale(home: Home) -> None:
    recording, _ = make_ground_truth(duration_s=2.0)
    key = home.register(write_intan(recording, home.roots.recordings / "mouse.rhd"))
    probe, locations = recording.get_probe(), recording.get_channel_locations()
    write_probeinterface(_probe_path(home), probe)
    config = cheap(recording={"probe_file": "probe.json"})
    assert home.materialize(key, "preprocessed_recording", config=config).success
    before = StoredRecording(home.roots, key)
    np.testing.assert_array_equal(before.load().get_channel_locations(), locations)

    probe.move([0.0, 40.0])
    write_probeinterface(_probe_path(home), probe)

    with pytest.raises(RecordingError, match=r"probe\.json' has changed since it was preprocessed"):
        before.load()
    assert home.materialize(key, "preprocessed_recording", config=config).success
    after = StoredRecording(home.roots, key)
    assert after.manifest.data_version != before.manifest.data_version
    np.testing.assert_array_equal(after.load().get_channel_locations(), locations + np.array([0.0, 40.0]))


@pytest.mark.slow
def test_a_probe_file_that_vanished_is_missing(home: Home) -> None:
    recording, _ = make_ground_truth(duration_s=2.0)
    key = home.register(write_intan(recording, home.roots.recordings / "mouse.rhd"))
    write_probeinterface(_probe_path(home), recording.get_probe())
    assert home.materialize(key, "preprocessed_recording", config=cheap(recording={"probe_file": "probe.json"})).success

    _probe_path(home).unlink()

    with pytest.raises(RecordingError, match=r"no probe file 'probe\.json'"):
        StoredRecording(home.roots, key).load()


def _probe_path(home: Home) -> Path:
    return home.roots.recordings / "probe.json"
