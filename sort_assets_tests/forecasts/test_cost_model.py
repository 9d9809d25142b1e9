"""Forecasts are as uncertain as they say, on histories made by a known law with noise."""

from collections.abc import Sequence

import numpy as np
import pytest

from sort_assets.forecasts.cost_model import FEWEST_RUNS, fit_cost_model

FIXED_S, RATE_S = 40.0, 2e-7
SEEDS = 400


def costs_of(
    sizes: Sequence[float] | np.ndarray,
    generator: np.random.Generator,
    *,
    noise: float = 0.25,
    fixed_s: float = FIXED_S,
) -> np.ndarray:
    expected = fixed_s + RATE_S * np.asarray(sizes)
    return np.asarray(expected * np.exp(noise * generator.standard_normal(len(expected))))


def sizes_of(number: int, generator: np.random.Generator) -> np.ndarray:
    """Of 64 to 384 channels for 5 to 90 minutes at 30 kHz."""
    minutes = np.exp(generator.uniform(np.log(5), np.log(90), number))
    return np.asarray(generator.choice([64, 128, 384], number) * minutes * 60 * 30000)


@pytest.mark.parametrize(("runs", "fixed_s"), [(5, 0.0), (5, 40.0), (8, 40.0), (12, 40.0), (50, 40.0), (50, 600.0)])
def test_the_80_percent_interval_covers_80_percent(runs: int, fixed_s: float) -> None:
    covered = 0
    for seed in range(SEEDS):
        generator = np.random.default_rng(seed)
        sizes = sizes_of(runs + 1, generator)
        costs = costs_of(sizes, generator, fixed_s=fixed_s)

        model = fit_cost_model(sizes[:-1], costs[:-1])

        assert model is not None
        low, high = np.quantile(model.draw(sizes[-1:], 400, generator), (0.1, 0.9))
        covered += low <= costs[-1] <= high
    assert 0.7 <= covered / SEEDS <= 0.9


def test_both_parts_are_found_where_the_sizes_tell_them_apart() -> None:
    generator = np.random.default_rng(1)
    sizes = np.geomspace(1e7, 1e10, 50)

    model = fit_cost_model(sizes, costs_of(sizes, generator, noise=0.05))

    assert model is not None
    assert model.fixed == pytest.approx(FIXED_S, rel=0.1)
    assert model.rate == pytest.approx(RATE_S, rel=0.1)


def test_few_runs_are_more_uncertain_than_many() -> None:
    generator = np.random.default_rng(2)
    sizes = np.full(50, 1e9)
    costs = costs_of(sizes, generator)

    def width(runs: int) -> float:
        model = fit_cost_model(sizes[:runs], costs[:runs])
        assert model is not None
        low, high = np.quantile(model.draw([1e9], 4000, generator), (0.1, 0.9))
        return float(np.log(high / low))

    assert width(FEWEST_RUNS) > width(50)


def test_another_size_than_any_before_is_more_uncertain() -> None:
    generator = np.random.default_rng(3)
    sizes = np.full(20, 1e9)
    model = fit_cost_model(sizes, costs_of(sizes, generator))
    assert model is not None

    alike, longer = np.quantile(np.log(model.draw([1e9, 2e10], 4000, generator)), (0.1, 0.9), axis=0).T

    assert longer[1] - longer[0] > 1.5 * (alike[1] - alike[0])


def test_too_few_runs_tell_nothing() -> None:
    assert fit_cost_model([1e9] * (FEWEST_RUNS - 1), [1.0] * (FEWEST_RUNS - 1)) is None


def test_what_never_costs_anything_costs_nothing() -> None:
    model = fit_cost_model([1e9] * 5, [0.0] * 5)

    assert model is not None
    assert not model.draw([1e9, 2e9], 3, np.random.default_rng(0)).any()


def test_equal_costs_are_no_promise_to_the_second() -> None:
    model = fit_cost_model([1e9] * 20, [100.0] * 20)

    assert model is not None
    assert np.ptp(model.draw([1e9], 100, np.random.default_rng(0))) > 1.0


def test_a_cost_that_falls_with_the_size_is_one_that_no_size_changes() -> None:
    sizes = np.geomspace(1e8, 1e10, 20)

    model = fit_cost_model(sizes, 100 * (sizes / 1e8) ** -0.1)

    assert model is not None
    assert model.rate == 0
    assert model.fixed > 0
