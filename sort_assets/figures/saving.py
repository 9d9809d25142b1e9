"""Writing a figure as the PNG that the Dagster UI and the report show."""

import io
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

_LARGE_FILE_BYTES = 120_000
_PALETTE_COLOURS = 64


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, small enough for a web page.

    Parameters
    ----------
    figure : Figure
        Any figure; it is drawn with the Agg canvas at its own size and resolution.
    path : Path
        The PNG to write; its folder exists.

    Returns
    -------
    Path
        `path`.
    """
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    encoded = io.BytesIO()
    image.save(encoded, format="png", optimize=True)
    if encoded.tell() > _LARGE_FILE_BYTES:
        # Thousands of anti-aliased ticks compress badly; a palette without dithering looks the same and is a third.
        encoded = io.BytesIO()
        # Pillow's default merges rare colours: those of the few duplicates among hundreds of units.
        palette_image = image.quantize(_PALETTE_COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        palette_image.save(encoded, format="png", optimize=True)
    path.write_bytes(encoded.getvalue())
    return path
