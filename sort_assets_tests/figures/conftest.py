"""Small synthetic recordings, and what every saved figure must be."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import probeinterface
import pytest
import spikeinterface.core as si
from PIL import Image


@pytest.fixture
def check_png() -> Callable[[Path], np.ndarray]:
    """Assert that a file is a PNG that suits a web page, and return its pixels as greys, shape (rows, columns)."""

    def check(path: Path) -> np.ndarray:
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size < 200_000
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("L"), dtype=float)
        height, width = pixels.shape
        assert width == 660
        assert 150 <= height <= 1100
        assert pixels.std() > 2, "The picture is blank."
        return pixels

    return check


def column_probe(contacts: int) -> probeinterface.Probe:
    """One column of contacts, 20 µm apart."""
    probe = probeinterface.generate_linear_probe(contacts, ypitch=20)
    probe.set_device_channel_indices(np.arange(contacts))
    return probe


def neuropixels_like_probe() -> probeinterface.Probe:
    """384 contacts in four staggered columns of 3.8 mm."""
    probe = probeinterface.generate_multi_columns_probe(
        num_columns=4, num_contact_per_column=96, xpitch=16, ypitch=40, y_shift_per_column=[20, 0, 20, 0]
    )
    probe.set_device_channel_indices(np.arange(384))
    return probe


@pytest.fixture
def column() -> probeinterface.Probe:
    return column_probe(16)


@pytest.fixture
def single_contact() -> probeinterface.Probe:
    return column_probe(1)


@pytest.fixture
def neuropixels() -> probeinterface.Probe:
    return neuropixels_like_probe()


@pytest.fixture
def four_shanks() -> probeinterface.Probe:
    """Four shanks, 250 µm apart, with two columns of 48 contacts each."""
    return probeinterface.generate_multi_shank(
        num_shank=4, num_columns=2, num_contact_per_column=48, shank_pitch=[250, 0], xpitch=32, ypitch=15
    )


@pytest.fixture
def maxwell() -> probeinterface.Probe:
    """1000 of the 26,400 electrodes of an array of 3.85 mm by 2.1 mm."""
    chosen = np.random.default_rng(0).choice(220 * 120, 1000, replace=False)
    probe = probeinterface.Probe(ndim=2)
    probe.set_contacts(np.c_[chosen % 220, chosen // 220] * 17.5, shapes="circle", shape_params={"radius": 4})
    return probe


@pytest.fixture
def integer_recording() -> Callable[..., si.BaseRecording]:
    """Make an int16 recording of 0.2 s with noise of 10 µV and an offset, in channels named AP0, AP1, ..."""

    def make(probe: probeinterface.Probe, *, flat: bool = False, gain_to_uv: float = 0.195) -> si.BaseRecording:
        channels = probe.get_contact_count()
        rng = np.random.default_rng(0)
        traces_uv = np.zeros((6000, channels)) if flat else rng.normal(1000, 10, (6000, channels))
        ids = [f"AP{index}" for index in range(channels)]
        recording = si.NumpyRecording([np.round(traces_uv / gain_to_uv).astype("int16")], 30_000.0, channel_ids=ids)
        recording.set_channel_gains(gain_to_uv)
        recording.set_channel_offsets(0.0)
        recording.set_probe(probe)
        return recording

    return make


@pytest.fixture
def analyzer_of() -> Callable[..., si.SortingAnalyzer]:
    """Make an analyzer with templates of a ground-truth recording of 1 s."""

    def make(probe: probeinterface.Probe, units: int, *, sparse: bool) -> si.SortingAnalyzer:
        recording, sorting = si.generate_ground_truth_recording(
            durations=[1.0],
            sampling_frequency=20_000.0,
            probe=probe,
            num_units=units,
            # Many units fit on a small probe only when they may be close to each other.
            generate_unit_locations_kwargs={
                "margin_um": 10.0,
                "minimum_z": 5.0,
                "maximum_z": 40.0,
                "minimum_distance": 1,
            },
            seed=0,
        )
        analyzer = si.create_sorting_analyzer(sorting, recording, sparse=sparse)
        analyzer.compute({"random_spikes": {"seed": 0}, "templates": {}}, n_jobs=1, progress_bar=False)
        return analyzer

    return make
