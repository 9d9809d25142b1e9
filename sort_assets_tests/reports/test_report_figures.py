from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import spikeinterface.core as si
from PIL import Image

from sort_assets.reports import ReportFigure, draw_unit_figures
from sort_assets_tests.reports.conftest import Curated

NAMES = [
    "kept_fraction_bar",
    "unit_positions",
    "raster",
    "metric_histograms",
    "drift",
    "templates_kept",
    "amplitudes_kept",
    "correlograms_kept",
    "templates_rejected",
    "amplitudes_rejected",
    "correlograms_rejected",
]


def draw(folder: Path, curated: Curated, **changes: object) -> tuple[list[ReportFigure], dict[str, str]]:
    given = {
        "analyzer": curated.analyzer,
        "sorting": curated.analyzer.sorting,
        "metrics": curated.metrics,
        "decisions": curated.decisions,
        "criteria": curated.criteria,
        "duration_s": curated.duration_s,
    }
    return draw_unit_figures(folder, **{**given, **changes})


@pytest.fixture(scope="module")
def drawn(curated: Curated, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[ReportFigure], dict[str, str]]:
    return draw(tmp_path_factory.mktemp("figures"), curated)


def test_all_figures_are_drawn_in_the_order_of_the_page(drawn: tuple[list[ReportFigure], dict[str, str]]) -> None:
    figures, left_out = drawn

    assert left_out == {}
    assert [figure.name for figure in figures] == NAMES
    for figure in figures:
        with Image.open(figure.path) as image:
            assert image.format == "PNG"
            assert image.width == 660
        assert figure.caption.endswith(".")


def test_figures_of_rejected_units_say_that_duplicates_are_among_them(
    drawn: tuple[list[ReportFigure], dict[str, str]],
) -> None:
    captions = {figure.name: figure.caption for figure in drawn[0]}

    assert "Duplicates are among them." in captions["templates_rejected"]
    assert "Duplicates" not in captions["templates_kept"]


def test_what_needs_a_missing_extension_is_left_out_with_its_reason(curated: Curated, tmp_path: Path) -> None:
    two = curated.analyzer.sorting.select_units(curated.analyzer.unit_ids[:2])
    bare = si.create_sorting_analyzer(two, curated.analyzer.recording, sparse=False)
    metrics = curated.metrics.drop(columns=["x_um", "y_um"])

    figures, left_out = draw(tmp_path, curated, analyzer=bare, sorting=two, metrics=metrics)

    assert left_out == {
        "Units on the probe": "Positions of the units were not computed.",
        "Drift": "Spike locations were not computed.",
        "Waveforms of kept units": "Templates were not computed.",
        "Amplitudes of kept units": "Spike amplitudes were not computed.",
        "Waveforms of rejected units": "Templates were not computed.",
        "Amplitudes of rejected units": "Spike amplitudes were not computed.",
    }
    assert [figure.name for figure in figures] == [
        "kept_fraction_bar",
        "raster",
        "metric_histograms",
        "correlograms_kept",
        "correlograms_rejected",
    ]


def test_a_figure_that_fails_does_not_stop_the_others(curated: Curated, tmp_path: Path) -> None:
    (tmp_path / "raster.png").mkdir()
    kept = curated.decisions[curated.decisions["kept"]].index[:1]
    sorting = curated.analyzer.sorting.select_units([curated.analyzer.unit_ids[0]])

    figures, left_out = draw(
        tmp_path,
        replace(curated, decisions=curated.decisions.loc[kept], metrics=curated.metrics.loc[kept]),
        analyzer=None,
        sorting=sorting,
    )

    assert left_out["Spikes over time"].startswith("It could not be drawn: IsADirectoryError")
    assert left_out["Drift"] == "There are no waveforms."
    assert [figure.name for figure in figures] == ["kept_fraction_bar", "metric_histograms", "correlograms_kept"]


def test_without_units_nothing_is_drawn(curated: Curated, tmp_path: Path) -> None:
    nothing = pd.DataFrame(columns=curated.decisions.columns)

    drawn = draw(
        tmp_path, curated, sorting=si.NumpySorting.from_unit_dict({}, 30_000.0), decisions=nothing, analyzer=None
    )

    assert drawn == ([], {})
    assert list(tmp_path.iterdir()) == []
