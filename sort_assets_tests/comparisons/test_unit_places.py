"""Average waveforms of two sortings side by side."""

import numpy as np
import pytest
from spikeinterface.core import (
    NumpySorting,
    SortingAnalyzer,
    create_sorting_analyzer,
    generate_ground_truth_recording,
)

from sort_assets.comparisons.sortings import ComparedSorting, compare_sortings
from sort_assets.comparisons.unit_places import template_similarity

SHIFT = 6


@pytest.fixture(scope="module")
def analyzers() -> tuple[SortingAnalyzer, SortingAnalyzer]:
    """Four units, and the same in reverse order with all spikes some samples later."""
    recording, sorting = generate_ground_truth_recording(
        num_channels=8, num_units=4, durations=[10.0], sampling_frequency=30_000.0, seed=5
    )
    trains = {str(unit): sorting.get_unit_spike_train(unit, 0) for unit in sorting.unit_ids}
    later = {f"b{unit}": train + SHIFT for unit, train in reversed(trains.items())}
    made = []
    for units in (trains, later):
        analyzer = create_sorting_analyzer(
            NumpySorting.from_unit_dict([units], 30_000.0), recording, sparse=False, format="memory"
        )
        analyzer.compute({"random_spikes": {}, "templates": {"ms_before": 1.0, "ms_after": 2.0}}, n_jobs=1)
        made.append(analyzer)
    return made[0], made[1]


def test_the_same_waveform_at_another_sample_is_alike(analyzers: tuple[SortingAnalyzer, SortingAnalyzer]) -> None:
    same = template_similarity(*analyzers, [(0, 3), (1, 2), (2, 1), (3, 0)])
    others = template_similarity(*analyzers, [(0, 0), (1, 1)])

    assert same.min() > 0.95
    assert others.max() < same.min()


def test_without_templates_nothing_is_known(analyzers: tuple[SortingAnalyzer, SortingAnalyzer]) -> None:
    assert np.isnan(template_similarity(analyzers[0], None, [(0, 0)])).all()


def test_the_table_has_the_similarity_of_each_pair(analyzers: tuple[SortingAnalyzer, SortingAnalyzer]) -> None:
    old, new = (ComparedSorting(each.sorting, 10.0, analyzer=each) for each in analyzers)

    found = compare_sortings(old, new)

    assert found.counts["kept"] == 4
    assert found.pairs["template_similarity"].min() > 0.95
