"""Which of two units that share their spikes stays."""

import numpy as np
import spikeinterface.core as si

from sort_assets.curation.duplicates import find_duplicates
from sort_assets_tests.curation.conftest import DUPLICATE, JOBS, Planted


def analyzer_with(planted: Planted, trains: dict[str, np.ndarray]) -> si.SortingAnalyzer:
    """An analyzer with templates of spikes in the recording of `planted`."""
    sorting = si.NumpySorting.from_unit_dict([trains], planted.analyzer.sampling_frequency)
    analyzer = si.create_sorting_analyzer(sorting, planted.analyzer.recording, sparse=False, job_kwargs=JOBS)
    analyzer.compute({"random_spikes": {"seed": 0}, "templates": {}}, **JOBS)
    return analyzer


def test_of_equal_waveforms_the_unit_with_more_spikes_stays(planted: Planted) -> None:
    found = find_duplicates(planted.analyzer, [*planted.good, DUPLICATE], 0.8)

    assert [(each.unit_id, each.of) for each in found] == [(DUPLICATE, planted.duplicated)]
    assert "which has more spikes" in found[0].reason


def test_the_unit_with_aligned_spikes_stays_though_it_has_fewer(planted: Planted) -> None:
    train = planted.analyzer.sorting.get_unit_spike_train(planted.duplicated)
    analyzer = analyzer_with(planted, {"aligned": train[::1][:-20], "late": train + 9})

    found = find_duplicates(analyzer, ["aligned", "late"], 0.8)

    assert [(each.unit_id, each.of) for each in found] == [("late", "aligned")]
    assert "nearer to the peak" in found[0].reason


def test_units_that_are_left_out_displace_nobody(planted: Planted) -> None:
    assert find_duplicates(planted.analyzer, planted.good, 0.8) == []


def test_identical_units_are_duplicates_also_when_all_spikes_are_asked(planted: Planted) -> None:
    train = planted.analyzer.sorting.get_unit_spike_train(planted.duplicated)
    analyzer = analyzer_with(planted, {"a": train, "b": train, "c": train})

    found = find_duplicates(analyzer, ["a", "b", "c"], 1.0)

    assert len(found) == 2
    assert len({each.of for each in found}) == 1


def test_one_unit_and_none_have_no_duplicates(planted: Planted) -> None:
    assert find_duplicates(planted.analyzer, [DUPLICATE], 0.8) == []
    assert find_duplicates(planted.analyzer, [], 0.8) == []


def test_without_templates_the_number_of_spikes_decides(planted: Planted) -> None:
    sorting = planted.analyzer.sorting.select_units([planted.duplicated, DUPLICATE])
    analyzer = si.create_sorting_analyzer(sorting, planted.analyzer.recording, sparse=False, job_kwargs=JOBS)

    found = find_duplicates(analyzer, [planted.duplicated, DUPLICATE], 0.8)

    assert [(each.unit_id, each.of) for each in found] == [(DUPLICATE, planted.duplicated)]
