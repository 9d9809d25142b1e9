"""Options of `sbatch` that people name: which are understood, and which are refused."""

import pytest

from sort_assets.config.settings import SLURM_OPTIONS_VARIABLE
from sort_assets.errors import ConfigError
from sort_assets.platform.engines.slurm.options import options_of_environment


def test_long_and_short_options_switches_and_quotes_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SLURM_OPTIONS_VARIABLE, "--partition=gpu -A neuro --exclusive -Ca100 --comment='two words'")

    assert options_of_environment() == {
        "partition": "gpu",
        "account": "neuro",
        "exclusive": "",
        "constraint": "a100",
        "comment": "two words",
    }


@pytest.mark.parametrize("option", ["--clusters=other", "-M other", "--quiet", "--signal=B:USR1@60", "--array=0-3"])
def test_options_by_which_a_job_would_be_lost_are_refused(option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SLURM_OPTIONS_VARIABLE, option)

    with pytest.raises(ConfigError, match="is set by sort_assets") as refused:
        options_of_environment()

    assert SLURM_OPTIONS_VARIABLE in refused.value.message


def test_an_unknown_short_option_is_told_with_those_that_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SLURM_OPTIONS_VARIABLE, "-N 2")

    with pytest.raises(ConfigError, match="'-N' is neither a long option nor one of -A, -C"):
        options_of_environment()
