"""Templates move along the probe as their neurons would, and units are spread over amplitudes and depths."""

import numpy as np
import pytest
from spikeinterface.generation.drift_tools import move_dense_templates

from sort_assets.errors import InjectionError
from sort_assets.hybrid.moving import move_template, moves_exactly
from sort_assets.hybrid.placement import place_units
from sort_assets_tests.hybrid.examples import donor_at, noise_of, probe_of, template_at


@pytest.mark.parametrize("columns", [1, 2])
def test_on_a_probe_that_repeats_a_moved_template_is_that_of_a_neuron_further_along(columns: int) -> None:
    probe = probe_of(columns=columns)
    here, there = template_at(probe, 60.0), template_at(probe, 140.0)

    moved = move_template(here, probe.contact_positions, 80.0)

    inside = probe.contact_positions[:, 1] >= 80.0  # what is below comes from beyond the probe's end
    np.testing.assert_allclose(moved[:, inside], there[:, inside], atol=1e-4)
    assert not moved[:, ~inside].any()


@pytest.mark.parametrize("columns", [1, 2])
def test_between_contacts_it_is_interpolated(columns: int) -> None:
    probe = probe_of(columns=columns)

    moved = move_template(template_at(probe, 100.0), probe.contact_positions, 10.0)

    assert not moves_exactly(probe.contact_positions, 10.0)
    main = np.abs(moved).max(axis=0)
    ends = np.flatnonzero(np.isin(probe.contact_positions[:, 1], [100.0, 120.0]) & (probe.contact_positions[:, 0] == 0))
    assert main[ends[0]] == pytest.approx(main[ends[1]], rel=0.25)
    assert set(np.argsort(main)[-2:]) == set(ends)


def test_the_interpolation_is_that_of_spikeinterface() -> None:
    probe = probe_of()
    template = template_at(probe, 100.0)

    moved = move_template(template, probe.contact_positions, 10.0)

    (theirs,) = move_dense_templates(template[np.newaxis, 15:25], np.array([[0.0, 10.0]]), probe)
    np.testing.assert_allclose(moved[15:25], theirs[0], atol=1e-4)


def test_units_are_spread_over_amplitudes_and_depths_away_from_their_donors() -> None:
    probe = probe_of()
    donors = [donor_at(probe, 60.0, "a"), donor_at(probe, 180.0, "b")]

    units = place_units(donors, probe.contact_positions, noise_of(probe), num_units=8, duration_s=60.0, seed=1)

    assert [unit.snr for unit in units] == pytest.approx(np.geomspace(3, 16, 8))
    assert all(np.abs(unit.template_uv).max() == pytest.approx(unit.amplitude_uv, rel=1e-5) for unit in units)
    assert all(unit.amplitude_uv == pytest.approx(8.0 * unit.snr) for unit in units)
    assert {unit.donor for unit in units} == {"a", "b"}
    assert all(unit.displacement_um != 0 for unit in units)
    assert len({unit.depth_um for unit in units}) >= 6


def test_the_same_seed_places_the_same_units_and_another_does_not() -> None:
    probe = probe_of()
    given = ([donor_at(probe, 60.0)], probe.contact_positions, noise_of(probe))

    first, again, other = (place_units(*given, num_units=5, duration_s=60.0, seed=seed) for seed in (1, 1, 2))

    assert [unit.depth_um for unit in first] == [unit.depth_um for unit in again]
    assert [unit.depth_um for unit in first] != [unit.depth_um for unit in other]


def test_a_tetrode_takes_units_at_their_own_place() -> None:
    probe = probe_of(rows=1, columns=4)

    (unit,) = place_units(
        [donor_at(probe, 0.0)], probe.contact_positions, noise_of(probe), num_units=1, duration_s=60.0, seed=0
    )

    assert unit.displacement_um == 0


def test_short_stretches_get_enough_spikes() -> None:
    probe = probe_of()

    (unit,) = place_units(
        [donor_at(probe, 60.0)], probe.contact_positions, noise_of(probe), num_units=1, duration_s=5.0, seed=0
    )

    assert unit.firing_rate_hz == 20.0


def test_without_donors_it_is_said() -> None:
    probe = probe_of()

    with pytest.raises(InjectionError, match="no unit whose template could be injected"):
        place_units([], probe.contact_positions, noise_of(probe), num_units=5, duration_s=60.0, seed=0)
