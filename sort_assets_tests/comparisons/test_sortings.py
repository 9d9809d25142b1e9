"""Known edits of a sorting are named exactly."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from spikeinterface.core import NumpySorting

from sort_assets.comparisons.columns import PAIRS
from sort_assets.comparisons.sortings import ComparedSorting, SortingComparison, compare_sortings
from sort_assets.errors import ComparisonError
from sort_assets_tests.comparisons.conftest import DURATION_S, SAMPLING_HZ, Trains, sorting_of

Jitter = Callable[[Trains, int], Trains]


def compared(old: Trains, new: Trains) -> SortingComparison:
    return compare_sortings(ComparedSorting(sorting_of(old), DURATION_S), ComparedSorting(sorting_of(new), DURATION_S))


@pytest.mark.parametrize("samples", range(11))
def test_jitter_of_up_to_ten_samples_keeps_every_unit(trains: Trains, jittered: Jitter, samples: int) -> None:
    found = compared(trains, jittered(trains, samples))

    assert set(found.old_fates.values()) == {"kept"}
    assert set(found.new_fates.values()) == {"kept"}
    assert found.matches == {str(unit): str(unit) for unit in trains}
    assert found.agreements.min() > 0.95


def test_renumbered_units_are_kept_under_their_new_names(trains: Trains) -> None:
    names = {unit: f"b-{11 - unit}" for unit in trains}

    found = compared(trains, {names[unit]: train for unit, train in reversed(trains.items())})

    assert found.matches == {str(unit): names[unit] for unit in trains}
    assert found.counts == {"kept": 12, "moved": 0, "split": 0, "merged": 0, "lost": 0, "new": 0}


@pytest.mark.parametrize("samples", [0, 5, 10])
@pytest.mark.parametrize("seed", range(5))
def test_several_edits_at_once_are_named_exactly(trains: Trains, jittered: Jitter, samples: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    dropped, halved, thirds, one, other, *_ = map(int, rng.permutation(list(trains)))
    new = {unit: train for unit, train in jittered(trains, samples).items() if unit != dropped}
    whole = new.pop(halved)
    part = rng.random(len(whole)) < rng.uniform(0.1, 0.9)
    new[100], new[101] = whole[part], whole[~part]
    whole = new.pop(thirds)
    part = rng.integers(0, 3, len(whole))
    new |= {102 + index: whole[part == index] for index in range(3)}
    new[105] = np.sort(np.concatenate([new.pop(one), new.pop(other)]))
    new[106] = np.sort(rng.integers(0, int(DURATION_S * SAMPLING_HZ), 400))

    found = compared(trains, new)

    expected = dict.fromkeys(map(str, trains), "kept") | {
        str(dropped): "lost",
        str(halved): "split",
        str(thirds): "split",
        str(one): "merged",
        str(other): "merged",
    }
    assert dict(found.old_fates) == expected
    made = {str(unit): "split" for unit in range(100, 105)} | {"105": "merged", "106": "new"}
    assert dict(found.new_fates) == dict.fromkeys((str(unit) for unit in new), "kept") | made
    parts = found.pairs[found.pairs["fate"] == "split"].groupby("old_unit")["new_unit"].apply(set)
    assert parts.to_dict() == {str(halved): {"100", "101"}, str(thirds): {"102", "103", "104"}}
    sources = found.pairs[found.pairs["fate"] == "merged"]
    assert set(sources["old_unit"]) == {str(one), str(other)}
    assert set(sources["new_unit"]) == {"105"}


def test_a_duplicate_is_new_and_not_a_split(trains: Trains) -> None:
    found = compared(trains, {**trains, "copy": trains[5] + 2})

    assert found.old_fates["5"] == "kept"
    assert found.new_fates["copy"] == "new"
    row = found.pairs[found.pairs["new_unit"] == "copy"].iloc[0]
    assert row["best_match"] == "5"
    assert row["agreement"] > 0.95


def test_a_duplicate_that_is_gone_is_lost_and_not_merged(trains: Trains) -> None:
    found = compared({**trains, "copy": trains[5] + 2}, trains)

    assert sorted(found.old_fates.values()).count("lost") == 1
    assert found.counts["kept"] == 12
    assert found.counts["merged"] == 0


def test_a_unit_that_lost_most_of_its_spikes_is_lost_with_its_best_match(trains: Trains) -> None:
    found = compared(trains, {**trains, 7: trains[7][::3]})

    assert found.old_fates["7"] == "lost"
    assert found.new_fates["7"] == "new"
    row = found.pairs[found.pairs["old_unit"] == "7"].iloc[0]
    assert row["best_match"] == "7"
    assert row["agreement"] == pytest.approx(1 / 3, abs=0.05)


def test_a_unit_that_lost_a_fifth_of_its_spikes_is_kept(trains: Trains) -> None:
    thinned = np.delete(trains[7], np.s_[::5])

    found = compared(trains, {**trains, 7: thinned})

    assert found.old_fates["7"] == "kept"
    assert found.agreements[7] == pytest.approx(0.8, abs=0.02)


def test_units_that_persist_are_kept_or_whole_but_for_a_small_part(trains: Trains) -> None:
    part = np.arange(len(trains[11])) % 10 == 0
    halves = np.arange(len(trains[10])) % 2 == 0
    new = {**trains, 11: trains[11][~part], 20: trains[11][part], 10: trains[10][halves], 21: trains[10][~halves]}

    found = compared({**trains, 30: np.arange(50, 90_000, 900)}, new)

    assert found.old_fates["11"] == found.old_fates["10"] == "split"
    assert found.old_fates["30"] == "lost"
    assert set(found.persisting) == {str(unit) for unit in range(12)} - {"10"}


def test_swapping_the_sortings_swaps_the_fates(trains: Trains) -> None:
    merged = {unit: train for unit, train in trains.items() if unit not in (3, 4)}
    merged[34] = np.sort(np.concatenate([trains[3], trains[4]]))

    there, back = compared(trains, merged), compared(merged, trains)

    assert there.old_fates["3"] == there.old_fates["4"] == there.new_fates["34"] == "merged"
    assert back.new_fates["3"] == back.new_fates["4"] == back.old_fates["34"] == "split"


@pytest.mark.parametrize(("old", "new"), [(0, 0), (0, 3), (3, 0), (1, 1)])
def test_empty_sortings_and_single_units_compare(trains: Trains, old: int, new: int) -> None:
    found = compared({unit: trains[unit] for unit in range(old)}, {unit: trains[unit] for unit in range(new)})

    both = min(old, new)
    assert found.counts["kept"] == both
    assert found.counts["lost"] == old - both
    assert found.counts["new"] == new - both
    assert list(found.pairs.columns) == [column.name for column in PAIRS]
    assert len(found.agreements) == old


def test_a_unit_without_spikes_is_lost(trains: Trains) -> None:
    none = np.empty(0, dtype=np.int64)

    found = compared({1: trains[1], 2: none}, {1: trains[1], 2: none})

    assert found.old_fates == {"1": "kept", "2": "lost"}
    assert found.new_fates["2"] == "new"


def test_a_kept_unit_elsewhere_on_the_probe_has_moved(trains: Trains) -> None:
    units = {unit: trains[unit] for unit in range(3)}
    places = pd.DataFrame(
        {
            "primary_channel": ["a", "b", "c"],
            "amplitude_uv": [50.0, 60.0, 70.0],
            "x_um": 0.0,
            "y_um": [0.0, 40.0, 80.0],
        },
        index=["0", "1", "2"],
    )
    elsewhere = places.assign(y_um=[5.0, 140.0, float("nan")])

    found = compare_sortings(
        ComparedSorting(sorting_of(units), DURATION_S, places),
        ComparedSorting(sorting_of(units), DURATION_S, elsewhere),
        pitch_um=40.0,
    )

    assert found.old_fates == {"0": "kept", "1": "moved", "2": "kept"}
    assert found.pairs["distance_um"].tolist()[:2] == [5.0, 100.0]
    assert found.pairs["old_amplitude_uv"].tolist() == [50.0, 60.0, 70.0]


def test_a_later_start_and_an_earlier_end_compare_what_both_have(trains: Trains) -> None:
    first, last = int(10 * SAMPLING_HZ), int(40 * SAMPLING_HZ)
    cut = {unit: train[(train >= first) & (train < last)] - first for unit, train in trains.items()}
    later = sorting_of(cut)
    later.shift_times(110.0)
    whole = sorting_of(trains)
    whole.shift_times(100.0)

    found = compare_sortings(ComparedSorting(whole, DURATION_S), ComparedSorting(later, 30.0))

    assert set(found.old_fates.values()) == {"kept"}
    assert found.duration_s == pytest.approx(30.0, abs=1e-3)
    assert found.cut_s == pytest.approx(30.0, abs=1e-3)
    assert found.pairs["old_spikes"].tolist() == [len(train) for train in cut.values()]


def test_sortings_without_a_common_time_are_refused(trains: Trains) -> None:
    later = sorting_of(trains)
    later.shift_times(1000.0)

    with pytest.raises(ComparisonError, match="no time in common"):
        compare_sortings(ComparedSorting(sorting_of(trains), DURATION_S), ComparedSorting(later, DURATION_S))


def test_segments_are_compared_one_by_one(trains: Trains) -> None:
    segments = [{0: trains[0], 1: trains[1]}, {0: trains[2], 1: trains[3]}]
    other = [{5: trains[1], 6: trains[0]}, {5: trains[3], 6: trains[2]}]
    old, new = (NumpySorting.from_unit_dict(each, SAMPLING_HZ) for each in (segments, other))

    found = compare_sortings(ComparedSorting(old, DURATION_S), ComparedSorting(new, DURATION_S))

    assert found.matches == {"0": "6", "1": "5"}
