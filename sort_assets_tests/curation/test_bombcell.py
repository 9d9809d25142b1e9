"""Bombcell's labels, and what it could not take into account."""

import pandas as pd
import pytest

from sort_assets.config import CurationConfig
from sort_assets.curation.bombcell import bombcell_labels, bombcell_thresholds
from sort_assets.errors import ConfigError
from sort_assets_tests.curation.conftest import NOISE, Planted


def test_random_times_are_labelled_noise_and_well_isolated_units_are_not(planted: Planted) -> None:
    labels, _ = bombcell_labels(planted.metrics.table, CurationConfig())

    assert labels[NOISE] == "noise"
    assert set(labels[planted.good]) <= {"good", "mua"}


def test_a_metric_that_no_unit_has_makes_no_unit_noise(planted: Planted) -> None:
    table = planted.metrics.table.copy()
    table["exp_decay"] = pd.array([None] * len(table), dtype="Float64")

    labels, notes = bombcell_labels(table, CurationConfig())

    assert "noise" not in set(labels[planted.good])
    assert any("exp_decay" in note for note in notes)


def test_its_thresholds_can_be_changed_and_left_out(planted: Planted) -> None:
    config = CurationConfig(bombcell={"mua": {"num_spikes": {"greater": 1e6}, "l_ratio": None}})

    labels, notes = bombcell_labels(planted.metrics.table, config)

    assert set(labels[planted.good]) == {"mua"}
    assert not any("l_ratio (" in note or ", l_ratio" in note for note in notes)
    assert bombcell_thresholds(config)["mua"]["num_spikes"] == {"greater": 1e6, "less": None}


@pytest.mark.parametrize(
    ("bombcell", "said"),
    [
        ({"nois": {"exp_decay": {"less": 1}}}, "noise"),
        ({"noise": {"exp_deca": {"less": 1}}}, "exp_decay"),
        ({"noise": {"exp_decay": {"lss": 1}}}, "less"),
    ],
)
def test_unknown_names_are_an_error_that_names_the_nearest(bombcell: dict[str, dict[str, object]], said: str) -> None:
    with pytest.raises(ConfigError, match=f"Did you mean {said}"):
        bombcell_thresholds(CurationConfig(bombcell=bombcell))


def test_no_units_have_no_labels(planted: Planted) -> None:
    labels, notes = bombcell_labels(planted.metrics.table.iloc[:0], CurationConfig())

    assert len(labels) == 0
    assert notes == ()
