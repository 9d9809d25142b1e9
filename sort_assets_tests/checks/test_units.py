"""Checks of the table of metrics: refractory violations, and drift against the contacts' distance."""

import numpy as np
import pandas as pd
import pytest

from sort_assets.checks.drift import contact_pitch, drift_within_pitch
from sort_assets.checks.refractory import refractory_violations
from sort_assets.metrics.columns import UNIT_METRICS
from sort_assets.metrics.tables import empty_table
from sort_assets_tests.figures.conftest import neuropixels_like_probe

POSITIONS = np.c_[np.zeros(4), 20.0 * np.arange(4)]


def table_of(**columns: list[float]) -> pd.DataFrame:
    frame = pd.DataFrame(columns)
    return frame.set_axis(pd.Index([f"u{unit}" for unit in range(len(frame))], name="unit_id"))


def test_mostly_clean_units_pass() -> None:
    result = refractory_violations(table_of(rp_contamination=[0.0, 0.05, 0.1, 0.8]))

    assert result.passed
    assert result.values["contaminated"] == 1


def test_mostly_contaminated_units_warn() -> None:
    result = refractory_violations(table_of(rp_contamination=[0.0, 0.3, 0.5, 1.0, np.nan]))

    assert (result.passed, result.severity) == (False, "warn")
    assert "3 of 4 units (75 %)" in result.description
    assert result.values["units"] == 5


def test_drift_beyond_the_pitch_warns() -> None:
    result = drift_within_pitch(table_of(drift_ptp=[10.0, 35.0, 40.0, np.nan]), POSITIONS)

    assert (result.passed, result.severity) == (False, "warn")
    assert result.values["pitch_um"] == 20.0
    assert result.values["median_drift_um"] == 35.0
    assert "2 of them further than the contacts are apart (20 µm)" in result.description


def test_drift_within_the_pitch_passes() -> None:
    assert drift_within_pitch(table_of(drift_ptp=[10.0, 15.0, 40.0]), POSITIONS).passed


@pytest.mark.parametrize("positions", [None, [[0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]], [[0.0, np.nan], [0.0, 1.0]]])
def test_without_positions_of_two_contacts_it_passes_and_says_so(positions) -> None:
    result = drift_within_pitch(table_of(drift_ptp=[500.0]), positions)

    assert result.passed
    assert "no positions" in result.description


def test_the_pitch_of_a_staggered_probe_is_the_distance_of_neighbours() -> None:
    assert contact_pitch(neuropixels_like_probe().contact_positions) == pytest.approx(np.hypot(16, 20))


@pytest.mark.parametrize("check", [refractory_violations, lambda table: drift_within_pitch(table, POSITIONS)])
@pytest.mark.parametrize(
    "table",
    [
        empty_table(UNIT_METRICS),
        empty_table(UNIT_METRICS, ["a", "b"]),
        table_of(other=[1.0]),
        pd.DataFrame(index=pd.Index([], name="unit_id")),
    ],
    ids=["no units", "nothing computed", "no such column", "no columns"],
)
def test_without_values_there_is_nothing_to_check(check, table: pd.DataFrame) -> None:
    result = check(table)

    assert result.passed
    assert "othing to check" in result.description
