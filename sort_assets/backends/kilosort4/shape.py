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

import numpy as np

from sort_assets.backends.shape import ShapeChoice, ShapeChoices
from sort_assets.checks.result import counted
from sort_assets.recordings.steps import FEWEST_FOR_REFERENCE

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

FEWEST_CHANNELS_FOR_DRIFT = 32
"""Number of channels from which on the drift estimate has something to go by."""
FEWEST_DEPTHS_FOR_DRIFT = 16
"""Number of depths, among the contacts of one shank, from which on drift moves units from contact to contact. Tetrodes
and wires have one or two, however many of them there are."""
FEWEST_SPIKES_TO_DIVIDE = 1000
"""Kilosort takes fewer spikes around one place of the probe for one unit (`clustering_qr.run`), and no parameter
changes that. All of a tetrode is one place."""
NEAREST_CHANNELS = 10
"""Kilosort's default; it takes fewer where there are fewer, with a warning."""


def shape_defaults(recording: BaseRecording) -> ShapeChoices:
    """The choices for a recording, or for a group of its channels."""
    channels = recording.get_num_channels()
    together = f"{counted(channels, 'channel')} {'is' if channels == 1 else 'are'} sorted together"
    choices: dict[str, ShapeChoice] = {}
    if channels < FEWEST_FOR_REFERENCE:
        choices["do_CAR"] = ShapeChoice(
            False, f"{together}: a spike is on most of them, and their median would take it away."
        )
    no_drift = why_no_drift(recording)
    if no_drift is not None:
        choices["nblocks"] = ShapeChoice(
            0, f"{no_drift}: too few for an estimate of drift, and a wrong one moves the spikes away."
        )
    if channels < NEAREST_CHANNELS:
        choices["nearest_chans"] = ShapeChoice(channels, f"{together}.")
    return choices


def why_no_drift(recording: BaseRecording) -> str | None:
    """What makes an estimate of drift impossible, as the beginning of a sentence; None where there can be one."""
    channels = recording.get_num_channels()
    if channels < FEWEST_CHANNELS_FOR_DRIFT:
        return f"{counted(channels, 'channel')} {'is' if channels == 1 else 'are'} sorted together"
    if not recording.has_probe():
        return None
    depths, shanks = np.round(recording.get_channel_locations()[:, 1]), recording.get_channel_groups()
    most = max(np.unique(depths[shanks == shank]).size for shank in np.unique(shanks))
    if most < FEWEST_DEPTHS_FOR_DRIFT:
        return f"The contacts of a shank (or tetrode) are at {counted(most, 'depth')} at most"
    return None
