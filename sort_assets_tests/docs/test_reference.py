"""The reference pages name everything that the code has."""

from docs.reference import configuration_page, environment_page, failure_rules_by_sorter, troubleshooting_page
from sort_assets import errors
from sort_assets.config import SortingPipelineConfig
from sort_assets.config.settings import Environment


def test_every_field_of_the_configuration_is_on_its_page() -> None:
    page = configuration_page()

    for section, info in SortingPipelineConfig.model_fields.items():
        assert f"\n## {section}\n" in page
        for field in info.annotation.model_fields:  # type: ignore[union-attr]
            assert f"\n| `{field}` | " in page
    assert "| `chunk_duration_s` | `float` | `1.0` | s | Seconds of recording" in page


def test_every_environment_variable_is_on_its_page() -> None:
    page = environment_page()

    assert all(f"\n| `{field.validation_alias}` | " in page for field in Environment.model_fields.values())
    assert "| required | Absolute path of the folder with the recordings" in page


def test_every_class_of_failure_and_every_remedy_is_on_its_page() -> None:
    page = troubleshooting_page()

    own = [kind for kind in vars(errors).values() if isinstance(kind, type) and kind.__module__ == errors.__name__]
    classes = [kind for kind in own if issubclass(kind, errors.SortAssetsError)]
    assert len(classes) > 30
    assert all(f"| `{kind.__name__}` | " in page for kind in classes if kind is not errors.SortAssetsError)
    rules = [rule for some in failure_rules_by_sorter().values() for rule in some]
    assert all(rule.remedy or rule.example for rule in rules)
    remedies = [rule.remedy for rule in rules] + [one.remedy for one in errors.OS_FAILURES.values()]
    assert all(" ".join(remedy.split()).replace("|", "\\|") in page for remedy in remedies)
    assert "\n## kilosort4\n" in page
    assert "\n## spykingcircus2, tridesclous2, lupin\n" in page
    assert "| `TooFewSpikesError` | Kilosort4 found 4 clear spikes in every 25th batch." in page
