"""The page of a comparison, and its figures."""

from pathlib import Path

import numpy as np
import pytest
from spikeinterface.core import NumpySorting

from sort_assets.checks.usual_on_rig import as_before
from sort_assets.comparisons.fates import FATES, MATCH
from sort_assets.comparisons.sortings import ComparedSorting, SortingComparison, compare_sortings
from sort_assets.figures import draw_agreement, draw_fates, save
from sort_assets.reports.comparison_report import comparison_content, comparison_table, pairs_table
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
