import numpy as np
import pytest
from spikeinterface.core import BaseRecording, BaseSorting

from sort_assets.testing.ground_truth import make_ground_truth


def test_the_recording_is_int16_with_a_gain_and_a_probe(ground_truth: tuple[BaseRecording, BaseSorting]) -> None:
    recording, _ = ground_truth

    assert recording.dtype == np.int16
    assert recording.get_traces().shape == (600000, 16)
    assert recording.get_channel_gains().tolist() == [0.195] * 16
    assert len(np.unique(recording.get_channel_locations(), axis=0)) == 16


def test_units_fire_at_12_to_28_hz(ground_truth: tuple[BaseRecording, BaseSorting]) -> None:
    _, sorting = ground_truth

    rates_hz = np.array(list(sorting.count_num_spikes_per_unit().values())) / 20
    # Counts of a Poisson process scatter around the rates by about one per second in 20 s.
    assert np.all((rates_hz > 9) & (rates_hz < 32))


def test_spikes_are_where_the_sorting_says(ground_truth: tuple[BaseRecording, BaseSorting]) -> None:
    recording, sorting = ground_truth

    for unit_id, channel_id in zip(sorting.unit_ids, sorting.get_property("main_channel_id"), strict=True):
        trace = recording.get_traces(channel_ids=[channel_id], return_in_uV=True)[:, 0]
        spikes = sorting.get_unit_spike_train(unit_id)
        assert -280 < np.median(trace[spikes]) < -110


def test_the_same_seed_makes_the_same_recording() -> None:
    first, first_sorting = make_ground_truth(duration_s=1.0, seed=3)
    second, second_sorting = make_ground_truth(duration_s=1.0, seed=3)
    other, _ = make_ground_truth(duration_s=1.0, seed=4)

    np.testing.assert_array_equal(first.get_traces(), second.get_traces())
    np.testing.assert_array_equal(first_sorting.to_spike_vector(), second_sorting.to_spike_vector())
    assert not np.array_equal(first.get_traces(), other.get_traces())


def test_a_lazy_recording_has_the_same_samples() -> None:
    lazy, _ = make_ground_truth(duration_s=1.0, lazy=True)
    in_memory, _ = make_ground_truth(duration_s=1.0)

    np.testing.assert_array_equal(lazy.get_traces(), in_memory.get_traces())


@pytest.mark.parametrize("num_units", [0, 1])
def test_few_or_no_units_are_possible(num_units: int) -> None:
    recording, sorting = make_ground_truth(duration_s=1.0, num_units=num_units)

    assert sorting.get_num_units() == num_units
    assert recording.get_traces().std() > 10
