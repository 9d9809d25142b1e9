"""What every check returns can be stored by Dagster, whatever it found."""

import json

import numpy as np
import pandas as pd
import pytest

from sort_assets.checks.batch_edges import holes_at_batch_edges
from sort_assets.checks.drift import drift_within_pitch
from sort_assets.checks.refractory import refractory_violations
from sort_assets.checks.result import CheckResult
from sort_assets.checks.spikes import duplicate_fraction, spikes_in_order
from sort_assets.checks.stability import stability
from sort_assets.checks.usual_on_rig import drift_as_usual, noise_level, yield_as_usual
from sort_assets_tests.checks.sortings import neurons, sorting_of

SORTING = sorting_of(neurons(8, 300.0))
TABLE = pd.DataFrame({"rp_contamination": np.array([0.0, 0.9]), "drift_ptp": np.array([5.0, 90.0])}, index=["a", "b"])
POSITIONS = np.c_[np.zeros(4), 20.0 * np.arange(4)]


@pytest.mark.parametrize(
    "result",
    [
        spikes_in_order(SORTING, 9_000_000),
        spikes_in_order(SORTING, 1_000),
        duplicate_fraction(SORTING),
        holes_at_batch_edges(SORTING, 60_000),
        stability(SORTING, 300.0),
        refractory_violations(TABLE),
        drift_within_pitch(TABLE, POSITIONS),
        yield_as_usual(8, [7, 8, 9, 8, 8]),
        noise_level(np.full(4, 8.0, dtype="float32"), [8.0] * 5),
        drift_as_usual(np.full(4, 8.0, dtype="float32"), [8.0] * 5),
    ],
    ids=lambda result: result.name,
)
def test_values_are_plain_finite_numbers_under_the_name_of_the_check(result: CheckResult) -> None:
    assert json.loads(json.dumps(dict(result.values), allow_nan=False)) == result.values
    assert {type(value) for value in result.values.values()} <= {int, float, str}
    assert callable(globals()[result.name])
    assert result.description.endswith(".")
