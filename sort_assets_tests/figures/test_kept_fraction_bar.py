from pathlib import Path

import pandas as pd
import pytest

from sort_assets.figures.kept_fraction_bar import Rejections, count_rejections, draw_kept_fraction_bar
from sort_assets.figures.saving import save
from sort_assets_tests.figures.decisions import CRITERIA, decide, metrics_of


def seven_units() -> pd.DataFrame:
    """Two good; one fails SNR, one ISI and SNR; a duplicate; one rejected by a person, one by Bombcell."""
    metrics = metrics_of(
        ["a", "b", "c", "d", "e", "f", "g"],
        snr=[9, 9, 3, 3, 9, 3, 9],
        isi_violations_percent=[0.1, 0.1, 0.1, 2, 0.1, 0.1, 0.1],
    )
    decisions = decide(metrics)
    decisions.loc["e", ["kept", "label", "decided_by"]] = [False, "duplicate", "duplicates"]
    decisions.loc["f", ["kept", "label", "decided_by"]] = [False, "noise", "person"]
    decisions.loc["g", ["kept", "label", "decided_by", "bombcell_label"]] = [False, "rejected", "bombcell", "mua"]
    return decisions


def test_what_rejects_most_comes_first_and_units_without_another_reason_are_counted() -> None:
    assert count_rejections(seven_units(), CRITERIA) == [
        Rejections("SNR below 5", units=2, alone=1),
        Rejections("ISI violations above 1 %", units=1, alone=0),
        Rejections("A person: noise", units=1, alone=1),
        Rejections("Bombcell: mua", units=1, alone=1),
        Rejections("Duplicate of another unit", units=1, alone=1),
    ]


def test_the_bar_is_divided_by_verdict() -> None:
    figure = draw_kept_fraction_bar(seven_units(), CRITERIA)

    verdict_axes = figure.axes[0]
    assert [bar.get_width() for bar in verdict_axes.patches] == [2, 4, 1]
    assert verdict_axes.get_title(loc="left") == "7 units: 2 kept, 4 rejected, 1 duplicate"
    assert [text.get_text() for text in verdict_axes.get_legend().get_texts()] == ["kept", "rejected", "duplicate"]


def test_each_reason_has_a_bar_as_long_as_its_units() -> None:
    figure = draw_kept_fraction_bar(seven_units(), CRITERIA)

    reason_axes = figure.axes[1]
    labels = [label.get_text() for label in reason_axes.get_yticklabels()]
    alone, others = reason_axes.containers
    assert labels[0] == "SNR below 5"
    assert [one.get_width() + two.get_width() for one, two in zip(alone, others, strict=True)] == [2, 1, 1, 1, 1]
    assert [text.get_text() for text in reason_axes.texts] == ["2 (1 alone)", "1 (0 alone)", "1", "1", "1"]
    assert "Units rejected" in reason_axes.get_xlabel()


def test_a_picture_with_all_units_kept_shows_no_reasons(tmp_path: Path, check_png) -> None:
    decisions = decide(metrics_of(["a", "b"]))

    assert len(draw_kept_fraction_bar(decisions, CRITERIA).axes) == 1
    check_png(save(draw_kept_fraction_bar(seven_units(), CRITERIA), tmp_path / "kept.png"))


def test_a_unit_that_a_person_kept_counts_as_kept() -> None:
    decisions = seven_units()
    decisions.loc["c", ["kept", "label", "decided_by"]] = [True, "mua", "person"]

    figure = draw_kept_fraction_bar(decisions, CRITERIA)

    assert figure.axes[0].get_title(loc="left") == "7 units: 3 kept, 3 rejected, 1 duplicate"
    assert count_rejections(decisions, CRITERIA)[0].units == 1


def test_no_units_are_said() -> None:
    figure = draw_kept_fraction_bar(decide(metrics_of([])), CRITERIA)

    assert "No units found" in [text.get_text() for text in figure.texts]


@pytest.mark.parametrize("verdict", ["missing", "column"])
def test_a_verdict_that_is_missing_is_no_reason(verdict: str) -> None:
    decisions = seven_units()
    if verdict == "missing":
        decisions["snr_ok"] = decisions["snr_ok"].astype("boolean").where(decisions["snr_ok"])
    else:
        decisions = decisions.drop(columns="snr_ok")

    reasons = [one.reason for one in count_rejections(decisions, CRITERIA)]

    assert "SNR below 5" not in reasons
    assert "Other: rejected" in reasons
