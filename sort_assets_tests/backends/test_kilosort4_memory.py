"""What Kilosort4 needs at least, told beforehand from the probe and the length of a recording."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sort_assets.backends import create_backend
from sort_assets.backends.kilosort4 import memory_needed
from sort_assets.backends.kilosort4.backend import _kilosort_defaults
from sort_assets.backends.spikeinterface_backend import SpikeInterfaceBackend
from sort_assets.config import SortingPipelineConfig
from sort_assets.machine.preflight import NO_ESTIMATE
from sort_assets.testing.ground_truth import make_ground_truth

SHANKS = np.array([[shank * 250.0 + 32 * (row % 2), 15.0 * row] for shank in range(4) for row in range(24)])
SHANK_OF = np.repeat(np.arange(4), 24)
SQUARE = np.array([[17.5 * column, 17.5 * row] for row in range(8) for column in range(8)])
SCATTERED = SQUARE[[0, 3, 20, 41, 63]] * 10
KILOSORT_COUNTS = """
import sys
import numpy as np
from kilosort.spikedetect import nearest_chans, template_centers
for path in sys.argv[1:]:
    probe = np.load(path)
    xc, yc = probe["locations"].T
    ops = {"xc": xc, "yc": yc, "kcoords": probe["groups"], "settings": {"dmin": None, "dminx": 32.0}}
    ops = template_centers(ops)
    ys, xs = (grid.flatten() for grid in np.meshgrid(ops["yup"], ops["xup"]))
    _, distances = nearest_chans(ys, yc, xs, xc, 1, device="cpu")
    print(int((distances[0] <= 32.0**2).sum()))
"""


def _templates(locations: np.ndarray, groups: np.ndarray) -> int:
    return memory_needed.universal_templates(locations, groups, dmin=None, dminx=32.0, max_channel_distance=32.0)


@pytest.mark.release
def test_templates_are_counted_as_kilosort_does(tmp_path: Path) -> None:
    probes = [(SHANKS, SHANK_OF), (SQUARE, np.zeros(64)), (SCATTERED, np.zeros(5)), (SQUARE[:8], np.zeros(8))]
    paths = [tmp_path / f"{index}.npz" for index in range(len(probes))]
    for path, (locations, groups) in zip(paths, probes, strict=True):
        np.savez(path, locations=locations, groups=groups)

    command = [sys.executable, "-c", KILOSORT_COUNTS, *map(str, paths)]
    counted = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    assert [_templates(*probe) for probe in probes] == [int(count) for count in counted]


def test_detection_needs_what_was_measured() -> None:
    params = _kilosort_defaults()

    # On the CPU, the largest growth of the process in `template_match`, with batches of 60000 samples.
    assert memory_needed.detection_bytes(225, 64, params) == pytest.approx(518e6, rel=0.1)
    assert memory_needed.detection_bytes(766, 384, params) == pytest.approx(1958e6, rel=0.1)


def test_half_a_batch_needs_half_the_memory() -> None:
    params = _kilosort_defaults()

    whole, half = (memory_needed.detection_bytes(500, 64, params | {"batch_size": size}) for size in (60000, 30000))

    assert half == pytest.approx(whole / 2, rel=0.01)


def test_features_grow_by_doubling() -> None:
    params = _kilosort_defaults()
    row = 10 * 6 * 4 + 48

    half_a_million = memory_needed.features_bytes(100, 1000.0, params)
    three_million = memory_needed.features_bytes(100, 6000.0, params)

    assert half_a_million == 500_000 * row
    assert three_million == 6_000_000 * row  # 2 million rows of before and 4 million of now


def test_a_crowded_place_of_a_long_recording_needs_more_than_detection() -> None:
    tetrode = np.array([[0.0, 0.0], [25.0, 0.0], [0.0, 25.0], [25.0, 25.0]])

    a_day = memory_needed.spikes_of_a_centre(tetrode, 86_400.0, dmin=None)
    of_a_probe = memory_needed.spikes_of_a_centre(SHANKS, 86_400.0, dmin=None, x_centers=4)

    assert a_day == 5.0 * 4 * 86_400
    assert of_a_probe == pytest.approx(5.0 * 2 * 86_400, rel=0.05)  # two of the rows, on one shank
    assert memory_needed.clustering_bytes(a_day, 24) == pytest.approx(1.95e9, rel=0.01)


def test_on_the_processor_the_device_s_memory_is_the_machine_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    recording, _ = make_ground_truth(duration_s=1.0)

    on_cpu = _backend("kilosort4", device="cpu").memory_needed(recording)
    on_gpu = _backend("kilosort4", device="cuda").memory_needed(recording)

    assert on_cpu.gpu is None
    assert on_gpu.gpu is not None
    assert on_gpu.host is not None
    assert on_cpu.host == on_gpu.host + on_gpu.gpu


def test_parameters_that_a_retry_lowered_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    recording, _ = make_ground_truth(duration_s=1.0)

    usual = _backend("kilosort4", params={"batch_size": 60000}).memory_needed(recording).gpu
    lowered = _backend("kilosort4", params={"batch_size": 30000}).memory_needed(recording).gpu

    assert usual is not None
    assert lowered == pytest.approx(usual / 2, rel=0.01)


def test_of_other_sorters_nothing_is_known() -> None:
    recording, _ = make_ground_truth(duration_s=1.0)

    assert _backend("mountainsort5").memory_needed(recording) == NO_ESTIMATE


@pytest.mark.parametrize(
    ("device", "visible", "gpu"),
    [("cpu", "GPU-aaaa", None), ("auto", "GPU-aaaa,GPU-bbbb", "GPU-aaaa"), ("cuda", "", None)],
)
def test_the_gpu_is_the_one_that_cuda_takes(
    device: str, visible: str, gpu: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    assert _backend("kilosort4", device=device).gpu == gpu
    assert _backend("mountainsort5", device=device).gpu is None


def _backend(name: str, **sorter: Any) -> SpikeInterfaceBackend:
    backend = create_backend(SortingPipelineConfig.model_validate({"sorter": {"name": name, **sorter}}))
    assert isinstance(backend, SpikeInterfaceBackend)
    return backend
