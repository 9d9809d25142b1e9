from pathlib import Path

import numpy as np
import pytest

from sort_assets.figures.noise import draw_noise_levels
from sort_assets.figures.saving import save


@pytest.mark.parametrize("channels", [1, 16, 384])
def test_any_number_of_channels_gives_a_picture(channels: int, tmp_path: Path, check_png) -> None:
    noise_uv = np.random.default_rng(0).uniform(4, 6, channels)

    check_png(save(draw_noise_levels(noise_uv, np.arange(channels), removed_channels={}), tmp_path / "noise.png"))


def test_channels_are_sorted_by_depth() -> None:
    figure = draw_noise_levels(
        np.array([3.0, 1.0, 2.0]), ["c", "a", "b"], removed_channels={}, depths_um=np.array([60.0, 20.0, 40.0])
    )

    axes = figure.axes[0]
    np.testing.assert_allclose(axes.collections[0].get_offsets()[:, 1], [1, 2, 3])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "c"]
    assert axes.get_ylabel() == "Noise (µV)"


def test_many_channels_are_labelled_by_depth() -> None:
    figure = draw_noise_levels(
        np.ones(384), np.arange(384), removed_channels={}, depths_um=np.repeat(np.arange(192) * 20.0, 2)
    )

    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()][-1] == "3820"
    assert "µm" in axes.get_xlabel()


def test_removed_channels_are_marked_and_left_out_of_the_median() -> None:
    figure = draw_noise_levels(
        np.array([5.0, 7.0, 0.0, 30.0]), np.arange(4), removed_channels={"2": "dead", "3": "noise", "9": "out"}
    )

    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [
        "median 6 µV",
        "kept (2)",
        "removed, dead (1): 2",
        "removed, noise (1): 3",
        "removed, out (1): 9 (not measured)",
    ]


def test_one_very_loud_channel_does_not_press_the_others_onto_the_axis(tmp_path: Path, check_png) -> None:
    noise_uv = np.full(16, 5.0)
    noise_uv[3], noise_uv[9] = 0.0, 800.0

    axes = draw_noise_levels(noise_uv, np.arange(16), removed_channels={"9": "noise"}).axes[0]

    axes.figure.draw_without_rendering()
    _, typical = axes.transAxes.inverted().transform(axes.transData.transform((0, 5.0)))
    assert typical > 0.1
    assert axes.get_ylabel() == "Noise (µV), logarithmic\nabove 20 µV"
    check_png(save(draw_noise_levels(noise_uv, np.arange(16), removed_channels={"9": "noise"}), tmp_path / "noise.png"))


@pytest.mark.parametrize("noise_uv", [np.zeros(4), np.full(4, np.nan), np.array([np.nan, 1.0, 2.0, np.nan])])
def test_flat_and_unknown_channels_do_not_crash(noise_uv: np.ndarray, tmp_path: Path, check_png) -> None:
    check_png(save(draw_noise_levels(noise_uv, np.arange(4), removed_channels={"1": "dead"}), tmp_path / "noise.png"))


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="match"):
        draw_noise_levels(np.ones(3), np.arange(4), removed_channels={})
