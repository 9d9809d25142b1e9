"""The page of a comparison, and its figures."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from spikeinterface.core import NumpySorting

from sort_assets.checks.usual_on_rig import as_before
from sort_assets.comparisons.fates import FATES, MATCH
from sort_assets.comparisons.sortings import ComparedSorting, SortingComparison, compare_sortings
from sort_assets.figures import draw_agreement, draw_fates, save
from sort_assets.reports.comparison_report import (
    comparison_content,
    comparison_table,
    comparisons_content,
    pairs_table,
)
from sort_assets.reports.content import ReportFigure
from sort_assets.reports.recording_report import render_report


def comparison(old_units: int, new_units: int) -> SortingComparison:
    rng = np.random.default_rng(1)
    trains = {f"<{unit}>": np.sort(rng.integers(0, 300_000, 200)) for unit in range(max(old_units, new_units))}
    sortings = [
        NumpySorting.from_unit_dict([dict(list(trains.items())[:number])], 30_000.0)
        for number in (old_units, new_units)
    ]
    return compare_sortings(*(ComparedSorting(sorting, 10.0) for sorting in sortings))


@pytest.mark.parametrize("units", [(0, 0), (1, 0), (0, 1), (3, 2)])
def test_the_page_has_every_unit_and_what_differs(tmp_path: Path, units: tuple[int, int]) -> None:
    found = comparison(*units)
    pictures = [
        ReportFigure(name, name, "", save(figure, tmp_path / f"{name}.png"))
        for name, figure in {
            "fates": draw_fates(found.counts),
            "agreement": draw_agreement(found.pairs, MATCH),
        }.items()
    ]
    content = comparison_content(
        found,
        title="day.nwb",
        recording_key="day.nwb",
        old_name="sorting of yesterday",
        new_name="sorting of today",
        check=as_before(len(found.persisting), len(found.old_fates), [], 0.9),
        figures=pictures,
        differing=[("sorter.params.Th", "9", "8")],
    )

    page = render_report(content)

    assert "sorting of yesterday" in page
    assert "sorter.params.Th" in page
    assert page.count("data:image/png") == 2
    assert ("&lt;2&gt;" in page) == (units == (3, 2))
    assert ("67%" in page) == (units == (3, 2))
    assert "<script" not in page


def test_what_needs_a_look_comes_first() -> None:
    found = comparison(3, 2)

    table = pairs_table(found.pairs, "Units")

    assert [row[0] for row in table.rows] == ["lost", "kept", "kept"]
    assert [row[0] for row in comparison_table(found.pairs, "Units", "").rows] == ["lost"]
    assert list(found.counts) == list(FATES)


@pytest.mark.parametrize("recordings", [0, 1, 100])
def test_the_page_of_many_recordings_has_a_row_for_each(tmp_path: Path, recordings: int) -> None:
    counts = {"kept": 8, "moved": 0, "split": 1, "merged": 0, "lost": 1, "new": 2}
    columns = {
        "units_before": 10,
        "units_now": 11,
        **counts,
        "judged": 10,
        "persisting": 8,
    }
    index = pd.Index([f"day<{number}>.nwb" for number in range(recordings)], name="recording")
    table = pd.DataFrame({**columns, "median_agreement": 0.9}, index=index)

    content = comparisons_content(table, headline="So it is.", versions="a → b", folder=tmp_path)
    page = render_report(content)

    assert len(content.tables[0].rows) == recordings
    assert page.count(".nwb") == recordings
    assert page.count("8 of 10") == recordings
    assert "<script" not in page
