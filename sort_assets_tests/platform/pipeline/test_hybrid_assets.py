"""Units are injected into a real recording and sorted as it was; the check follows what the sorter's settings do."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from spikeinterface.core import BaseRecording, BaseSorting, NumpyRecording
from spikeinterface.core.motion import Motion

import sort_assets
from sort_assets.backends import create_backend
from sort_assets.config import PRESETS, SortingPipelineConfig
from sort_assets.config.settings import Roots
from sort_assets.errors import InjectionError
from sort_assets.hybrid.accuracy import measure_accuracy
from sort_assets.hybrid.injection import inject
from sort_assets.platform.pipeline.assets.hybrid_recording import _refuse_groups
from sort_assets.platform.store.details import SortingDetails
from sort_assets.platform.store.handles import StoredRecording, StoredSorting
from sort_assets.platform.store.layout import MANIFEST_NAME
from sort_assets.platform.store.store import Store
from sort_assets.platform.store.stored_hybrid import QUALITY_FILE, HybridBase, StoredAccuracy, StoredHybrid
from sort_assets.recordings.steps import MOTION_FOLDER
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.fixtures.home import IN_PROCESS, Home
from sort_assets_tests.platform.pipeline.known_accuracy import publish_measurement
from sort_assets_tests.platform.pipeline.known_units import checks_of, prepare, publish_sorting

HYBRID = ("hybrid_recording", "hybrid_accuracy")
MOTION = {
    "common_reference": {},
    "correct_motion": {
        "preset": "rigid_fast",
        "estimate_motion_kwargs": {"method": "dredge_ap", "bin_s": 1.0, "rigid": True},
        "interpolate_motion_kwargs": {"border_mode": "force_extrapolate"},
    },
}
CONFIG = {**IN_PROCESS, "hybrid": {"units": 6}}


@dataclass(frozen=True)
class Measured:
    """A recording whose accuracy was measured, and the run that did so."""

    home: Home
    key: str
    run_id: str


@pytest.fixture(scope="module")
def measured(module_home: Home, short: tuple[BaseRecording, BaseSorting]) -> Iterator[Measured]:
    recording, truth = short
    key = prepare(module_home, {"day 1.nwb": recording}, truth)
    assert module_home.materialize(key, "waveforms", "unit_metrics", config=CONFIG).success
    run = module_home.materialize(key, *HYBRID, config=CONFIG, job_name="measure_accuracy")
    assert run.success, module_home.warnings(run.run_id)
    with module_home.environment():
        yield Measured(module_home, key, run.run_id)


def sort_with(measured: Measured, **params: Any) -> bool:
    """Whether the recall is as usual when the recording had been sorted with other parameters."""
    manifest = StoredHybrid(measured.home.roots, measured.key).path / MANIFEST_NAME
    before = manifest.read_text()
    content = json.loads(before)
    content["config"]["sorter"]["params"] |= params
    manifest.write_text(json.dumps(content))
    try:
        run = measured.home.materialize(measured.key, HYBRID[1], config=CONFIG, job_name="measure_accuracy")
    finally:
        manifest.write_text(before)
    assert run.success, measured.home.warnings(run.run_id)
    return checks_of(measured.home, run.run_id)["recall_as_usual"][0]


@pytest.mark.slow
@pytest.mark.xdist_group("hybrid_assets")
def test_what_is_injected_is_in_the_recording_at_the_times_of_the_truth(measured: Measured) -> None:
    hybrid = StoredHybrid(measured.home.roots, measured.key)
    truth, details = hybrid.load_truth(), hybrid.details

    added = (
        hybrid.load().get_traces()
        - HybridBase(hybrid.sorting).load().get_traces()[details.start_sample : details.end_sample]
    )

    for unit in hybrid.units:
        train = truth.get_unit_spike_train(unit.unit_id)
        trough = int(np.abs(unit.template_uv[:, unit.channel]).argmax()) - details.before
        amplitudes = np.abs(added[train + trough, unit.channel])
        assert np.median(amplitudes) == pytest.approx(unit.amplitude_uv, rel=0.1)
    assert details.num_spikes == truth.to_spike_vector().size


@pytest.mark.slow
@pytest.mark.xdist_group("hybrid_assets")
def test_large_units_are_found_better_than_small_ones_and_the_result_loads(measured: Measured) -> None:
    table = sort_assets.load(measured.key, "hybrid_accuracy")

    assert len(table) == 6
    assert table["recall"].iloc[:2].mean() < 0.2
    assert table["recall"].iloc[-3:].mean() > 0.4
    assert len(sort_assets.load(measured.key, "hybrid_recording").channel_ids) == 16


@pytest.mark.slow
@pytest.mark.xdist_group("hybrid_assets")
def test_the_page_says_recall_and_precision_and_no_samples_stay_in_the_store(measured: Measured) -> None:
    shown = measured.home.metadata(measured.run_id, "hybrid_accuracy")
    stored = StoredAccuracy(measured.home.roots, measured.key)

    page = (stored.path / "figures" / QUALITY_FILE).read_text(encoding="utf-8")
    assert "By signal-to-noise ratio" in page
    assert "<script" not in page
    assert shown["quality"].value.endswith(f"{QUALITY_FILE})")
    assert shown["recall"].value == pytest.approx(stored.details.recall, rel=1e-3)
    assert not list(measured.home.roots.store.rglob("hybrid*/**/*.dat"))


@pytest.mark.slow
@pytest.mark.xdist_group("hybrid_assets")
def test_a_damaged_parameter_trips_the_check_and_a_harmless_one_does_not(measured: Measured) -> None:
    usual = StoredAccuracy(measured.home.roots, measured.key).details.recall
    assert usual is not None
    for number in range(5):
        recall = usual + 0.01 * (number - 2)
        publish_measurement(measured.home.store, f"earlier{number}.nwb", recall)

    assert not sort_with(measured, detect_threshold=60.0)
    assert sort_with(measured, detect_time_radius_msec=0.6)


@pytest.mark.slow
@pytest.mark.xdist_group("hybrid_assets")
def test_a_sorter_finds_nothing_of_units_with_an_amplitude_of_zero(measured: Measured, tmp_path: Path) -> None:
    hybrid = StoredHybrid(measured.home.roots, measured.key)
    silent = [
        replace(unit, template_uv=np.zeros_like(unit.template_uv), amplitude_uv=0.0, snr=0.0) for unit in hybrid.units
    ]
    truth = hybrid.load_truth()
    recording = inject(HybridBase(hybrid.sorting).load(), silent, truth, before=hybrid.details.before)
    config = SortingPipelineConfig.model_validate({**PRESETS["mountainsort5"], **hybrid.sorting.manifest.config})

    raw_path = hybrid.sorting.binary_dat.preprocessed_recording.raw_path
    found = create_backend(config).sort(recording, raw_path, None, tmp_path / "sorter")

    assert len(found.unit_ids) >= 5  # the recording's own
    assert [unit.recall for unit in measure_accuracy(silent, truth, found)] == [0.0] * len(silent)


@pytest.mark.slow
@pytest.mark.xdist_group("hybrid_assets")
def test_where_motion_is_corrected_units_are_at_the_times_of_the_truth_and_follow_the_tissue(
    module_home: Home, short: tuple[BaseRecording, BaseSorting]
) -> None:
    recording, truth = short
    traces = recording.get_traces().copy()
    half = len(traces) // 2
    traces[half:] = np.roll(traces[half:], 2, axis=1)  # everything is 40 µm further along the probe
    moved = NumpyRecording(traces, recording.sampling_frequency)
    moved.set_probegroup(recording.get_probegroup())
    moved.set_channel_gains(recording.get_channel_gains())
    moved.set_channel_offsets(recording.get_channel_offsets())
    path = write_nwb(moved, module_home.roots.recordings / "drifting.nwb")
    key = module_home.register(path)
    config = {**CONFIG, "recording": {"preprocessing": MOTION}}
    assert module_home.materialize(key, "preprocessed_recording", config=config).success
    folder = StoredRecording(module_home.roots, key).path / MOTION_FOLDER
    estimate = Motion.load(folder)
    moved_um = np.where(estimate.temporal_bins_s[0] < 5.0, 0.0, 40.0)[:, np.newaxis]
    # The known motion in place of the estimate, in a file of the same size.
    np.save(folder / "displacement_seg0.npy", np.broadcast_to(moved_um, estimate.displacement[0].shape).copy())
    assert module_home.materialize(key, "binary_dat", config=config).success
    publish_sorting(module_home, key, truth)
    assert module_home.materialize(key, "waveforms", "unit_metrics", config=config).success
    run = module_home.materialize(key, "hybrid_recording", config=config, job_name="measure_accuracy")
    assert run.success, module_home.warnings(run.run_id)

    hybrid = StoredHybrid(module_home.roots, key)
    spikes = hybrid.load_truth()
    added = hybrid.load().get_traces() - hybrid.sorting.load_recording().get_traces(return_in_uV=True)
    inner = [unit for unit in hybrid.units if 2 <= unit.channel < 12]  # two contacts beyond these, the probe ends
    assert hybrid.details.drifting
    assert len(inner) >= 3
    for unit in inner:
        train = spikes.get_unit_spike_train(unit.unit_id)
        trough = int(np.abs(unit.template_uv[:, unit.channel]).argmax()) - hybrid.details.before
        around = np.abs(added[train[:, np.newaxis] + trough + np.arange(-10, 11), unit.channel])
        settled = np.abs(train - half) > recording.sampling_frequency
        for part in (settled & (train < half), settled & (train > half)):
            # Spikes of other injected units overlap with a few.
            assert np.mean(around[part].argmax(axis=1) == 10) > 0.9
            assert np.median(around[part, 10]) == pytest.approx(unit.amplitude_uv, rel=0.15)


def test_a_recording_that_is_split_into_groups_is_refused(tmp_path: Path) -> None:
    details = SortingDetails(
        num_units=1,
        num_spikes=1,
        duration_s=1.0,
        start_time_s=0.0,
        device="CPU",
        effective_params={"tetrode 1": {}, "tetrode 2": {}},
    )
    with Store(tmp_path).stage("day.nwb", "sorting", run_id="known") as staging:
        staging.publish(data_version="1", config={}, config_sources={}, inputs={}, details=details)

    with pytest.raises(InjectionError, match="split into groups of channels that are sorted one by one"):
        _refuse_groups(StoredSorting(Roots(tmp_path, tmp_path), "day.nwb"))
