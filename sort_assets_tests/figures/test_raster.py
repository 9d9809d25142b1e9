from pathlib import Path

import numpy as np
import pytest
import spikeinterface.core as si

from sort_assets.figures.raster import draw_raster
from sort_assets.figures.saving import save
from sort_assets.figures.style import BLUE, VERMILLION


def sorting_with(units: int, *, duration_s: float = 10.0, rate_hz: float = 5.0) -> si.BaseSorting:
    return si.generate_sorting(
        num_units=units, sampling_frequency=30_000.0, durations=[duration_s], firing_rates=rate_hz, seed=0
    )


@pytest.mark.parametrize("units", [1, 8, 500])
def test_any_number_of_units_gives_a_picture(units: int, tmp_path: Path, check_png) -> None:
    check_png(save(draw_raster(sorting_with(units), duration_s=10.0), tmp_path / "raster.png"))


def test_a_sorting_without_units_says_so(tmp_path: Path, check_png) -> None:
    sorting = si.NumpySorting.from_unit_dict({}, 30_000.0)

    figure = draw_raster(sorting, duration_s=10.0)

    assert "No units found" in [text.get_text() for text in figure.texts]
    check_png(save(draw_raster(sorting, duration_s=10.0), tmp_path / "raster.png"))


def test_every_spike_is_drawn_at_its_time_in_the_row_of_its_unit() -> None:
    sorting = si.NumpySorting.from_unit_dict({"a": np.array([30_000, 60_000]), "b": np.array([45_000])}, 30_000.0)

    raster_axes, rate_axes = draw_raster(sorting, duration_s=4.0).axes[:2]

    drawn = {(float(x), float(y)) for line in raster_axes.lines for x, y in line.get_xydata()}
    assert drawn == {(1.0, 0.0), (2.0, 0.0), (1.5, 1.0)}
    assert raster_axes.get_title(loc="left") == "2 units, 3 spikes"
    assert rate_axes.get_xlabel() == "Time (s)"
    assert rate_axes.get_xlim() == (0, 4)


def test_rows_are_sorted_by_depth() -> None:
    sorting = si.NumpySorting.from_unit_dict({"a": np.array([30_000]), "b": np.array([60_000])}, 30_000.0)

    raster_axes = draw_raster(sorting, duration_s=4.0, unit_depths=np.array([900.0, 100.0])).axes[0]

    assert [label.get_text() for label in raster_axes.get_yticklabels()] == ["b", "a"]
    assert raster_axes.lines[0].get_xdata() == pytest.approx([2.0])
    assert [label.get_text() for label in raster_axes.child_axes[0].get_yticklabels()] == ["100", "900"]


def test_the_population_rate_counts_all_spikes_in_hertz() -> None:
    sorting = sorting_with(8, duration_s=20.0)

    rate_axes = draw_raster(sorting, duration_s=20.0, max_spikes=10).axes[1]

    rate_hz, edges_s, _ = rate_axes.patches[0].get_data()
    spikes = sum(sorting.count_num_spikes_per_unit().values())
    assert np.sum(rate_hz * np.diff(edges_s)) == pytest.approx(spikes, abs=10)
    assert "(Hz)" in rate_axes.get_ylabel()
    assert f"bins of {np.diff(edges_s)[0]:g} s" in rate_axes.get_ylabel()


def test_a_choice_of_spikes_is_stated_and_is_the_same_every_time() -> None:
    sorting = sorting_with(8, duration_s=20.0)
    spikes = sum(sorting.count_num_spikes_per_unit().values())

    first, second = (draw_raster(sorting, duration_s=20.0, max_spikes=100).axes[0] for _ in range(2))

    assert first.get_title(loc="left") == f"8 units, {spikes:,} spikes, 100 of them shown"
    assert sum(len(line.get_xdata()) for line in first.lines) == 100
    for line, same in zip(first.lines, second.lines, strict=True):
        np.testing.assert_array_equal(line.get_xydata(), same.get_xydata())


def test_a_picture_of_the_most_spikes_stays_small(tmp_path: Path, check_png) -> None:
    rng = np.random.default_rng(0)
    samples = np.sort(rng.integers(0, 600 * 30_000, 250_000))
    sorting = si.NumpySorting.from_samples_and_labels([samples], [rng.integers(0, 500, 250_000)], 30_000.0)

    check_png(
        save(draw_raster(sorting, duration_s=600.0, unit_depths=rng.uniform(0, 3800, 500)), tmp_path / "raster.png")
    )


def test_units_without_spikes_keep_their_rows(tmp_path: Path, check_png) -> None:
    sorting = si.NumpySorting.from_unit_dict({"a": np.array([], dtype=int), "b": np.array([], dtype=int)}, 30_000.0)

    check_png(save(draw_raster(sorting, duration_s=0.01), tmp_path / "raster.png"))
    assert draw_raster(sorting, duration_s=0.01).axes[0].get_title(loc="left") == "2 units, 0 spikes"


@pytest.mark.parametrize("duration_s", [0.0, -1.0, float("nan")])
def test_a_duration_that_is_not_positive_is_refused(duration_s: float) -> None:
    with pytest.raises(ValueError, match="duration"):
        draw_raster(sorting_with(2), duration_s=duration_s)


def test_a_wrong_number_of_depths_is_refused() -> None:
    with pytest.raises(ValueError, match="depths"):
        draw_raster(sorting_with(2), duration_s=10.0, unit_depths=np.ones(3))


def test_rows_have_the_colours_of_their_verdicts_which_are_counted_below() -> None:
    sorting = si.NumpySorting.from_unit_dict({"a": np.array([30_000]), "b": np.array([60_000])}, 30_000.0)

    figure = draw_raster(sorting, duration_s=4.0, unit_depths=np.array([900.0, 100.0]), verdicts=["kept", "rejected"])

    lower, upper = figure.axes[0].lines
    assert (lower.get_color(), upper.get_color()) == (VERMILLION, BLUE)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["kept (1)", "rejected (1)"]


def test_a_wrong_number_of_verdicts_is_refused() -> None:
    with pytest.raises(ValueError, match="verdicts"):
        draw_raster(sorting_with(2), duration_s=10.0, verdicts=["kept"])
