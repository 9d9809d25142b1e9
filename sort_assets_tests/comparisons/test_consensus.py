"""Units on which sortings agree, by what was planted."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from spikeinterface.comparison import compare_multiple_sorters
from spikeinterface.core import BaseRecording, BaseSorting, NumpySorting

from sort_assets.backends.registry import create_backend
from sort_assets.comparisons.coincidences import shared_spikes
from sort_assets.comparisons.columns import consensus_columns
from sort_assets.comparisons.consensus import UNIT_OF, find_consensus, shared_by_candidates
from sort_assets.comparisons.sortings import ComparedSorting
from sort_assets.config import SortingPipelineConfig
from sort_assets.errors import ComparisonError
from sort_assets.metrics.tables import as_declared, write_table
from sort_assets.testing import make_sort_input

RATE_HZ = 30_000.0
LENGTH_S = 60.0


def trains(units: int, *, rate_hz: float = 5.0, seed: int = 0) -> list[np.ndarray]:
    """Poisson trains with a refractory period of 3 ms."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(units):
        gaps = 90 + rng.exponential(RATE_HZ / rate_hz, int(2 * rate_hz * LENGTH_S) + 50)
        times = np.cumsum(gaps).astype(np.int64)
        made.append(times[times < LENGTH_S * RATE_HZ - 100])
    return made


def compared(
    units: Mapping[Any, np.ndarray], *, length_s: float = LENGTH_S, places: Mapping[int, float] | None = None
) -> ComparedSorting:
    sorting = NumpySorting.from_unit_dict([dict(units)], RATE_HZ)
    metrics = None
    if places is not None:
        index = [str(unit) for unit in units]
        metrics = pd.DataFrame({"x_um": 0.0, "y_um": list(places.values()), "amplitude_uv": 50.0}, index=index)
    return ComparedSorting(sorting, length_s, metrics)


def jittered(train: np.ndarray, seed: int, samples: int = 4) -> np.ndarray:
    return np.sort(train + np.random.default_rng(seed).integers(-samples, samples + 1, len(train)))


def units_of(table: pd.DataFrame, name: str) -> list[object]:
    return table[f"{UNIT_OF}{name}"].tolist()


def test_units_are_named_in_each_sorting_and_those_of_one_alone_are_left_out() -> None:
    a, b, c, d = trains(4)
    found = find_consensus(
        {
            "one": compared({1: a, 2: b}),
            "two": compared({"x": jittered(b, 1), "y": jittered(a, 2), "z": c}),
            "three": compared({7: jittered(a, 3), 8: d}),
        },
        at_least=2,
    )

    by_first = found.table.set_index(f"{UNIT_OF}one")
    assert set(by_first.index) == {"1", "2"}
    named = by_first[[f"{UNIT_OF}two", f"{UNIT_OF}three", "sortings"]].astype(object).fillna("none")
    assert named.loc[["1", "2"]].to_numpy().tolist() == [["y", "7", 3], ["x", "none", 2]]
    assert found.table["agreement"].min() > 0.99


def test_a_spike_that_too_few_have_is_left_out_and_one_that_enough_have_is_where_the_median_is() -> None:
    train = np.array([1000, 5000, 9000, 20000, 30000, 40000])
    found = find_consensus(
        {
            "one": compared({0: train}),
            "two": compared({0: np.array([1003, 5003, 20003, 30003, 40003])}),
            "three": compared({0: np.array([1006, 20006, 25000, 30006, 40006])}),
        },
        at_least=2,
    )

    samples = found.sorting.get_unit_spike_train("0", segment_index=0)
    assert samples.tolist() == [1003, 5000, 20003, 30003, 40003]
    assert found.table["spikes"].tolist() == [5]


def test_units_that_are_far_apart_are_not_the_same_though_they_share_spikes() -> None:
    (train,) = trains(1)
    near, far = ({0: 100.0}, {0: 900.0})
    both = {"one": compared({0: train}, places=near), "two": compared({0: train}, places=far)}

    assert find_consensus(both, at_least=2).table.empty
    assert len(find_consensus({**both, "two": compared({0: train}, places=near)}, at_least=2).table) == 1


def test_a_unit_that_is_there_twice_in_one_sorting_counts_once() -> None:
    (train,) = trains(1)
    found = find_consensus({"one": compared({0: train, 1: train + 1}), "two": compared({0: train})}, at_least=2)

    assert (units_of(found.table, "one"), units_of(found.table, "two")) == (["0"], ["0"])


def test_sortings_of_different_length_are_compared_in_what_all_have() -> None:
    (train,) = trains(1)
    short = train[train < 20 * RATE_HZ]
    found = find_consensus(
        {"one": compared({0: train}), "two": compared({0: short}, length_s=20.0), "three": compared({0: train})},
        at_least=3,
    )

    assert found.table["spikes"].tolist() == [len(short)]
    assert found.table["rate_hz"].tolist() == pytest.approx([len(short) / 20.0])


@pytest.mark.parametrize("units", [{}, {0: np.array([100, 900])}])
def test_empty_sortings_and_one_alone_have_what_there_is(units: dict[object, np.ndarray]) -> None:
    alone = find_consensus({"one": compared(units)}, at_least=1)
    with_empty = find_consensus({"one": compared(units), "two": compared({})}, at_least=2)

    assert alone.sorting.get_num_units() == len(units)
    assert with_empty.sorting.get_num_units() == len(with_empty.table) == 0


def test_more_than_there_are_can_t_agree() -> None:
    with pytest.raises(ComparisonError, match="Of 1 sortings, 2 can't agree"):
        find_consensus({"one": compared({})}, at_least=2)


