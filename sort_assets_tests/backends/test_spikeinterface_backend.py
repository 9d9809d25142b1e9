import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from spikeinterface.core import BaseRecording, generate_recording

from sort_assets.backends import create_backend, registered_backends
from sort_assets.backends.shape import INPUT_REFERENCE, values
from sort_assets.backends.spikeinterface_backend import SpikeInterfaceBackend, compute_threads
from sort_assets.config import RecordingConfig, SortingPipelineConfig
from sort_assets.errors import ConfigError, RecordingError
from sort_assets.recordings import prepare, refuse_pickles
from sort_assets.recordings.dat_file import read_dat, write_dat
from sort_assets.testing.ground_truth import make_ground_truth

SPIKEINTERFACE_BACKENDS = ("kilosort4", "lupin", "mountainsort5", "spykingcircus2", "tridesclous2")


def backend(name: str, params: dict[str, Any] | None = None, **sections: Any) -> SpikeInterfaceBackend:
    config = SortingPipelineConfig.model_validate({"sorter": {"name": name, "params": params or {}}, **sections})
    created = create_backend(config)
    assert isinstance(created, SpikeInterfaceBackend)
    return created


@pytest.fixture(scope="module")
def recording() -> BaseRecording:
    return generate_recording(num_channels=4, durations=[1.0], seed=0)


def test_all_our_backends_go_through_spikeinterface() -> None:
    assert set(SPIKEINTERFACE_BACKENDS) <= set(registered_backends())


@pytest.mark.parametrize("name", SPIKEINTERFACE_BACKENDS)
def test_all_parameters_that_we_set_exist(name: str, recording: BaseRecording) -> None:
    sorter = backend(name)

    assert set(sorter.sorter_params(recording)) <= set(sorter.default_params())


@pytest.mark.parametrize("name", SPIKEINTERFACE_BACKENDS)
def test_defaults_of_memory_parameters_are_those_of_the_sorter(name: str, recording: BaseRecording) -> None:
    sorter = backend(name)
    values = {"sorter": {"params": sorter.default_params()}, "execution": sorter.config.execution.model_dump()}

    for parameter in sorter.memory_parameters:
        value: Any = values
        for part in parameter.field.split("."):
            value = value[part]
        assert value == parameter.default


@pytest.mark.parametrize("name", SPIKEINTERFACE_BACKENDS)
def test_the_scaled_configuration_is_what_runs(name: str, recording: BaseRecording) -> None:
    sorter = backend(name)
    as_configured = sorter.sorter_params(recording)

    assert sorter.scale_oom_params(0.5)

    assert sorter.sorter_params(recording) != as_configured


@pytest.mark.parametrize("name", SPIKEINTERFACE_BACKENDS)
def test_a_snapshot_survives_json(name: str) -> None:
    sorter = backend(name)
    before = sorter.config
    snapshot = json.loads(json.dumps(sorter.snapshot_oom_params()))

    sorter.scale_oom_params(0.5)
    sorter.restore_oom_params(snapshot)

    assert sorter.config == before


def test_restoring_keeps_what_json_would_change() -> None:
    sorter = backend("lupin", {"preprocessing_dict": ("a", "tuple")})
    before = sorter.config
    snapshot = sorter.snapshot_oom_params()

    sorter.scale_oom_params(0.5)
    sorter.restore_oom_params(snapshot)

    assert sorter.config.sorter.params == before.sorter.params == {"preprocessing_dict": ("a", "tuple")}


def test_scaling_stops_at_the_floor_and_keeps_whole_numbers_whole() -> None:
    sorter = backend("kilosort4", {"batch_size": 20001})

    assert sorter.scale_oom_params(0.9)
    assert sorter.config.sorter.params == {"batch_size": 18000}
    assert sorter.scale_oom_params(0.5)
    assert sorter.config.sorter.params == {"batch_size": 15000}
    assert not sorter.scale_oom_params(0.5)


def test_a_value_below_the_floor_is_not_raised() -> None:
    sorter = backend("kilosort4", {"batch_size": 5000})

    assert not sorter.scale_oom_params(0.5)
    assert sorter.config.sorter.params == {"batch_size": 5000}


def test_configured_options_are_merged_over_the_defaults(recording: BaseRecording) -> None:
    params = backend("spykingcircus2", {"detection": {"method_kwargs": {"detect_threshold": 6}}}).sorter_params(
        recording
    )

    assert params["detection"] == {
        "method": "matched_filtering",
        "method_kwargs": {"peak_sign": "neg", "detect_threshold": 6},
        "pipeline_kwargs": {},
    }


def test_configured_parameters_win_over_ours(recording: BaseRecording) -> None:
    params = backend("lupin", {"seed": 3, "job_kwargs": {"n_jobs": 7}}, execution={"n_jobs": 2}).sorter_params(
        recording
    )

    assert params["seed"] == 3
    assert params["job_kwargs"] == {
        "n_jobs": 7,
        "pool_engine": "thread",
        "chunk_duration": 1.0,
        "progress_bar": False,
    }


