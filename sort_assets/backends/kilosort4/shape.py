"""What Kilosort4's parameters are where nobody chose them, by the shape of what is sorted together.

Measured with `benchmarks/shapes.py` (Kilosort 4.1.7, CPU, 30 s at 30 kHz): known units found with its own defaults,
without drift correction (`nblocks` 0), without common reference (`do_CAR` false), and without both.

==================  ========  =====  =============  ================  =======
sorted together     channels  known  its defaults   do_CAR false      both
==================  ========  =====  =============  ================  =======
single wire         1         2      refused        0                 2
stereotrode         2         3      0              0                 3
tetrode (20 s)      4         3      0              0                 3
eight wires         8         8      0              0                 8
shank of 8          8         4      4              -                 4
==================  ========  =====  =============  ================  =======

With `nblocks` 1 on few channels the estimate of drift is wrong by tens of micrometres; the interpolation to the shifted
places (`preprocessing.get_drift_matrix`) then leaves nothing of the signal. A stereotrode without drift correction but
with common reference: 0 of 3.

`whitening_range` stays at Kilosort's 32, of which it takes the channels that there are: with 1, the tetrodes' units are
found as well, up to 0.09 less accurately. A sort needs about 1000 spikes around each place of a probe, which
no parameter changes: with fewer, Kilosort does not divide them into units (`clustering_qr.run`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sort_assets.backends.shape import ShapeChoice, ShapeChoices
from sort_assets.recordings.steps import FEWEST_FOR_REFERENCE

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

FEWEST_CHANNELS_FOR_DRIFT = 32
"""Number of channels from which on the drift estimate has something to go by."""
NEAREST_CHANNELS = 10
"""Kilosort's default; it takes fewer where there are fewer, with a warning."""


def shape_defaults(recording: BaseRecording) -> ShapeChoices:
    """The choices for a recording, or for a group of its channels."""
    channels = recording.get_num_channels()
    are = "1 channel is" if channels == 1 else f"{channels} channels are"
    choices: dict[str, ShapeChoice] = {}
    if channels < FEWEST_FOR_REFERENCE:
        choices["do_CAR"] = ShapeChoice(
            False, f"{are} sorted together: a spike is on most of them, and their median would take it away."
        )
    if channels < FEWEST_CHANNELS_FOR_DRIFT:
        choices["nblocks"] = ShapeChoice(
            0, f"{are} sorted together: too few for an estimate of drift, and a wrong one moves the spikes away."
        )
    if channels < NEAREST_CHANNELS:
        choices["nearest_chans"] = ShapeChoice(channels, f"{are} sorted together.")
    return choices
