import numpy as np
import pytest
from scipy.optimize import least_squares
from spikeinterface.postprocessing.localization_tools import estimate_distance_error, make_initial_guess_and_bounds

from sort_assets.metrics.monopolar_triangulation import _solve

CONTACTS_UM = np.array([[x, 20.0 * row] for row in range(8) for x in (0.0, 32.0)])


@pytest.mark.parametrize(
    "source_um", [(10.0, 70.0, 15.0), (200.0, 70.0, 5.0), (16.0, -400.0, 40.0), (0.0, 60.0, 0.0)], ids=str
)
def test_a_source_is_found_where_spikeinterface_finds_it(source_um: tuple[float, float, float]) -> None:
    """Within the probe, beside it and beyond the bounds of the fit."""
    distances = np.sqrt(((CONTACTS_UM - source_um[:2]) ** 2).sum(axis=1) + source_um[2] ** 2 + 1)
    amplitudes = 3000 / distances + np.random.default_rng(0).normal(0, 2, len(CONTACTS_UM))

    found = _solve(amplitudes, CONTACTS_UM, 1000.0)

    guess, bounds = make_initial_guess_and_bounds(amplitudes, CONTACTS_UM, 1000.0)
    reference = least_squares(estimate_distance_error, x0=guess, bounds=bounds, args=(amplitudes, CONTACTS_UM)).x
    np.testing.assert_allclose(found, reference, rtol=1e-6, atol=1e-3)
