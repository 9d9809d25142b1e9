"""Days until the disk is full."""

import math

import numpy as np
import pytest

from sort_assets.forecasts.disk import days_until_full

GB = 1e9


def test_what_arrives_evenly_fills_the_disk_on_a_known_day() -> None:
    found = days_until_full(100 * GB, [5 * GB] * 28, 28)

    assert found is not None
    assert (found.p10, found.p50, found.p90) == pytest.approx((20, 20, 20))


def test_the_80_percent_interval_covers_80_percent() -> None:
    covered = 0
    for seed in range(300):
        generator = np.random.default_rng(seed)
        daily = generator.poisson(1.5, 400) * generator.uniform(5, 40, 400) * GB
        found = days_until_full(1500 * GB, daily[:28].tolist(), 40)
        full_after = int(np.argmax(np.cumsum(daily[28:]) >= 1500 * GB)) + 1
        assert found is not None
        covered += found.p10 <= full_after <= found.p90 + 1
    assert 0.7 <= covered / 300 <= 0.9


def test_where_nothing_arrives_the_disk_is_never_full() -> None:
    found = days_until_full(100 * GB, [0.0] * 28, 5)

    assert found is not None
    assert found.p50 == math.inf


def test_a_full_disk_is_full_now() -> None:
    found = days_until_full(0.0, [5 * GB] * 28, 28)

    assert found is not None
    assert found.p50 == 0


@pytest.mark.parametrize(("days", "recordings"), [(6, 20), (28, 4), (0, 0)])
def test_too_little_history_tells_nothing(days: int, recordings: int) -> None:
    assert days_until_full(100 * GB, [5 * GB] * days, recordings) is None
