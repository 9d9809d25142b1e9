"""The recall of injected units against what is usual on a rig."""

import math

import pytest

from sort_assets.checks.recall import recall_as_usual

HISTORY = [0.70, 0.72, 0.69, 0.74, 0.71, 0.70]


@pytest.mark.parametrize("recall", [0.60, 0.71, 1.0])
def test_a_usual_or_better_recall_passes(recall: float) -> None:
    assert recall_as_usual(recall, 10, HISTORY).passed


def test_a_lower_recall_than_usual_warns_and_says_what_to_look_at() -> None:
    result = recall_as_usual(0.30, 10, HISTORY)

    assert (result.passed, result.severity) == (False, "warn")
    assert (
        "0.30; usual on this rig is 0.70 (at least 0.55, from 6 measurements): lower than usual" in result.description
    )
    assert "parameters and version of the sorter" in result.description
    assert result.values["usual_recall"] == pytest.approx(0.705)


def test_a_rig_whose_recalls_vary_tolerates_more() -> None:
    assert recall_as_usual(0.45, 10, [0.9, 0.5, 0.7, 0.6, 0.8, 0.75]).passed


@pytest.mark.parametrize("history", [[], [0.7], [0.7, 0.7, 0.7, 0.7]])
def test_a_short_history_passes_and_says_so(history: list[float]) -> None:
    result = recall_as_usual(0.0, 10, history)

    assert result.passed
    assert f"too short to say what is usual: {len(history)} measurement" in result.description


def test_without_injected_units_there_is_nothing_to_check() -> None:
    assert recall_as_usual(math.nan, 0, HISTORY).passed
