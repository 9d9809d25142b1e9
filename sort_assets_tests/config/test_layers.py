"""Configuration: validated, layered, and clear about what is wrong."""

import math

import pytest

from sort_assets.config import PRESETS, ConfigLayer, SortingPipelineConfig, resolve_config
from sort_assets.errors import ConfigError


def _resolve(overrides: dict) -> SortingPipelineConfig:
    return resolve_config("kilosort4", [ConfigLayer("run config", overrides)]).config


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_is_valid(preset: str) -> None:
    resolved = resolve_config(preset)

    assert set(resolved.chosen.values()) == {f"preset {preset}"}


def test_layers_are_merged_key_by_key_and_the_last_word_is_known() -> None:
    lower = ConfigLayer("rules", {"recording": {"freq_min": 250.0}, "sorter": {"params": {"nblocks": 5, "nt": 41}}})
    upper = ConfigLayer("run config", {"sorter": {"params": {"nblocks": 0}}})

    resolved = resolve_config("kilosort4", [lower, upper])

    assert resolved.config.sorter.params == {"nblocks": 0, "nt": 41}
    assert resolved.config.recording.freq_min == 250.0
    assert resolved.chosen == {
        "sorter.name": "preset kilosort4",
        "recording.freq_min": "rules",
        "sorter.params.nblocks": "run config",
        "sorter.params.nt": "rules",
    }


def test_null_is_a_choice() -> None:
    config = _resolve({"recording": {"freq_max": None}, "execution": {"sorter_inactivity_max_s": None}})

    assert config.recording.freq_max is None
    assert config.execution.sorter_inactivity_max_s is None


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"recording": {"freq_mn": 1}}, r"recording.freq_mn: there is no such field.*freq_min.*run config"),
        ({"recordng": {}}, r"recordng: there is no such field; fields here: comparison, curation, delivery, execution"),
        ({"recording": {"freq_min": math.nan}}, r"recording.freq_min: .*finite"),
        ({"execution": {"sorter_inactivity_base_s": math.inf}}, r"sorter_inactivity_base_s: .*finite"),
        ({"execution": {"sorter_inactivity_per_min_s": -1}}, r"sorter_inactivity_per_min_s: .*greater than or equal"),
        (
            {"sorter": {"params": {"drift": {"steps": [1, {"x": math.nan}]}}}},
            r"sorter.params.drift.steps.1.x: Input should be a finite number \(chosen by run config\)",
        ),
        (
            {"recording": {"preprocessing": {"whiten": {"eps": -math.inf}}}},
            r"recording.preprocessing.whiten.eps: Input should be a finite number \(chosen by run config\)",
        ),
        ({"recording": {"freq_min": 7000.0}}, r"freq_min \(7000.0 Hz\) must be below freq_max \(6000.0 Hz\)"),
        ({"recording": {"start_s": 5, "end_s": 5}}, r"start_s \(5.0 s\) must be below end_s"),
        ({"recording": {"bad_channels": "some"}}, r"recording.bad_channels: .*'auto', 'list' or 'none'"),
        ({"recording": {"bad_channel_ids": ["3"]}}, r"only read when bad_channels is 'list'"),
        ({"execution": {"n_jobs": 0}}, r"n_jobs must be -1"),
        ({"waveform": {"ms_before": 0}}, r"waveform.ms_before: .*greater than 0"),
    ],
)
def test_a_bad_value_is_an_error_that_names_the_field(overrides: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _resolve(overrides)


def test_an_unknown_preset_is_an_error_that_lists_the_presets() -> None:
    with pytest.raises(ConfigError, match="kilosort4_maxwell"):
        resolve_config("kilosort5")


def test_a_configuration_does_not_change() -> None:
    config = SortingPipelineConfig()

    with pytest.raises(ValueError, match="frozen"):
        config.recording.freq_min = 1.0  # type: ignore[misc]


def test_every_field_is_described_with_its_unit_or_meaning() -> None:
    for section in SortingPipelineConfig.model_fields.values():
        assert section.description
        for name, field in section.annotation.model_fields.items():  # type: ignore[union-attr]
            assert field.description, name
            assert field.description.endswith("."), name


def test_the_last_layer_that_names_a_preset_decides() -> None:
    rules = ConfigLayer("rules", {"recording": {"freq_min": 250.0}}, preset="kilosort4_maxwell")
    sidecar = ConfigLayer("sidecar", {}, preset="mountainsort5")
    run = ConfigLayer("run config", {"recording": {"freq_max": 5000.0}})

    resolved = resolve_config("kilosort4", [rules, sidecar, run])

    assert resolved.config.sorter.name == "mountainsort5"
    assert resolved.config.recording.bad_channels == "auto"
    assert resolved.config.recording.freq_min == 250.0
    assert resolved.chosen["preset"] == "sidecar"


def test_parameters_for_another_sorter_than_the_one_that_runs_count_for_nothing() -> None:
    for_the_default = ConfigLayer("rule 1", {"sorter": {"params": {"nblocks": 0}, "device": "cpu"}})
    for_circus = ConfigLayer("rule 2", {"sorter": {"name": "spykingcircus2", "params": {"seed": 1}}})
    run = ConfigLayer("run config", {"sorter": {"params": {"scheme": "2"}}}, preset="mountainsort5")

    resolved = resolve_config("kilosort4", [for_the_default, for_circus, run])

    assert resolved.config.sorter.name == "mountainsort5"
    assert resolved.config.sorter.params == {"scheme": "2"}
    assert resolved.config.sorter.device == "cpu"
    assert resolved.chosen == {
        "preset": "run config",
        "sorter.name": "preset mountainsort5",
        "sorter.device": "rule 1",
        "sorter.params.scheme": "run config",
    }


def test_another_sorter_on_a_preset_leaves_the_preset_s_parameters_behind() -> None:
    run = ConfigLayer("run config", {"sorter": {"name": "mountainsort5"}})

    resolved = resolve_config("kilosort4_maxwell", [run])

    assert resolved.config.sorter.params == {}
    assert resolved.config.recording.bad_channels == "none"


def test_parameters_count_again_when_a_later_layer_returns_to_their_sorter() -> None:
    rule = ConfigLayer("rule", {"sorter": {"params": {"nblocks": 0}}})
    sidecar = ConfigLayer("sidecar", {"sorter": {"params": {"scheme": "2"}}}, preset="mountainsort5")
    run = ConfigLayer("run config", {}, preset="kilosort4")

    resolved = resolve_config("kilosort4", [rule, sidecar, run])

    assert resolved.config.sorter.params == {"nblocks": 0}


def test_fields_that_do_not_fit_each_other_name_the_layers_that_chose_them() -> None:
    rules = ConfigLayer("rules", {"recording": {"freq_min": 5000.0, "start_s": 1.0}})
    run = ConfigLayer("run config", {"recording": {"freq_max": 4000.0}})

    with pytest.raises(ConfigError, match=r"must be below freq_max .* \(chosen by rules and run config\)"):
        resolve_config("kilosort4", [rules, run])
