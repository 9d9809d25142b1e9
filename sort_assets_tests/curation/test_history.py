"""A history is taken again and gives the same spikes."""

from collections.abc import Callable

import numpy as np
import pytest
import spikeinterface.core as si
from spikeinterface.curation import apply_curation

from sort_assets.curation.history import (
    COINCIDENCE_MS,
    CurationHistory,
    HistoryStep,
    UnitId,
    curation_of,
    hash_spikes,
    ids_after,
    new_unit_ids,
    plain_ids,
    replay,
    restructure,
)
from sort_assets.errors import CurationError
from sort_assets_tests.curation.conftest import DUPLICATE, JOBS, Planted

Rename = Callable[[int], UnitId]


def sorting_of(name: Rename) -> si.NumpySorting:
    """Four units with 40, 50, 60 and 0 spikes, of which some share a sample."""
    rng = np.random.default_rng(3)
    trains = {name(unit): np.sort(rng.integers(0, 900, 40 + 10 * unit)) for unit in range(3)}
    return si.NumpySorting.from_unit_dict([trains | {name(3): np.array([], dtype=int)}], 1000.0)


def history_of(sorting: si.BaseSorting, *curations: dict[str, object]) -> CurationHistory:
    steps = [HistoryStep(title="A step", made_by={"person": "anna"}, curation=each) for each in curations]
    return CurationHistory(unit_ids=plain_ids(sorting), spikes=hash_spikes(sorting), steps=steps)


def merged_and_split(sorting: si.BaseSorting) -> CurationHistory:
    """Unit 2 is split in three, the first part is merged with unit 0, and the second part is removed."""
    ids = plain_ids(sorting)
    parts = new_unit_ids(ids, 4, "part")
    spikes = np.arange(60)
    split = curation_of(ids, splits={ids[2]: {parts[k]: spikes[k::3].tolist() for k in range(3)}})
    after_split = ids_after(ids, split)
    merge = curation_of(after_split, merges={parts[3]: [ids[0], parts[0]]})
    after_merge = ids_after(after_split, merge)
    labels = {each: "rejected" if each == parts[1] else "good" for each in after_merge}
    return history_of(sorting, split, merge, curation_of(after_merge, labels=labels, removed=[parts[1]]))


@pytest.mark.parametrize("name", [int, str, "unit_{}".format], ids=["int", "digits", "text"])
def test_replay_gives_the_spikes_of_merges_and_splits_exactly(name: Rename) -> None:
    sorting = sorting_of(name)
    history = merged_and_split(sorting)
    zero, one, two, silent = plain_ids(sorting)
    parts = list(history.steps[0].curation["splits"][0]["new_unit_ids"])
    merged = history.steps[1].curation["merges"][0]["new_unit_id"]

    again = replay(sorting, CurationHistory.model_validate_json(history.model_dump_json()))

    assert plain_ids(again) == [one, silent, parts[1], parts[2], merged]
    train = sorting.get_unit_spike_train(two)
    expected = np.sort(np.r_[sorting.get_unit_spike_train(zero), train[::3]])
    assert np.array_equal(again.get_unit_spike_train(merged), expected)
    assert np.array_equal(again.get_unit_spike_train(parts[1]), train[1::3])
    assert np.array_equal(again.get_unit_spike_train(parts[2]), train[2::3])
    assert np.array_equal(again.get_unit_spike_train(one), sorting.get_unit_spike_train(one))
    assert again.get_property("kept").tolist() == [True, True, False, True, True]
    assert again.get_property("label").tolist() == ["good", "good", "rejected", "good", "good"]
    assert "label" not in sorting.get_property_keys()


@pytest.mark.parametrize("name", [int, str, "unit_{}".format], ids=["int", "digits", "text"])
def test_spikeinterface_alone_takes_the_steps_to_the_kept_units(name: Rename) -> None:
    sorting = sorting_of(name)
    history = merged_and_split(sorting)

    kept = replay(sorting, history, only_kept=True)
    theirs = sorting
    for step in history.steps:
        theirs = apply_curation(theirs, step.curation, censor_ms=step.censor_ms)

    assert hash_spikes(theirs) == hash_spikes(kept)
    assert len(kept.unit_ids) == 4