def test_the_units_are_those_of_spikeinterface_s_multiple_comparison() -> None:
    truth = trains(30, seed=3)
    rng = np.random.default_rng(4)
    sortings: dict[str, BaseSorting] = {}
    for number in range(3):
        units = {}
        for index in rng.permutation(30)[:24]:
            train = truth[index]
            kept = train[rng.random(len(train)) < rng.uniform(0.6, 1.0)]
            units[int(index)] = jittered(kept, number)
        sortings[f"sorter{number}"] = NumpySorting.from_unit_dict([units], RATE_HZ)

    mine = find_consensus({name: ComparedSorting(one, LENGTH_S) for name, one in sortings.items()}, at_least=2)
    theirs = compare_multiple_sorters(list(sortings.values()), name_list=list(sortings), n_jobs=1)

    expected = theirs.get_agreement_sorting(minimum_agreement_count=2)
    groups = {tuple(sorted(units.items())) for units in expected.get_property("unit_ids")}
    found = {
        tuple(sorted((name, int(row[f"{UNIT_OF}{name}"])) for name in sortings if pd.notna(row[f"{UNIT_OF}{name}"])))
        for _, row in mine.table.iterrows()
    }
    assert {tuple((name, int(unit)) for name, unit in group) for group in groups} == found
    assert len(found) > 15


def test_a_unit_that_one_sorting_splits_is_found_by_its_larger_part() -> None:
    (train,) = trains(1)
    parts = train[: int(0.7 * len(train))], train[int(0.7 * len(train)) :]
    sortings = {
        "one": compared({0: train}),
        "two": compared({0: jittered(train, 1)}),
        "three": compared(dict(enumerate(parts))),
    }

    found = find_consensus(sortings, at_least=2)

    assert units_of(found.table, "three") == ["0"]
    assert found.table["least_agreement"].tolist() == pytest.approx([0.7], abs=0.01)
    assert found.table["spikes"].tolist() == [len(train)]
    alone = find_consensus(sortings, at_least=2, agreement=0.8).table
    assert (alone["sortings"].tolist(), alone["least_agreement"].min() > 0.99) == ([2], True)


def test_of_candidates_the_same_spikes_are_counted_as_of_all_and_of_other_pairs_none() -> None:
    first, second = (
        compared({index: jittered(train, seed) for index, train in enumerate(trains(12, rate_hz=60.0))}).sorting
        for seed in (1, 2)
    )
    allowed = np.random.default_rng(0).random((12, 12)) < 0.5
    every = shared_spikes(first, second).matrix

    np.testing.assert_array_equal(shared_by_candidates(first, second, np.ones((12, 12), dtype=bool)).matrix, every)
    np.testing.assert_array_equal(shared_by_candidates(first, second, allowed).matrix, np.where(allowed, every, 0))
    assert (every > 0).all()


def test_of_two_sortings_the_spikes_are_spikeinterface_s_intersection() -> None:
    (train,) = trains(1)
    rng = np.random.default_rng(1)
    one, two = (train[rng.random(len(train)) < 0.85] for _ in range(2))
    sortings = {"one": compared({0: one}), "two": compared({0: two})}

    mine = find_consensus(sortings, at_least=2).sorting
    theirs = compare_multiple_sorters(
        [each.sorting for each in sortings.values()], spiketrain_mode="intersection", n_jobs=1
    ).get_agreement_sorting(minimum_agreement_count=2)

    np.testing.assert_array_equal(mine.get_unit_spike_train("0", 0), theirs.get_unit_spike_train(theirs.unit_ids[0], 0))


def test_a_spike_that_one_sorting_has_twice_is_no_agreement_and_is_there_once() -> None:
    found = find_consensus(
        {"one": compared({0: np.array([1000, 1005, 5000, 5004, 9000])}), "two": compared({0: np.array([1002, 9003])})},
        at_least=2,
        agreement=0.2,
    )

    assert found.sorting.get_unit_spike_train("0", 0).tolist() == [1000, 9000]


def test_the_columns_are_declared_and_the_table_can_be_written(tmp_path: Path) -> None:
    (train,) = trains(1)
    for units in ({}, {"a": train}):
        table = find_consensus({"one": compared(units), "two": compared(units)}, at_least=2).table

        pd.testing.assert_frame_equal(table, as_declared(table, consensus_columns(["one", "two"])))
        write_table(table, tmp_path / "consensus.parquet")


@pytest.mark.slow
def test_the_consensus_of_three_sorters_is_at_least_as_precise_as_the_best_of_them(
    ground_truth: tuple[BaseRecording, BaseSorting], tmp_path: Path
) -> None:
    recording, truth = ground_truth
    length_s = recording.get_total_duration()
    found = {}
    for name in ("tridesclous2", "spykingcircus2", "mountainsort5"):
        folder = tmp_path / name
        folder.mkdir()
        backend = create_backend(
            SortingPipelineConfig.model_validate(
                {"recording": {"bad_channels": "none"}, "sorter": {"name": name}, "execution": {"n_jobs": 1}}
            )
        )
        view, dat_path = make_sort_input(backend, recording, folder)
        found[name] = ComparedSorting(backend.sort(view, None, dat_path, folder / "sorter"), length_s)

    consensus = find_consensus(found, at_least=2).sorting

    best = max(precision(each.sorting, truth) for each in found.values())
    assert consensus.get_num_units() >= 6
    assert precision(consensus, truth) >= best


def precision(sorting: BaseSorting, truth: BaseSorting) -> float:
    """Of all spikes of a sorting, those that the matched unit of the truth has."""
    shared = shared_spikes(sorting, truth)
    return float(sum(shared.matrix[unit, its] for unit, its in shared.hungarian_match().items()) / shared.old.sum())
