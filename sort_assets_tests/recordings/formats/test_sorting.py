"""Files as the formats lay them out, sorted by the platform: the units that were put into them are found."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from probeinterface import write_probeinterface
from spikeinterface.core import BaseRecording, BaseSorting

from sort_assets.platform.arrivals.registration import register_recording
from sort_assets.platform.store.handles import StoredSorting
from sort_assets.recordings.key import RecordingKey
from sort_assets.testing.comparison import unit_accuracies
from sort_assets.testing.ground_truth import make_ground_truth
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.fixtures.home import Home
from sort_assets_tests.recordings.writers import (
    write_binary,
    write_intan,
    write_maxwell,
    write_open_ephys,
    write_spikeglx,
    write_spikeinterface_binary,
    write_spikeinterface_zarr,
)
from sort_assets_tests.recordings.writers.makers import write_blackrock

NEEDED_ASSETS = ("preprocessed_recording", "binary_dat", "sorting")
WELL_FOUND = 0.9


def _second_of_two_probes(recording: BaseRecording, folder: Path) -> None:
    noise, _ = make_ground_truth(duration_s=2.0, num_units=0)
    write_spikeglx({"imec0": noise, "imec1": recording}, folder / "run_g0", first_sample=90000, nidq=True)


def _session(recording: BaseRecording, folder: Path) -> None:
    write_open_ephys(recording, folder / "session", first_sample=90000, ni_daq=True)


def _intan_and_probe_file(recording: BaseRecording, folder: Path) -> None:
    write_intan(recording, folder / "mouse.rhd")
    write_probeinterface(folder / "probe.json", recording.get_probegroup())
    (folder / "mouse.rhd.sort_assets.yaml").write_text("recording: {probe_file: probe.json}")


def _plain_binary_and_probe_file(recording: BaseRecording, folder: Path) -> None:
    """A header, and a probe that is wired backwards: the files hold the last contact first."""
    backwards = recording.select_channels(recording.channel_ids[::-1])
    (folder / "day").mkdir()
    write_binary(backwards, folder / "day" / "mouse.dat", dtype=">i2", header=b"by hand", gain_to_uv=0.5)
    probe = recording.get_probe()
    probe.set_device_channel_indices(probe.device_channel_indices[::-1])
    write_probeinterface(folder / "probe.json", probe)
    (folder / "day.sort_assets.yaml").write_text(
        "recording:\n"
        "  gain_to_uv: 0.5\n"
        "  probe_file: probe.json\n"
        "  binary: {sampling_hz: 30000, channels: 16, dtype: int16, byte_order: big, header_bytes: 7}\n"
    )


def _blackrock_with_a_pause_and_probe_file(recording: BaseRecording, folder: Path) -> None:
    counts = recording.get_traces()
    write_blackrock(counts, folder / "day.ns6", pauses=((150000, 450000),))
    write_blackrock(counts[:1000], folder / "day.ns2", rate_hz=1000.0)
    write_probeinterface(folder / "probe.json", recording.get_probegroup())
    (folder / "day.ns6.sort_assets.yaml").write_text("recording: {probe_file: probe.json}")


def _maxwell_with_doubled_channels(recording: BaseRecording, folder: Path) -> None:
    path = write_maxwell(recording, folder / "plate.h5")
    with h5py.File(path, "a") as file:
        settings = file["wells/well000/rec0000/settings"]
        mapping = settings["mapping"][:]
        again = mapping[[3, 9]]
        again["electrode"] += 5000
        again["x"] += 700.0
        del settings["mapping"]
        settings["mapping"] = np.concatenate([mapping, again])


def _spikeinterface_binary(recording: BaseRecording, folder: Path) -> None:
    write_spikeinterface_binary(recording, folder / "binary")


def _spikeinterface_zarr(recording: BaseRecording, folder: Path) -> None:
    write_spikeinterface_zarr(recording, folder / "day.zarr")


def _session_in_two_files(recording: BaseRecording, folder: Path) -> None:
    middle = recording.get_num_samples() // 2
    (folder / "day").mkdir()
    write_nwb(recording.frame_slice(middle, recording.get_num_samples()), folder / "day" / "part_10.nwb")
    write_nwb(recording.frame_slice(0, middle), folder / "day" / "part_9.nwb")
    (folder / "day.sort_assets.yaml").write_text("concatenate: true")


@pytest.fixture(scope="module")
def known_recording() -> tuple[BaseRecording, BaseSorting]:
    """16 channels, 8 units, 10 s; and the spikes in it."""
    return make_ground_truth(duration_s=10.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("write", "keys", "key"),
    [
        pytest.param(_second_of_two_probes, ["run_g0@imec0.ap", "run_g0@imec1.ap"], "run_g0@imec1.ap", id="spikeglx"),
        pytest.param(_session, ["session"], "session", id="open_ephys", marks=pytest.mark.release),
        pytest.param(_intan_and_probe_file, ["mouse.rhd"], "mouse.rhd", id="intan", marks=pytest.mark.release),
        pytest.param(
            _plain_binary_and_probe_file,
            ["day~mouse.dat"],
            "day~mouse.dat",
            id="plain_binary",
            marks=pytest.mark.release,
        ),
        pytest.param(
            _spikeinterface_binary, ["binary"], "binary", id="spikeinterface_binary", marks=pytest.mark.release
        ),
        pytest.param(
            _spikeinterface_zarr, ["day.zarr"], "day.zarr", id="spikeinterface_zarr", marks=pytest.mark.release
        ),
        pytest.param(
            _session_in_two_files, ["day"], "day", id="nwb, a session in two files", marks=pytest.mark.release
        ),
        pytest.param(
            _blackrock_with_a_pause_and_probe_file, ["day.ns6"], "day.ns6", id="blackrock", marks=pytest.mark.release
        ),
        pytest.param(_maxwell_with_doubled_channels, ["plate.h5"], "plate.h5", id="maxwell", marks=pytest.mark.release),
    ],
)
def test_the_units_put_into_a_file_are_found(
    write: Callable[[BaseRecording, Path], None],
    keys: list[str],
    key: str,
    known_recording: tuple[BaseRecording, BaseSorting],
    home: Home,
) -> None:
    recording, known = known_recording
    write(recording, home.roots.recordings)
    with home.instance() as instance:
        registered = register_recording(instance, RecordingKey.parse(key).locate(home.roots.recordings), home.roots)

    result = home.materialize(key, *NEEDED_ASSETS)

    assert [one.key for one in registered] == keys
    assert result.success
    accuracies = unit_accuracies(known, StoredSorting(home.roots, key).load())
    assert (accuracies > WELL_FOUND).sum() >= len(accuracies) - 1, accuracies