@pytest.mark.parametrize(
    ("name", "parameter", "suggestion"),
    [
        ("tridesclous2", {"detect_treshold": 5}, "detect_threshold"),
        ("spykingcircus2", {"detection": {"methods": "locally_exclusive"}}, "method"),
        ("spykingcircus2", {"detection": {"method_kwargs": {"detect_treshold": 5}}}, "detect_threshold"),
    ],
)
def test_a_misspelt_parameter_is_refused_with_the_right_name(
    name: str, parameter: dict[str, Any], suggestion: str
) -> None:
    with pytest.raises(ConfigError, match=f"Did you mean {suggestion}"):
        backend(name, parameter).check_ready()


def test_options_that_spikeinterface_does_not_list_are_handed_on() -> None:
    backend("spykingcircus2", {"filtering": {"margin_ms": 5.0}}).check_ready()


@pytest.mark.parametrize(
    ("name", "own_filter_off"),
    [
        ("spykingcircus2", {"apply_preprocessing": False}),
        ("tridesclous2", {"preprocessing_dict": []}),
        ("lupin", {"preprocessing_dict": []}),
        ("mountainsort5", {"filter": False}),
    ],
)
def test_the_sorter_filters_only_what_we_did_not(
    name: str, own_filter_off: dict[str, Any], recording: BaseRecording
) -> None:
    filtered = backend(name).sorter_params(recording)
    unfiltered = backend(name, recording={"freq_min": None}).sorter_params(recording)

    assert own_filter_off.items() <= filtered.items()
    assert not own_filter_off.keys() & unfiltered.keys()


@pytest.mark.parametrize("name", ["spykingcircus2", "tridesclous2", "lupin"])
@pytest.mark.parametrize(
    ("num_channels", "sections", "referenced", "said"),
    [
        (31, {}, False, {INPUT_REFERENCE: False}),
        (32, {}, True, {INPUT_REFERENCE: True}),
        (32, {"recording": {"freq_min": None}}, False, {}),
        (32, {"recording": {"preprocessing": {"common_reference": {}}}}, False, {}),
    ],
)
def test_the_common_reference_that_goes_with_the_sorters_filter_is_kept_and_said(
    name: str, num_channels: int, sections: dict[str, Any], referenced: bool, said: dict[str, bool]
) -> None:
    offset = generate_recording(num_channels=num_channels, durations=[0.1], seed=0)
    sorter = backend(name, **sections)

    handed_in = sorter.sorter_input(offset).get_traces()

    assert np.allclose(np.median(handed_in, axis=1), 0, atol=1e-3) == referenced
    assert values(sorter.shape_choices(offset)) == said


@pytest.mark.parametrize(
    ("params", "takes"),
    [
        ({}, False),
        ({"matching": {"method_kwargs": {"engine": "torch", "torch_device": "cuda"}}}, True),
        ({"matching": {"method_kwargs": {"engine": "torch", "torch_device": "cuda:1"}}}, True),
        ({"matching": {"method_kwargs": {"engine": "torch", "torch_device": "cpu"}}}, False),
    ],
)
def test_a_sorter_that_is_told_to_compute_on_the_gpu_needs_one(
    params: dict[str, Any], takes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-aaaa")
    config = SortingPipelineConfig.model_validate({"sorter": {"name": "spykingcircus2", "params": params}})

    backend = create_backend(config)

    assert backend.takes_gpu == takes
    assert (backend.gpu is not None) == takes


def test_what_a_look_ahead_read_is_not_read_again(
    recording: BaseRecording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SortingPipelineConfig.model_validate({"sorter": {"name": "mountainsort5"}})
    create_backend(config).look_ahead(recording, tmp_path / "recording.nwb")
    monkeypatch.setattr(type(recording), "get_traces", None)  # reading would fail

    results = create_backend(config).preflight(recording, tmp_path)

    assert "samples" in [result.name for result in results]


def test_a_recording_in_memory_is_refused_with_what_to_do(tmp_path: Path) -> None:
    recording, _ = make_ground_truth(duration_s=0.5)

    with pytest.raises(RecordingError, match="write_recording"):
        backend("lupin").sort(recording, None, None, tmp_path / "sorter")

    assert not (tmp_path / "sorter").exists()


def test_no_pickle_is_left_of_a_recording_that_json_can_not_hold(tmp_path: Path) -> None:
    recording, sorting = make_ground_truth(duration_s=0.5)
    write_dat(prepare(recording, RecordingConfig(bad_channels="none")), tmp_path / "traces.dat")
    view = read_dat(tmp_path / "traces.dat")
    # What SpikeInterface's own classes set that hold more than JSON can.
    view._serializability["json"] = False

    backend("lupin").extract_waveforms(view, sorting, tmp_path / "waveforms", tmp_path / "curation")

    refuse_pickles(tmp_path / "waveforms")


def test_thread_limits_are_put_back() -> None:
    import torch

    before = torch.get_num_threads()

    with compute_threads(before + 1):
        assert torch.get_num_threads() == before + 1

    assert torch.get_num_threads() == before
