"""Donors are the units that are isolated well enough, the best first; where there are none, it is said why."""

import numpy as np
import pandas as pd
import pytest

from sort_assets.errors import InjectionError
from sort_assets.hybrid.donors import choose_donors

GOOD = {"snr": 8.0, "num_spikes": 900, "isi_violations_percent": 0.1, "presence_ratio": 1.0, "firing_rate": 5.0}


def metrics_of(**units: dict[str, float]) -> pd.DataFrame:
    return pd.DataFrame([{**GOOD, **unit} for unit in units.values()], index=list(units), columns=list(GOOD))


def templates_of(number: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 10, (number, 60, 4)).astype(np.float32)


def test_donors_are_ordered_by_signal_to_noise_ratio_and_limited() -> None:
    metrics = metrics_of(a={"snr": 6.0}, b={"snr": 12.0}, c={"snr": 9.0})

    donors = choose_donors(templates_of(3), metrics, at_most=2)

    assert [donor.unit_id for donor in donors] == ["b", "c"]


@pytest.mark.parametrize(
    "bad", [{"snr": 4.9}, {"snr": np.nan}, {"num_spikes": 99}, {"isi_violations_percent": 0.6}, {"presence_ratio": 0.8}]
)
def test_a_unit_that_is_not_well_isolated_is_no_donor(bad: dict[str, float]) -> None:
    donors = choose_donors(templates_of(2), metrics_of(bad=bad, good={}))

    assert [donor.unit_id for donor in donors] == ["good"]


def test_a_metric_that_is_not_known_excludes_nobody() -> None:
    (donor,) = choose_donors(templates_of(1), metrics_of(only={"presence_ratio": np.nan}))

    assert donor.unit_id == "only"


def test_templates_end_at_zero_and_are_otherwise_the_units_own() -> None:
    templates = templates_of(1)

    (donor,) = choose_donors(templates, metrics_of(only={}))

    assert not donor.template_uv[[0, -1]].any()
    np.testing.assert_array_equal(donor.template_uv[6:-6], templates[0, 6:-6])


def test_without_units_or_without_good_ones_it_is_said_why() -> None:
    with pytest.raises(InjectionError, match="has no units"):
        choose_donors(templates_of(0), metrics_of())
    with pytest.raises(
        InjectionError, match=r"None of the recording's 2 units .* 0 have snr of at least 5, 2 have num"
    ):
        choose_donors(templates_of(2), metrics_of(a={"snr": 2.0}, b={"snr": 3.0}))
