"""How every figure looks: size, colours, text sizes, legends."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend_handler import HandlerTuple

# Okabe and Ito, "Color Universal Design" (2008): distinct for people with any colour vision.
BLACK = "#000000"
ORANGE = "#E69F00"
SKY_BLUE = "#56B4E9"
GREEN = "#009E73"
BLUE = "#0072B2"
VERMILLION = "#D55E00"
PURPLE = "#CC79A7"
GREY = "#8A8A8A"
LIGHT_GREY = "#E4E4E4"

DOTS_PER_INCH = 100
# The Dagster UI shows pictures unscaled, in a cell of about 670 pixels on a window of 1500, and cuts off the rest.
FIGURE_WIDTH_IN = 6.6
LEGEND_ROW_IN = 0.2
_MARGIN_IN = 0.09
_CHARACTERS_OF_ID = 10

TITLE_SIZE = 12
LABEL_SIZE = 10
TICK_SIZE = 9
NOTE_SIZE = 8

EMPTY_HEIGHT_IN = 1.8
"""Height of a figure that holds nothing but a sentence."""


def new_figure(height_in: float, width_in: float = FIGURE_WIDTH_IN) -> Figure:
    """An empty white figure that lays itself out.

    Parameters
    ----------
    height_in, width_in : float
        Size in inches, of 100 pixels each.
    """
    layout = ConstrainedLayoutEngine(w_pad=_MARGIN_IN, h_pad=_MARGIN_IN)
    return Figure(figsize=(width_in, height_in), dpi=DOTS_PER_INCH, layout=layout, facecolor="white")


def style_axes(axes: Axes, *, title: str = "", x_label: str = "", y_label: str = "") -> None:
    """Give axes the common title, labels and tick sizes, and take away the frame that carries no numbers."""
    axes.set_title(title, fontsize=TITLE_SIZE, loc="left")
    axes.set_xlabel(x_label, fontsize=LABEL_SIZE)
    axes.set_ylabel(y_label, fontsize=LABEL_SIZE)
    axes.tick_params(labelsize=TICK_SIZE)
    axes.spines[["top", "right"]].set_visible(False)


def add_legend_below(figure: Figure, further: Mapping[str, tuple[Artist, ...]] | None = None) -> None:
    """List what the marks mean in one column at the foot of the figure, `LEGEND_ROW_IN` for each.

    Parameters
    ----------
    figure : Figure
        Its artists with labels are listed.
    further : Mapping or None
        Further lines: the text, and the marks that stand side by side before it.
    """
    handles: list[Any] = []
    labels: list[str] = []
    for axes in figure.axes:
        axes_handles, axes_labels = axes.get_legend_handles_labels()
        handles += axes_handles
        labels += axes_labels
    handles += (further or {}).values()
    labels += further or {}
    widest = max((len(one) for one in handles if isinstance(one, tuple)), default=1)
    figure.legend(
        handles,
        labels,
        loc="outside lower left",
        fontsize=TICK_SIZE,
        frameon=False,
        borderpad=0.2,
        borderaxespad=0.5,
        labelspacing=0.45,
        handlelength=2.0 if widest < 3 else 1.3 * widest,
        handler_map={tuple: HandlerTuple(ndivide=None)},
    )


def shorten_id(identifier: object, characters: int = _CHARACTERS_OF_ID) -> str:
    """The end of a long id, which tells channels and units apart better than its beginning.

    A part that would be cut in its middle is left out: of SpikeGLX's "imec0.ap#AP287" remains "…AP287".
    """
    text = str(identifier)
    if len(text) <= characters:
        return text
    end = text[-(characters - 1) :]
    return f"…{re.split('[#/:.]', end)[-1] or end}"


def message_figure(message: str, *, title: str = "") -> Figure:
    """A figure of one sentence, for when there is nothing to plot."""
    figure = new_figure(EMPTY_HEIGHT_IN)
    if title:
        figure.suptitle(title, fontsize=TITLE_SIZE, x=0.01, ha="left")
    figure.text(0.5, 0.5, message, ha="center", va="center", fontsize=14, color=GREY)
    return figure


def add_horizontal_grid(axes: Axes) -> None:
    """Light horizontal lines behind everything that is drawn."""
    axes.grid(axis="y", color=LIGHT_GREY, linewidth=0.6)
    axes.set_axisbelow(True)


def round_down(value: float) -> float:
    """The largest 1, 2 or 5 times a power of ten that is not above a positive value: the length of a scale bar."""
    # A tiny tolerance, because 0.3 / 0.1 is less than 3.
    value *= 1 + 1e-9
    power = 10.0 ** math.floor(math.log10(value))
    return max(step for step in (1, 2, 5) if step * power <= value) * power
