"""What is injected is in the recording at the times of the truth, to the sample, whether or not the units drift."""

import numpy as np
import pytest
from spikeinterface.core import BaseRecording, BaseSorting
from spikeinterface.core.motion import Motion

from sort_assets.errors import InjectionError
from sort_assets.hybrid.injection import draw_spikes, inject
from sort_assets.hybrid.placement import InjectedUnit, place_units
from sort_assets_tests.hybrid.examples import AFTER, BEFORE, RATE_HZ, donor_at, noise_of, probe_of, recording_of

PROBE = probe_of()


def units_of(number: int, snrs: list[float] | None = None) -> list[InjectedUnit]:
    return place_units(
        [donor_at(PROBE, 100.0)],
        PROBE.contact_positions,
        noise_of(PROBE),
        num_units=number,
        duration_s=10.0,
        seed=3,
        snrs=snrs,
    )


def spikes_of(units: list[InjectedUnit], recording: BaseRecording, seed: int = 5) -> BaseSorting:
    end = recording.get_num_samples()
    return draw_spikes(units, sampling_hz=RATE_HZ, start=1000, end=end, before=BEFORE, after=AFTER, seed=seed)


def drift_of(furthest_um: float) -> Motion:
    """To and fro, once in the 10 seconds."""
    times_s = np.arange(0.0, 10.5, 0.5)
    moved = furthest_um * np.sin(2 * np.pi * times_s / 10.0)
    return Motion(moved[:, np.newaxis], times_s, np.array([120.0]))


@pytest.mark.parametrize("furthest_um", [None, 0.0, 15.0])
def test_troughs_are_at_the_samples_of_the_truth(furthest_um: float | None) -> None:
    silence = recording_of(PROBE, noise_uv=0.0)
    (unit,) = units_of(1, [12.0])
    truth = spikes_of([unit], silence)
    motion = None if furthest_um is None else drift_of(furthest_um)

    hybrid = inject(silence, [unit], truth, before=BEFORE, motion=motion)

    lowest = hybrid.get_traces().min(axis=1)
    troughs = np.flatnonzero((lowest < -40.0) & (lowest < np.roll(lowest, 1)) & (lowest < np.roll(lowest, -1)))
    np.testing.assert_array_equal(troughs, truth.get_unit_spike_train(unit.unit_id))


def test_a_drifting_unit_is_where_the_tissue_is() -> None:
    silence = recording_of(PROBE, noise_uv=0.0)
    (unit,) = units_of(1, [12.0])
    truth = spikes_of([unit], silence)

    hybrid = inject(silence, [unit], truth, before=BEFORE, motion=drift_of(40.0))

    main = np.abs(hybrid.get_traces()[truth.get_unit_spike_train(unit.unit_id)]).argmax(axis=1)
    times_s = truth.get_unit_spike_train(unit.unit_id) / RATE_HZ
    expected_um = unit.depth_um + 40.0 * np.sin(2 * np.pi * times_s / 10.0)
    assert np.abs(PROBE.contact_positions[main, 1] - expected_um).max() <= 12.0  # half the distance of two rows


def test_nothing_but_the_spikes_is_changed() -> None:
    recording = recording_of(PROBE)
    units = units_of(4)
    truth = spikes_of(units, recording)

    added = inject(recording, units, truth, before=BEFORE).get_traces() - recording.get_traces()

    near = np.zeros(len(added), dtype=bool)
    for sample in truth.to_spike_vector()["sample_index"]:
        near[sample - BEFORE : sample + AFTER] = True
    assert not added[~near].any()
    assert not added[:1000].any()
    assert np.abs(added[near]).max() == pytest.approx(max(unit.amplitude_uv for unit in units), rel=0.3)


@pytest.mark.parametrize("motion", [None, drift_of(15.0)])
def test_an_amplitude_of_zero_injects_nothing(motion: Motion | None) -> None:
    recording = recording_of(PROBE)
    units = units_of(3, [0.0, 0.0, 0.0])
    truth = spikes_of(units, recording)

    hybrid = inject(recording, units, truth, before=BEFORE, motion=motion)

    assert truth.to_spike_vector().size > 100
    np.testing.assert_array_equal(hybrid.get_traces(), recording.get_traces())


def test_without_units_the_recording_stays_as_it_is() -> None:
    recording = recording_of(PROBE)

    assert inject(recording, [], spikes_of([], recording), before=BEFORE) is recording


def test_spikes_keep_rates_and_refractory_period_and_whole_templates_fit() -> None:
    recording = recording_of(PROBE)
    units = units_of(4)

    truth = spikes_of(units, recording)

    for unit in units:
        train = truth.get_unit_spike_train(unit.unit_id)
        assert np.diff(train).min() >= 4.0 * RATE_HZ / 1000
        assert len(train) == pytest.approx(unit.firing_rate_hz * 10.0, rel=0.3)
        assert train.min() >= 1000 + BEFORE
        assert train.max() <= recording.get_num_samples() - AFTER


def test_the_same_seed_draws_the_same_spikes_and_another_does_not() -> None:
    recording, units = recording_of(PROBE), units_of(2)

    first, again, other = (spikes_of(units, recording, seed).to_spike_vector() for seed in (1, 1, 2))

    np.testing.assert_array_equal(first, again)
    assert first.size != other.size or (first["sample_index"] != other["sample_index"]).any()


def test_a_stretch_shorter_than_a_template_is_refused() -> None:
    with pytest.raises(InjectionError, match=r"stretch of 0.002 s is shorter than a spike's template"):
        draw_spikes(units_of(1), sampling_hz=RATE_HZ, start=0, end=40, before=BEFORE, after=AFTER, seed=0)
