from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from sort_assets.curation.criteria import Criterion
from sort_assets.figures.metric_histograms import draw_metric_histograms
from sort_assets.figures.saving import save
from sort_assets.figures.style import BLUE
from sort_assets_tests.figures.decisions import CRITERIA, decide, metrics_of

SNR = Criterion("snr", greater=5.0)


def panel(values: list[float], criterion: Criterion = SNR) -> Axes:
    metrics = metrics_of([f"u{place}" for place in range(len(values))], **{criterion.name: values})
    return draw_metric_histograms(metrics, decide(metrics, [criterion]), [criterion]).axes[0]


def drawn_counts(axes: Axes) -> dict[str, int]:
    """Number of units drawn in each colour."""
    found = {}
    for patch in axes.patches:
        if hasattr(patch, "get_data"):
            top, _, bottom = patch.get_data()
            colour = "kept" if patch.get_facecolor()[:3] == to_rgb(BLUE) else "other"
            found[colour] = int((top - bottom).sum())
    return found


def test_every_unit_is_in_the_histogram_in_the_colour_of_its_verdict() -> None:
    axes = panel([3.0, 4.0, 6.0, 8.0, 9.0])

    assert drawn_counts(axes) == {"kept": 3, "other": 2}
    assert axes.get_xlabel() == "SNR"
    assert axes.get_title(loc="left") == "at least 5: 2 fail"


def test_the_threshold_is_drawn_and_the_side_that_is_rejected_is_shaded() -> None:
    axes = panel([3.0, 4.0, 6.0, 8.0, 9.0])

    (threshold,) = [line for line in axes.lines if line.get_gid() == "threshold"]
    (shade,) = [patch for patch in axes.patches if patch.get_gid() == "rejected side"]
    assert threshold.get_xdata()[0] == 5
    assert shade.get_x() + shade.get_width() == 5
    assert shade.get_x() == axes.get_xlim()[0]


def test_a_range_has_two_thresholds_and_no_bar_stands_on_both_sides_of_the_first() -> None:
    criterion = Criterion("snr", greater=5.0, less=8.0)

    axes = panel([3.0, 4.9, 5.1, 6.0, 9.0], criterion)

    assert sorted(line.get_xdata()[0] for line in axes.lines) == [5, 8]
    assert axes.get_title(loc="left") == "at least 5 and at most 8: 3 fail"
    edges = next(patch for patch in axes.patches if hasattr(patch, "get_data")).get_data()[1]
    assert np.abs(edges - 5.0).min() < 1e-9


def test_values_over_decades_are_drawn_on_a_logarithmic_axis() -> None:
    assert panel([0.01, 1.0, 100.0], Criterion("firing_rate", greater=0.05)).get_xscale() == "log"
    assert panel([6.0, 7.0, 8.0]).get_xscale() == "linear"


def test_values_that_are_not_known_are_counted_and_all_unknown_is_said() -> None:
    assert panel([np.nan, 6.0, np.inf]).get_title(loc="left") == "at least 5: 0 fail, 2 not known"
    assert "not computed" in [text.get_text() for text in panel([np.nan, np.nan]).texts]


def test_the_values_that_were_judged_go_before_the_metrics_of_the_whole_recording() -> None:
    metrics = metrics_of(["a"], snr=[3.0])
    decisions = decide(metrics_of(["a"], snr=[9.0]), [SNR])

    axes = draw_metric_histograms(metrics, decisions, [SNR]).axes[0]

    assert axes.get_title(loc="left") == "at least 5: 0 fail"
    assert axes.get_xlim()[1] >= 9


def test_a_criterion_without_sign_shows_magnitudes() -> None:
    axes = panel([-9.0, 8.0, -2.0], Criterion("snr", greater=5.0, absolute=True))

    assert axes.get_title(loc="left") == "at least 5: 1 fails"
    assert axes.get_xlim()[0] >= 0
    assert axes.get_xlabel() == "SNR, without its sign"


@pytest.mark.parametrize("units", [1, 500])
def test_any_number_of_units_gives_a_picture(units: int, tmp_path: Path, check_png) -> None:
    rng = np.random.default_rng(0)
    metrics = metrics_of(
        [str(unit) for unit in range(units)],
        firing_rate=rng.lognormal(0, 1.5, units),
        isi_violations_percent=rng.exponential(0.5, units),
        snr=rng.lognormal(2, 0.5, units),
    )

    check_png(save(draw_metric_histograms(metrics, decide(metrics), CRITERIA), tmp_path / "histograms.png"))


@pytest.mark.parametrize(
    ("unit_ids", "criteria", "message"), [([], CRITERIA, "No units found"), (["a"], [], "No criteria were asked")]
)
def test_nothing_to_draw_is_said(unit_ids: list[str], criteria: list[Criterion], message: str) -> None:
    metrics = metrics_of(unit_ids)

    figure = draw_metric_histograms(metrics, decide(metrics), criteria)

    assert message in [text.get_text() for text in figure.texts]


def test_a_missing_column_is_not_known() -> None:
    metrics = metrics_of(["a"])
    decisions = decide(metrics).drop(columns=["snr", "snr_ok"])

    axes = draw_metric_histograms(pd.DataFrame(index=metrics.index), decisions, [SNR]).axes[0]

    assert axes.get_title(loc="left") == "at least 5: 0 fail, 1 not known"
