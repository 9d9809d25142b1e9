"""What every check returns can be stored by Dagster, whatever it found."""

import json

import numpy as np
import pandas as pd
import pytest

from sort_assets import checks
from sort_assets_tests.checks.sortings import neurons, sorting_of

SORTING = sorting_of(neurons(8, 300.0))
TABLE = pd.DataFrame({"rp_contamination": np.array([0.0, 0.9]), "drift_ptp": np.array([5.0, 90.0])}, index=["a", "b"])
POSITIONS = np.c_[np.zeros(4), 20.0 * np.arange(4)]


@pytest.mark.parametrize(
    "result",
    [
        checks.spikes_in_order(SORTING, 9_000_000),
        checks.spikes_in_order(SORTING, 1_000),
        checks.duplicate_fraction(SORTING),
        checks.holes_at_batch_edges(SORTING, 60_000),
        checks.stability(SORTING, 300.0),
        checks.refractory_violations(TABLE),
        checks.drift_within_pitch(TABLE, POSITIONS),
        checks.yield_as_usual(8, [7, 8, 9, 8, 8]),
        checks.noise_level(np.full(4, 8.0, dtype="float32"), [8.0] * 5),
    ],
    ids=lambda result: result.name,
)
def test_values_are_plain_finite_numbers_under_the_name_of_the_check(result: checks.CheckResult) -> None:
    assert json.loads(json.dumps(dict(result.values), allow_nan=False)) == result.values
    assert {type(value) for value in result.values.values()} <= {int, float, str}
    assert callable(getattr(checks, result.name))
    assert result.description.endswith(".")
