"""Spikes inside the recording, in order, and found once."""

import numpy as np
import pytest
import spikeinterface.core as si
from spikeinterface.core.base import minimum_spike_dtype

from sort_assets.checks.spikes import duplicate_fraction, spikes_in_order
from sort_assets_tests.checks.sortings import RATE_HZ, empty, neurons, silent, sorting_of


def sorting_at(samples: list[int]) -> si.BaseSorting:
    """One unit, its spikes in this order, as a damaged folder could hold them."""
    spikes = np.zeros(len(samples), dtype=minimum_spike_dtype)
    spikes["sample_index"] = samples
    return si.NumpySorting(spikes, RATE_HZ, ["a"])


def test_spikes_at_the_first_and_the_last_sample_are_inside() -> None:
    result = spikes_in_order(sorting_at([0, 5, 5, 99]), 100)

    assert result.passed
    assert result.values["spikes"] == 4


@pytest.mark.parametrize(
    ("samples", "count", "words"),
    [
        ([-1, 5], "before_the_start", "1 spike before its start"),
        ([5, 100, 101], "after_the_end", "2 spikes after its end"),
        ([5, 3, 9], "out_of_order", "1 spike earlier than the one before"),
    ],
)
def test_what_is_outside_or_out_of_order_is_an_error_with_its_number(
    samples: list[int], count: str, words: str
) -> None:
    result = spikes_in_order(sorting_at(samples), 100)

    assert (result.passed, result.severity) == (False, "error")
    assert words in result.description
    assert "Sort it again" in result.description
    assert (
        sum(result.values[name] for name in ("before_the_start", "after_the_end", "out_of_order"))
        == (result.values[count])
    )


def test_a_stored_sorting_is_checked_as_it_is_stored(tmp_path) -> None:
    sorting_at([5, 3, 9]).save(folder=tmp_path / "sorting", format="numpy_folder")

    assert not spikes_in_order(si.NumpyFolderSorting(tmp_path / "sorting"), 100).passed


@pytest.mark.parametrize("nothing", [empty(), silent(2)])
@pytest.mark.parametrize("check", [lambda sorting: spikes_in_order(sorting, 100), duplicate_fraction])
def test_without_spikes_there_is_nothing_to_check(check, nothing) -> None:
    result = check(nothing)

    assert result.passed
    assert "nothing to check" in result.description


def test_sound_units_have_no_duplicates() -> None:
    result = duplicate_fraction(sorting_of(neurons(8, 60.0)))

    assert result.passed
    assert result.values["duplicated_spikes"] == 0
    assert result.values["pairs_of_duplicate_units"] == 0


def test_spikes_that_a_unit_has_twice_are_found() -> None:
    trains = neurons(8, 60.0)
    trains["u3"] = np.concatenate([trains["u3"], trains["u3"][::5] + 0.0002])

    result = duplicate_fraction(sorting_of(trains))

    assert not result.passed
    assert result.values["units_with_duplicates"] == 1
    assert "u3 (16 %)" in result.description  # one of six spikes, less what is chance


def test_units_that_are_one_neuron_are_found() -> None:
    trains = neurons(8, 60.0)
    trains["copy"] = trains["u2"] + 0.0001

    result = duplicate_fraction(sorting_of(trains))

    assert not result.passed
    assert result.values["pairs_of_duplicate_units"] == 1
    assert "copy and u2" in result.description


def test_a_fast_cluster_of_many_neurons_has_close_spikes_by_chance() -> None:
    times_s = np.random.default_rng(0).uniform(0, 60.0, 60 * 200)

    result = duplicate_fraction(sorting_of({"a": times_s}))

    assert result.passed
    assert float(result.values["duplicated_spikes_percent"]) > 5


def test_one_unit_and_a_silent_one_are_no_problem() -> None:
    assert duplicate_fraction(sorting_of({**neurons(1, 60.0), "silent": np.array([])})).passed


def test_one_spike_is_no_problem() -> None:
    assert duplicate_fraction(sorting_of({"a": np.array([1.0])})).passed
