"""All recordings together: what is drawn is what the table says, for none, one and thousands."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import StepPatch

from sort_assets.figures.across_recordings import (
    draw_failures_by_class,
    draw_quality_over_time,
    draw_units_per_recording,
)
from sort_assets.figures.saving import save


def table_of(recordings: int, *, folder: str = "mouse") -> pd.DataFrame:
    """Recordings that were sorted hour after hour; every tenth without units, every seventh not curated."""
    rng = np.random.default_rng(0)
    number = np.arange(recordings)
    found = np.where(number % 10 == 9, 0, rng.poisson(100, recordings))
    kept = pd.array(np.minimum(rng.poisson(40, recordings), found), dtype="Int64")
    kept[number % 7 == 6] = pd.NA
    units = pd.array(found, dtype="Int64")
    return pd.DataFrame(
        {
            "sorted_at": pd.date_range("2026-01-01", periods=recordings, freq="h", tz="UTC"),
            "units_found": units,
            "units_kept": kept,
            "units_rejected": units - kept,
            "snr": rng.normal(7, 1, recordings),
            "isi_violations_percent": np.abs(rng.normal(0.4, 0.2, recordings)),
            "amplitude_uv": np.full(recordings, np.nan),
            "noise_uv": rng.normal(8, 1, recordings),
        },
        index=pd.Index([f"{folder}{each:04}~g0_imec0.ap.bin" for each in number], name="recording"),
    )


def drawn_units(axes) -> dict[str, float]:
    """The area of the bars by label: units, where each recording has a bar of its own."""
    areas = {}
    for patch in axes.patches:
        assert isinstance(patch, StepPatch)
        values, edges, baseline = patch.get_data()
        areas[patch.get_label()] = float(np.sum((values - baseline) * np.diff(edges)))
    return areas


@pytest.mark.parametrize("recordings", [0, 1, 20, 2000])
def test_any_number_of_recordings_gives_pictures(recordings: int, tmp_path: Path, check_png) -> None:
    table = table_of(recordings)

    check_png(save(draw_units_per_recording(table), tmp_path / "units.png"))
    check_png(save(draw_quality_over_time(table), tmp_path / "quality.png"))


@pytest.mark.parametrize("recordings", [50, 2000])
def test_kept_rejected_and_not_curated_units_are_stacked(recordings: int) -> None:
    table = table_of(recordings)

    axes = draw_units_per_recording(table).axes[0]

    assert drawn_units(axes) == pytest.approx(
        {
            "kept": table["units_kept"].sum(),
            "rejected": table["units_rejected"].sum(),
            "not curated": table["units_found"][table["units_kept"].isna()].sum(),
        }
    )
    (crosses,) = axes.lines
    assert crosses.get_xdata().tolist() == np.flatnonzero(table["units_found"] == 0).tolist()
    assert axes.get_title(loc="left") == f"{recordings:,} recordings, {table['units_found'].sum():,} units"


def test_few_recordings_are_named_by_what_tells_them_apart() -> None:
    table = table_of(3).iloc[[2, 0, 1]]

    axes = draw_units_per_recording(table).axes[0]

    assert [label.get_text() for label in axes.get_xticklabels()] == ["mouse0000", "mouse0001", "mouse0002"]
    assert axes.get_ylabel() == "Units"


def test_of_many_recordings_neighbours_share_a_bar_and_dates_are_named() -> None:
    axes = draw_units_per_recording(table_of(2000)).axes[0]

    assert axes.get_ylabel() == "Units, mean of 8 recordings"
    assert axes.get_xticklabels()[0].get_text() == "2026-01-01"


def test_quality_is_drawn_at_its_recording_with_its_unit() -> None:
    table = table_of(5)

    axes = draw_quality_over_time(table).axes

    np.testing.assert_allclose(axes[0].lines[0].get_ydata(), table["snr"])
    np.testing.assert_allclose(axes[3].lines[0].get_ydata(), table["noise_uv"])
    assert [text.get_text() for text in axes[2].texts] == ["No values"]
    assert [panel.get_ylabel().split("\n")[1] for panel in axes] == [
        "SNR",
        "violations (%)",
        "amplitude (µV)",
        "noise (µV)",
    ]


def test_of_many_recordings_a_line_shows_the_trend_and_one_odd_recording_does_not_hide_the_rest() -> None:
    table = table_of(200)
    table.iloc[50, table.columns.get_loc("noise_uv")] = 5000.0

    noise = draw_quality_over_time(table).axes[3]

    assert len(noise.lines) == 3  # recordings, their trend, and what is above
    assert noise.get_ylim()[1] < 20
    assert noise.lines[2].get_xdata().tolist() == [50]


def test_recordings_of_unknown_time_stand_first() -> None:
    table = table_of(40)
    table.loc[table.index[5], "sorted_at"] = pd.NaT

    axes = draw_units_per_recording(table).axes[0]

    assert axes.get_xticklabels()[0].get_text() == "?"


@pytest.mark.parametrize("classes", [1, 40])
def test_failures_stand_by_class_the_commonest_first(classes: int) -> None:
    standing = {f"Failure{number}Error": number + 1 for number in range(classes)}

    axes = draw_failures_by_class(standing, {"Failure0Error": 100}).axes[0]

    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names[0] == "Failure0Error"
    assert axes.texts[0].get_text().strip() == "101"
    assert len(names) == min(classes, 20)
    assert ("20 rarer classes" in axes.get_title(loc="left")) == (classes == 40)


def test_failures_make_a_picture(tmp_path: Path, check_png) -> None:
    check_png(save(draw_failures_by_class({"DiskFullError": 3}, {"DiskFullError": 1}), tmp_path / "failures.png"))


def test_without_failures_or_recordings_the_figures_say_so() -> None:
    assert "No failure is on record" in [text.get_text() for text in draw_failures_by_class({}, {}).texts]
    for draw in (draw_units_per_recording, draw_quality_over_time):
        assert "No recording has been sorted yet" in [text.get_text() for text in draw(table_of(0)).texts]
