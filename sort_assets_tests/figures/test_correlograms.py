from pathlib import Path

import numpy as np
import pytest
import spikeinterface.core as si

from sort_assets.figures.correlograms import draw_correlograms
from sort_assets.figures.saving import save


def regular_unit() -> si.BaseSorting:
    """Spikes 10 ms apart, and one more 1 ms after the last: 1 of 4 intervals violates the refractory period."""
    return si.NumpySorting.from_unit_dict({"a": np.array([300, 600, 900, 1200, 1230])}, 30_000.0)


def test_intervals_and_lags_are_counted_in_milliseconds() -> None:
    interval_axes, lag_axes = draw_correlograms(regular_unit()).axes

    counts, edges_ms, _ = interval_axes.patches[-1].get_data()
    assert {float(edge): int(count) for edge, count in zip(edges_ms, counts, strict=False) if count} == {10: 3, 1: 1}
    lag_counts, lags_ms, _ = lag_axes.patches[-1].get_data()
    at_ten_ms = lag_counts[np.searchsorted(lags_ms, 10.0)]
    assert at_ten_ms == 3
    assert lag_counts[np.searchsorted(lags_ms, 0.0) - 1 : np.searchsorted(lags_ms, 0.0) + 2].sum() == 0
    assert interval_axes.get_xlim() == (0, 50)
    assert lag_axes.get_xlim() == (-25, 25)


def test_the_refractory_period_is_marked_and_violations_are_counted() -> None:
    figure = draw_correlograms(regular_unit())

    interval_axes, lag_axes = figure.axes
    assert [line.get_xdata()[0] for line in interval_axes.lines] == [1.5]
    assert [line.get_xdata()[0] for line in lag_axes.lines] == [-1.5, 1.5]
    assert interval_axes.get_title(loc="left") == "Unit a: 25 % violations"
    assert "1.5 ms" in figure.get_supxlabel()


def test_violations_that_are_known_are_shown_as_they_are() -> None:
    figure = draw_correlograms(regular_unit(), violations_percent={"a": 3.14159}, verdicts={"a": "rejected"})

    assert figure.axes[0].get_title(loc="left") == "Unit a, rejected: 3.1 % violations"


def test_many_units_are_limited_to_those_with_the_most_spikes(tmp_path: Path, check_png) -> None:
    sorting = si.generate_sorting(num_units=20, sampling_frequency=30_000.0, durations=[20.0], seed=0)
    spikes = sorting.count_num_spikes_per_unit(outputs="array")

    figure = draw_correlograms(sorting, max_units=3, kind="kept")

    most = sorting.unit_ids[np.sort(np.argsort(-spikes, kind="stable")[:3])]
    shown = [axes.get_title(loc="left").split(":")[0] for axes in figure.axes[::2] if axes.get_visible()]
    assert shown == [f"Unit {unit_id}" for unit_id in most]
    assert figure.get_suptitle() == "Spike intervals of the 3 of 20 kept units with the most spikes"
    check_png(save(draw_correlograms(sorting, max_units=3), tmp_path / "correlograms.png"))


@pytest.mark.parametrize("spikes", [0, 1])
def test_units_without_intervals_do_not_crash(spikes: int, tmp_path: Path, check_png) -> None:
    sorting = si.NumpySorting.from_unit_dict({"a": np.arange(spikes) + 100}, 30_000.0)

    assert draw_correlograms(sorting).axes[0].get_title(loc="left") == "Unit a: no intervals"
    check_png(save(draw_correlograms(sorting), tmp_path / "correlograms.png"))


def test_no_units_are_said() -> None:
    sorting = si.NumpySorting.from_unit_dict({}, 30_000.0)

    figure = draw_correlograms(sorting, kind="rejected")

    assert "No rejected units" in [text.get_text() for text in figure.texts]
