"""Units that the sorter split, and what the search leaves alone."""

import numpy as np
import pytest
import spikeinterface.core as si
from spikeinterface.curation import compute_merge_unit_groups
from spikeinterface.curation.auto_merge import _compute_merge_presets

from sort_assets.curation.merging import PRESETS, suggest_merges
from sort_assets.metrics.unit_metrics import UnitMetrics


@pytest.fixture(scope="module")
def halves(halved: tuple[si.SortingAnalyzer, UnitMetrics]) -> si.SortingAnalyzer:
    return halved[0]


@pytest.mark.parametrize("preset", ["similarity_correlograms", "x_contaminations", "slay"])
def test_halves_of_a_unit_are_suggested_with_numbers(halves: si.SortingAnalyzer, preset: str) -> None:
    suggestions, notes = suggest_merges(halves, halves.unit_ids.tolist(), preset)

    theirs = compute_merge_unit_groups(halves.copy(), preset=preset, n_jobs=1)
    assert [set(each.unit_ids) for each in suggestions] == [set(group) for group in theirs] == [{0, 1}]
    assert suggestions[0].similarity > 0.8
    assert suggestions[0].contamination_merged == 0
    assert suggestions[0].words.startswith("0 and 1 may be one unit: templates ")
    assert notes == ()


def test_halves_that_fire_at_the_same_time_are_no_split_in_time(halves: si.SortingAnalyzer) -> None:
    assert suggest_merges(halves, halves.unit_ids.tolist(), "temporal_splits") == ([], ())


def test_the_analyzer_is_left_as_it_is(halves: si.SortingAnalyzer) -> None:
    before = {
        name: halves.get_extension(name).get_data().copy() for name in ("template_similarity", "unit_locations")
    } | {"correlograms": halves.get_extension("correlograms").get_data()[0].copy()}

    suggest_merges(halves, halves.unit_ids.tolist(), "similarity_correlograms")

    for name, data in before.items():
        after = halves.get_extension(name).get_data()
        assert np.array_equal(data, after[0] if name == "correlograms" else after)


def test_units_that_are_left_out_are_merged_with_nobody(halves: si.SortingAnalyzer) -> None:
    suggestions, _ = suggest_merges(halves, [1, 2, 3], "similarity_correlograms")

    assert suggestions == []


def test_without_positions_distance_is_left_out_and_said(halves: si.SortingAnalyzer) -> None:
    placeless = halves.copy()
    placeless.rec_attributes = {**halves.rec_attributes, "probegroup": None}
    del placeless.extensions["unit_locations"]

    suggestions, notes = suggest_merges(placeless, placeless.unit_ids.tolist(), "similarity_correlograms")

    assert [set(each.unit_ids) for each in suggestions] == [{0, 1}]
    assert suggestions[0].distance_um is None
    assert "no channel positions" in notes[0]


def test_missing_extensions_are_computed_in_the_copy(halves: si.SortingAnalyzer) -> None:
    poor = halves.copy()
    for name in ("unit_locations", "correlograms", "template_similarity"):
        del poor.extensions[name]

    suggestions, _ = suggest_merges(poor, poor.unit_ids.tolist(), "similarity_correlograms")

    assert [set(each.unit_ids) for each in suggestions] == [{0, 1}]
    assert not poor.has_extension("correlograms")


def test_the_steps_are_those_of_spikeinterface() -> None:
    assert {name: list(steps) for name, steps in PRESETS.items()} == {
        name: _compute_merge_presets[name] for name in PRESETS
    }
