from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib.pyplot
import numpy as np
import pytest
from PIL import Image

from sort_assets.figures.noise import draw_noise_levels
from sort_assets.figures.saving import save
from sort_assets.figures.style import message_figure, new_figure, round_down, shorten_id


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1.0, 1.0), (1.9, 1.0), (2.0, 2.0), (4.99, 2.0), (5.0, 5.0), (730.0, 500.0), (0.03, 0.02), (0.3 / 0.1 / 3, 1.0)],
)
def test_scale_bars_have_round_lengths(value: float, expected: float) -> None:
    assert round_down(value) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        (7, "7"),
        ("AP12345678", "AP12345678"),
        ("imec0.ap#AP287", "…AP287"),
        ("electrode12345", "…rode12345"),
        ("a" * 9 + "##", "…aaaaaaa##"),
    ],
)
def test_of_a_long_id_the_end_is_shown(identifier: object, expected: str) -> None:
    assert shorten_id(identifier) == expected


def test_a_dense_picture_is_stored_small_and_keeps_its_colours(tmp_path: Path) -> None:
    figure = new_figure(7.0)
    axes = figure.add_subplot()
    x, y = np.random.default_rng(0).random((2, 30_000))
    axes.plot(x, y, linestyle="none", marker=",", color="#0072B2")
    axes.fill_between([0, 1], -1, -0.5, color="#E69F00")

    path = save(figure, tmp_path / "dense.png")

    assert path.stat().st_size < 200_000
    with Image.open(path) as image:
        colours = {colour for _, colour in image.convert("RGB").getcolors(maxcolors=2**24)}
    for wanted in [(0x00, 0x72, 0xB2), (0xE6, 0x9F, 0x00), (255, 255, 255)]:
        assert min(np.abs(np.subtract(colour, wanted)).max() for colour in colours) <= 8


def test_a_message_fills_a_figure_without_axes(tmp_path: Path, check_png) -> None:
    figure = message_figure("No units found", title="Spikes")

    check_png(save(figure, tmp_path / "message.png"))
    assert figure.axes == []


def test_figures_drawn_in_threads_equal_those_drawn_one_by_one(tmp_path: Path) -> None:
    def plot(index: int) -> bytes:
        noise_uv = np.linspace(1, 2 + index % 3, 50)
        return save(
            draw_noise_levels(noise_uv, np.arange(50), removed_channels={}), tmp_path / f"{index}.png"
        ).read_bytes()

    one_by_one = [plot(index) for index in range(3)]
    with ThreadPoolExecutor(3) as threads:
        together = list(threads.map(plot, range(6)))

    assert together == one_by_one * 2


def test_plotting_changes_no_global_state_of_matplotlib(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)

    save(draw_noise_levels(np.ones(3), np.arange(3), removed_channels={}), tmp_path / "noise.png")

    assert dict(matplotlib.rcParams) == before
    assert matplotlib.pyplot.get_fignums() == []
