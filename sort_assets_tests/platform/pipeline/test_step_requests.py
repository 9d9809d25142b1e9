"""What the steps of a recording ask of the engine."""

from typing import Any

import numpy as np
import pytest

from sort_assets.backends.shape import RecordingShape
from sort_assets.config import ConfigLayer, ResolvedConfig, ResourcesConfig, resolve_config
from sort_assets.errors import MEMORY_LIMIT_GB, DeviceOutOfMemoryError, HostOutOfMemoryError
from sort_assets.platform.pipeline.catalog import PIPELINE, pipeline_asset
from sort_assets.platform.pipeline.step_requests import RUN, needs_of_run, needs_of_step

HOUR = RecordingShape(channels=384, sampling_frequency=30_000.0, duration_s=3600.0)
FEW_SECONDS = RecordingShape(channels=16, sampling_frequency=30_000.0, duration_s=20.0)


def _settings(preset: str = "kilosort4", **overrides: Any) -> ResolvedConfig:
    return resolve_config(preset, [ConfigLayer("rule 1", overrides)])


def _out_of_memory(limit_gb: float | None = None) -> HostOutOfMemoryError:
    known = {} if limit_gb is None else {MEMORY_LIMIT_GB: limit_gb}
    return HostOutOfMemoryError("Killed.", remedy="Ask for more.", **known)


def test_the_configuration_has_a_place_for_each_asset_for_the_run_and_for_options_of_slurm() -> None:
    assert tuple(ResourcesConfig.model_fields) == (*PIPELINE, RUN, "slurm")


@pytest.mark.parametrize("asset", PIPELINE)
def test_without_a_shape_a_step_asks_for_what_is_declared(asset: str) -> None:
    assert needs_of_step(asset, _settings()) == pipeline_asset(asset).needs


def test_a_sort_asks_for_the_memory_that_its_sorter_estimates() -> None:
    needs = needs_of_step("sorting", _settings(), HOUR)

    assert needs.memory_gb == pytest.approx(11, abs=1)
    assert needs.why["memory_gb"] == "estimate of kilosort4 for this shape"


def test_longer_recordings_ask_for_more() -> None:
    day = RecordingShape(channels=384, sampling_frequency=30_000.0, duration_s=86_400.0)

    assert needs_of_step("sorting", _settings(), day).memory_gb > 100


def test_where_the_places_of_the_channels_are_known_the_memory_of_the_gpu_is_estimated() -> None:
    column = np.stack([np.zeros(384), np.arange(384) * 20.0], axis=1)
    located = RecordingShape(384, 30_000.0, 3600.0, column)

    needs = needs_of_step("sorting", _settings(), located)

    assert needs.gpu_memory_gb == pytest.approx(3, abs=1)
    assert needs_of_step("sorting", _settings(sorter={"device": "cpu"}), located).gpu_memory_gb is None


def test_a_small_recording_asks_for_less_than_is_declared() -> None:
    needs = [needs_of_step(asset, _settings("mountainsort5"), FEW_SECONDS) for asset in PIPELINE]

    assert {one.memory_gb for one in needs} == {4}


@pytest.mark.parametrize(
    "settings",
    [
        _settings("mountainsort5"),
        _settings("spykingcircus2"),
        _settings(sorter={"device": "cpu"}),
        _settings(resources={"sorting": {"gpus": 0}}),
    ],
)
def test_a_sort_without_gpu_asks_for_none(settings: ResolvedConfig) -> None:
    assert needs_of_step("sorting", settings).gpus == 0


def test_what_somebody_chose_counts_and_names_who() -> None:
    chosen = _settings(resources={"sorting": {"memory_gb": 64, "cpus": 12, "time_limit_h": 8, "gpu_memory_gb": 40}})

    needs = needs_of_step("sorting", chosen, HOUR)

    assert (needs.memory_gb, needs.cpus, needs.time_limit_h, needs.gpu_memory_gb, needs.gpus) == (64, 12, 8, 40, 1)
    assert needs.why["memory_gb"] == needs.why["cpus"] == "rule 1"
    assert needs_of_step("waveforms", chosen).time_limit_h is None


def test_steps_that_share_their_work_ask_for_the_configured_workers() -> None:
    settings = _settings(execution={"n_jobs": 16})

    assert needs_of_step("binary_dat", settings).cpus == 16
    assert needs_of_step("sorting_report", settings).cpus == 1


def test_after_host_memory_ran_out_more_is_asked_for() -> None:
    known, unknown = _out_of_memory(limit_gb=20), _out_of_memory()

    assert needs_of_step("sorting", _settings(), failures=[known]).memory_gb == 40
    assert needs_of_step("sorting", _settings(), failures=[unknown]).memory_gb == 32
    assert needs_of_step("sorting", _settings(), failures=[known]).why["memory_gb"] == "20 GB were too little"


def test_the_memory_of_a_gpu_is_no_reason_for_more_of_the_host_s() -> None:
    failure = DeviceOutOfMemoryError("CUDA out of memory.", remedy="")

    assert needs_of_step("sorting", _settings(), failures=[failure]).memory_gb == 16


def test_a_run_asks_for_the_most_that_its_steps_need_at_a_time() -> None:
    run = needs_of_run(PIPELINE, _settings(), HOUR)

    assert (run.cpus, run.gpus) == (4, 1)
    # Report and delivery run side by side, and need 12 GB together.
    assert run.memory_gb == 12
    assert needs_of_run(["curated_units", "spike_data"], _settings(), HOUR).gpus == 0


def test_a_run_has_a_limit_where_all_its_steps_or_itself_have_one() -> None:
    each = {asset: {"time_limit_h": 2} for asset in PIPELINE}

    assert needs_of_run(PIPELINE, _settings()).time_limit_h is None
    assert needs_of_run(PIPELINE, _settings(resources=each)).time_limit_h == 16
    assert needs_of_run(PIPELINE, _settings(resources={"run": {"time_limit_h": 24}})).time_limit_h == 24


def test_a_run_whose_step_ran_out_of_memory_asks_for_more() -> None:
    run = needs_of_run(PIPELINE, _settings(), HOUR, {"unit_metrics": [_out_of_memory(limit_gb=12)]})

    assert run.memory_gb == 24


def test_resources_make_no_result_stale() -> None:
    settings = _settings(resources={"sorting": {"memory_gb": 64}})

    assert settings.config.recording.for_data_version() == _settings().config.recording.for_data_version()
