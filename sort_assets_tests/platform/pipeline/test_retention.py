"""How many versions are kept: the default, the environment, the command line; nonsense is refused."""

import pytest

from sort_assets.config.settings import KEEP_VARIABLE
from sort_assets.errors import ConfigError
from sort_assets.platform.pipeline.retention import versions_kept


def test_by_default_one_dat_and_one_set_of_waveforms_and_every_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEEP_VARIABLE, raising=False)

    assert versions_kept() == {"binary_dat": 1, "waveforms": 1, "spike_data": 3, "variant_*": 1}


def test_the_command_line_wins_over_the_environment_and_that_over_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEEP_VARIABLE, "binary_dat=2, waveforms=all,sorting=5,")

    assert versions_kept(["binary_dat=3", "variant_x=all"]) == {
        "binary_dat": 3,
        "waveforms": None,
        "spike_data": 3,
        "variant_*": 1,
        "sorting": 5,
        "variant_x": None,
    }


@pytest.mark.parametrize(
    ("choice", "complaint"),
    [
        ("binary_data=1", "no asset 'binary_data'"),
        ("2", "no asset '2'"),
        ("binary_dat", "'' is no number"),
        ("binary_dat=0", "'0' is no number"),
        ("binary_dat=-1", "'-1' is no number"),
        ("binary_dat=1.5", "'1.5' is no number"),
        ("binary_dat=²", "'²' is no number"),
    ],
)
def test_nonsense_is_refused_and_says_where_it_stands(
    monkeypatch: pytest.MonkeyPatch, choice: str, complaint: str
) -> None:
    monkeypatch.delenv(KEEP_VARIABLE, raising=False)
    with pytest.raises(ConfigError, match=complaint) as from_option:
        versions_kept([choice])
    monkeypatch.setenv(KEEP_VARIABLE, choice)
    with pytest.raises(ConfigError, match=complaint) as from_environment:
        versions_kept()

    assert "--keep says" in from_option.value.message
    assert f"{KEEP_VARIABLE} says" in from_environment.value.message
    assert from_option.value.remedy
