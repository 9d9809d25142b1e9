"""The launchpad's form: typed, described, and sparse."""

import dagster as dg
import pytest

from sort_assets.config import BinaryConfig, RecordingConfig
from sort_assets.config.rules import RecordingSettings
from sort_assets.definitions import defs
from sort_assets.platform.pipeline.config_resolver import RecordingConfigResolver, backend_resource

SEEN: list[RecordingConfigResolver] = []


@dg.op
def look(backend: dg.ResourceParam[RecordingConfigResolver]) -> None:
    SEEN.append(backend)


@dg.job(resource_defs={"backend": backend_resource})
def looking() -> None:
    look()


def _launch(config: dict) -> RecordingConfigResolver:
    SEEN.clear()
    assert looking.execute_in_process(run_config={"resources": {"backend": {"config": config}}}).success
    return SEEN[0]


def test_what_is_not_chosen_stays_absent() -> None:
    assert _launch({}) == RecordingConfigResolver(None, {})


def test_what_is_chosen_arrives_and_is_merged_over_the_preset() -> None:
    backend = _launch(
        {
            "preset": "kilosort4_maxwell",
            "recording": {"freq_max": None, "start_s": 2, "bad_channels": "list", "bad_channel_ids": ["7", "9"]},
            "sorter": {"params": {"nblocks": 1, "artifact_threshold": None}},
        }
    )
    config = backend.resolve("plate.h5@well001", RecordingSettings()).config

    assert config.recording.freq_max is None
    assert config.recording.start_s == 2.0
    assert config.recording.bad_channel_ids == ("7", "9")
    assert config.recording.stream == "well001"
    assert config.sorter.params == {"nblocks": 1, "x_centers": 14, "nt": 41, "artifact_threshold": None}


def test_a_section_that_may_be_absent_has_a_form_of_its_own() -> None:
    described = {"sampling_hz": 20000.0, "channels": 64, "dtype": "uint16", "channel_names": []}

    chosen = _launch({"recording": {"binary": described, "gain_to_uv": 0.195}})

    assert chosen == RecordingConfigResolver(None, {"recording": {"binary": described, "gain_to_uv": 0.195}})
    assert RecordingConfig.model_validate(chosen.overrides["recording"]).binary == BinaryConfig(
        sampling_hz=20000, channels=64, dtype="uint16"
    )
    assert _launch({"recording": {"binary": None}}) == RecordingConfigResolver(None, {"recording": {"binary": None}})


def test_the_order_of_preprocessing_steps_survives() -> None:
    steps = {"phase_shift": {}, "bandpass_filter": {"order": 3}, "common_reference": {"operator": "median"}}

    config = _launch({"recording": {"preprocessing": steps}}).resolve("a.nwb", RecordingSettings()).config

    assert list(config.recording.preprocessing.items()) == list(steps.items())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"recording": {"freq_mn": 300}}, 'unexpected config entry "freq_mn".*freq_min'),
        ({"preste": "lupin"}, 'unexpected config entry "preste".*preset'),
        ({"preset": "kilosort5"}, "kilosort4_maxwell"),
        ({"execution": {"n_jobs": "many"}}, "n_jobs"),
        ({"sorter": {"device": "gpu"}}, "cuda"),
        ({"recording": {"binary": {"channel": 64}}}, 'unexpected config entry "channel".*channels'),
        ({"recording": {"binary": {"dtype": "int12"}}}, "int16"),
    ],
)
def test_a_misspelt_name_or_type_is_refused_at_launch(config: dict, message: str) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError, match=f"(?s){message}"):
        _launch(config)


def test_every_field_is_described_and_none_has_a_default() -> None:
    schema = defs.resolve_job_def("sort_recording").run_config_schema.config_type
    backend = schema.fields["resources"].config_type.fields["backend"].config_type.fields["config"].config_type

    for section in ("recording", "sorter", "waveform", "execution"):
        for name, field in backend.fields[section].config_type.fields.items():
            assert field.description, name
            assert "Default: " in field.description, name
            assert not field.is_required
            assert not field.default_provided, name