def test_an_analyzer_is_merged_and_split_like_its_sorting(planted: Planted) -> None:
    analyzer = planted.analyzer
    ids = plain_ids(analyzer.sorting)
    count = len(analyzer.sorting.get_unit_spike_train("3"))
    halves = {"a": list(range(0, count, 2)), "b": list(range(1, count, 2))}
    # Units 0 and 7 are on different channels, so that their waveforms must be read again.
    curation = curation_of(ids, merges={"0+7": ["0", "7"]}, splits={"3": halves})
    history = history_of(analyzer.sorting, curation)

    again = replay(analyzer, history, job_kwargs=JOBS)

    assert hash_spikes(again.sorting) == hash_spikes(replay(analyzer.sorting, history))
    assert set(again.get_loaded_extension_names()) == set(analyzer.get_loaded_extension_names())
    templates = again.get_extension("templates")
    whole = analyzer.get_extension("templates").get_unit_template("3")
    assert np.allclose(templates.get_unit_template("a"), whole, atol=0.1 * np.abs(whole).max())
    assert plain_ids(analyzer.sorting) == ids


@pytest.mark.parametrize("samples_later", [0, 4, 9])
def test_spikes_that_merged_units_both_found_count_once(samples_later: int) -> None:
    rng = np.random.default_rng(12)
    spikes = np.cumsum(rng.integers(400, 2000, 900))
    first, others = spikes[::2], spikes[1::2]
    again = first[:200] + samples_later
    sorting = si.NumpySorting.from_unit_dict([{0: first, 1: np.sort(np.r_[again, others])}], 30000.0)
    merge = curation_of([0, 1], merges={2: [0, 1]})

    once = restructure(sorting, merge, censor_ms=COINCIDENCE_MS)
    twice = restructure(sorting, merge)

    assert np.array_equal(once.get_unit_spike_train(2), spikes)
    assert len(twice.get_unit_spike_train(2)) == 1100


def test_an_analyzer_loses_the_same_spikes_in_all_that_was_computed(planted: Planted) -> None:
    analyzer = planted.analyzer
    ids = plain_ids(analyzer.sorting)
    merge = curation_of(ids, merges={"m": [planted.duplicated, DUPLICATE]})
    steps = [HistoryStep(title="A step", made_by={}, curation=merge, censor_ms=COINCIDENCE_MS)]
    history = CurationHistory(unit_ids=ids, spikes=hash_spikes(analyzer.sorting), steps=steps)

    again = replay(analyzer, history, job_kwargs=JOBS)

    train = analyzer.sorting.get_unit_spike_train(planted.duplicated)
    assert np.array_equal(again.sorting.get_unit_spike_train("m"), train)
    assert hash_spikes(again.sorting) == hash_spikes(replay(analyzer.sorting, history))
    amplitudes = again.get_extension("spike_amplitudes").get_data()
    assert len(amplitudes) == again.sorting.to_spike_vector().size
    assert set(again.get_loaded_extension_names()) == set(analyzer.get_loaded_extension_names())


def test_a_merge_that_needs_a_lost_recording_says_so(planted: Planted) -> None:
    analyzer = planted.analyzer.copy()
    analyzer._recording = None
    history = history_of(analyzer.sorting, curation_of(plain_ids(analyzer), merges={"0+7": ["0", "7"]}))

    with pytest.raises(CurationError, match="the recording with their waveforms is gone"):
        replay(analyzer, history)


def test_a_history_of_other_spikes_is_refused() -> None:
    sorting = sorting_of(int)
    history = merged_and_split(sorting)
    shifted = si.NumpySorting.from_unit_dict(
        [{unit: sorting.get_unit_spike_train(unit) + 1 for unit in sorting.unit_ids}], 1000.0
    )

    with pytest.raises(CurationError, match="about other units"):
        replay(shifted, history)
    with pytest.raises(CurationError, match="about other units"):
        replay(sorting_of(str), history)


def test_a_history_without_steps_leaves_no_units_and_many_as_they_are() -> None:
    empty = si.NumpySorting.from_unit_dict([{}], 1000.0)

    for sorting in (empty, sorting_of(int)):
        assert hash_spikes(replay(sorting, history_of(sorting))) == hash_spikes(sorting)


def test_the_hash_does_not_depend_on_the_order_of_simultaneous_spikes() -> None:
    sorting = sorting_of(int)
    spikes = sorting.to_spike_vector()
    swapped = spikes[np.lexsort((-spikes["unit_index"], spikes["sample_index"]))]
    assert not np.array_equal(swapped, spikes)

    assert hash_spikes(si.NumpySorting(swapped, 1000.0, sorting.unit_ids)) == hash_spikes(sorting)


def test_new_units_are_numbered_after_the_last_and_never_taken_twice() -> None:
    assert new_unit_ids([3, 7], 2, "x") == [8, 9]
    assert new_unit_ids(["3", "7"], 2, "x") == ["8", "9"]
    assert new_unit_ids(["a", "x1"], 2, "x") == ["x0", "x2"]
    assert new_unit_ids([], 1, "x") == [0]
