"""What a report says of units like these, and of a rig."""

import math
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sort_assets.checks.recall import recall_as_usual
from sort_assets.figures import draw_accuracy, draw_recall_over_time, save
from sort_assets.hybrid.accuracy import UnitAccuracy
from sort_assets.reports.accuracy_tables import accuracy_groups, accuracy_tables, like_these_units
from sort_assets.reports.quality_report import RigMeasurement, write_quality_report

NOW = datetime(2026, 12, 1, 4, 0, tzinfo=UTC)


def unit(snr: float, found: int, wrong: int = 0) -> UnitAccuracy:
    return UnitAccuracy(
        *(f"injected at {snr}", "7", snr, 8 * snr, 20 * snr, 40.0, 5.0, 100),
        *("3" if found else "", found + wrong, found),
    )


MEASURED = [unit(3.0, 0), unit(5.0, 40, wrong=40), unit(8.0, 88, wrong=3), unit(15.0, 99)]


def measurement(recording: str, params: str = "", units: tuple[UnitAccuracy, ...] = tuple(MEASURED)) -> RigMeasurement:
    return RigMeasurement(recording, NOW, "kilosort4", params, units)


def page(folder: Path, *measurements: RigMeasurement, recall: float = 0.57, history: tuple[float, ...] = ()) -> str:
    path = write_quality_report(
        folder / "quality.html",
        rig="16 channels, below 'rig', sorted with kilosort4",
        measurements=measurements,
        check=recall_as_usual(recall, 4, history),
        written_at=NOW,
        config={"sorter": {"name": "kilosort4"}},
        chosen_by={},
    )
    return path.read_text(encoding="utf-8")


def test_a_recordings_units_are_told_how_well_units_like_them_are_found() -> None:
    table = like_these_units(MEASURED, {"4": 7.5, "5": 20.0, "9": 8.9, "noise": math.nan}, recordings=1)

    by_snr = {row[0]: row for row in table.rows}
    assert by_snr["6 to 9"][1] == "Units like this one are found with precision 0.97 and recall 0.88"
    assert by_snr["6 to 9"][-1] == "4, 9"
    assert by_snr["below 4"][1] == "Units like this one are not found"
    assert "1 recording of this rig" in table.caption


def test_units_to_which_nothing_injected_is_like_are_told_so() -> None:
    table = like_these_units([unit(3.0, 0)], {"4": 7.5}, recordings=1)

    assert [row[1] for row in table.rows] == [
        "Units like this one are not found",
        "No unit like this one was injected",
    ]


def test_tables_have_a_row_for_each_group_with_intervals() -> None:
    snr, amplitude, depth = accuracy_tables(MEASURED)

    assert [row[:3] for row in snr.rows][-1] == ("from 13", "1", "1 of 1")
    assert snr.rows[-1][3] == "0.99 (0.20 to 1.00)"
    assert len(amplitude.rows) == 4
    assert len(depth.rows) == 3


@pytest.mark.parametrize("measured", [[], MEASURED[:1], MEASURED])
def test_any_number_of_units_gives_a_picture(measured: list[UnitAccuracy], tmp_path: Path) -> None:
    assert save(draw_accuracy(accuracy_groups(measured)), tmp_path / "accuracy.png").is_file()
    assert save(
        draw_recall_over_time(["2026-12-01"] * len(measured), [0.5] * len(measured), [True] * len(measured)),
        tmp_path / "over_time.png",
    ).is_file()


def test_the_page_of_a_rig_says_how_many_are_found_and_pools_recordings_that_were_sorted_alike(tmp_path: Path) -> None:
    text = page(tmp_path, measurement("a.nwb"), measurement("b.nwb"), measurement("c.nwb", "Th_universal: 30"))

    assert "Of 8 units injected into 2 recordings, 4 are found well" in text
    assert "1 measurement of recordings that were sorted with other settings" in text
    assert all(name in text for name in ("a.nwb", "b.nwb", "c.nwb", "Th_universal: 30"))
    assert "<script" not in text


def test_the_page_warns_of_a_recall_that_is_lower_than_usual_and_escapes_what_users_name(tmp_path: Path) -> None:
    text = page(tmp_path, measurement("<b>.nwb"), recall=0.1, history=(0.7,) * 5)

    assert "lower than usual" in text
    assert "&lt;b&gt;.nwb" in text
    assert "<b>.nwb" not in text


def test_a_rig_whose_sorter_finds_nothing_has_a_page(tmp_path: Path) -> None:
    text = page(tmp_path, measurement("a.nwb", units=(unit(3.0, 0),)), recall=0.0)

    assert "Of 1 unit injected into 1 recording, 0 are found well" in text
