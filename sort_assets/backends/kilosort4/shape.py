"""What Kilosort4's parameters are where nobody chose them, by the shape of what is sorted together.

Measured with `benchmarks/shapes.py` (Kilosort 4.1.7, CPU, 20 or 30 s at 30 kHz): known units found with its own
defaults, without common reference (`do_CAR` false), without drift correction (`nblocks` 0), and without both.

===============  ========  =====  ============  ============  =========  ====
sorted together  channels  known  its defaults  do_CAR false  nblocks 0  both
===============  ========  =====  ============  ============  =========  ====
single wire      1         2      refused       0             refused    2
stereotrode      2         3      0             0             0          3
tetrode          4         3      0             0             3          3
eight wires      8         8      0             0             8          8
shank of 8       8         4      4             -             4          4
two columns      16        8      8             -             8          8
two columns      32        12     12 (8 s)      -             -          -
===============  ========  =====  ============  ============  =========  ====

With `nblocks` 1 on few channels the estimate of drift is wrong by tens of micrometres; the interpolation to the shifted
places (`preprocessing.get_drift_matrix`) then leaves nothing of the signal. The common reference costs the stereotrode
all its units. These tetrodes keep theirs, but less is left of each spike the more alike the wires see it.

`whitening_range` stays at Kilosort's 32, of which it takes the channels that there are: with 1, the tetrodes' units are
found as well, up to 0.09 less accurately. `batch_size` stays at 60000 but where fewer than four of them fit in: a batch
of 10 s, which Kilosort's documentation suggests for tetrodes, found no more of them.

Below 16 channels two more things are needed. Around one place of a probe, Kilosort does not divide fewer than 1000
spikes into units (`clustering_qr.run`), and all of a tetrode is one place: `few_spikes`. And it learns waveforms from
every 25th batch, of which few channels have too few spikes (`built_in_waveforms`): cells are found at several offsets,
as several units, or none are. Known units found (accuracy of at least 0.8), and
units of the sorting in brackets, with the other choices made here (`benchmarks/shapes.py`, one recording for each
rate and seed; `*` are units of 60 to 150 uV, the others have 120 to 260 uV):

===========  ======  ===========  ====  ===============  =====================  =====================
shape        length  rates in Hz  seed  learned, as is   learned from all       built-in waveforms
===========  ======  ===========  ====  ===============  =====================  =====================
tetrode      60 s    2 to 6       0     1 of 3 (9)       3 (3)                  3 (3)
tetrode      25 s    12 to 28     0     2 of 3 (4)       3 (3)                  3 (3)
tetrode      60 s    1 to 3       8                      3 (4)
tetrode *    60 s    2 to 6       5     2 of 3 (4)       3 (3)
tetrode *    40 s    3 to 10      6     2 of 3 (3)       3 (3)
stereotrode  60 s    3 to 5       0     3 of 3 (4)       3 (6)                  3 (3)
stereotrode  30 s    5 to 10      1     0 of 3 (3)       1 (2)                  3 (3)
shank of 8   30 s    4 to 10      0     none: missed     3 of 4 (5)             4 (4)
shank of 8   60 s    2 to 6       1     none: missed     4 (9)                  4 (4)
eight wires  60 s    2 to 6       1     none: missed     6 of 8 (8)             8 (8)
===========  ======  ===========  ====  ===============  =====================  =====================

Four tetrodes, two shanks of 8 and two single wires (30 s, the usual rates), each group with its own seed, and eight
wires: 12 of 12, 8 of 8, 4 of 4 and 8 of 8 units, and none besides. Tetrode and wire with noise alone have no spikes.
"Learned from all" is every batch instead of every 25th. Tetrodes at 20, 24.4 and 40 kHz have 3 of 3 (3) with the
built-in waveforms. `few_spikes` stays: of the same spikes of 17 recordings, "learned from all", the clusters held 60 of
61 units (74 clusters), and 36 without it. Clusters of repeats with noise of one or two standard deviations were no
better, 60 (73) and 59 (70), and of every 5th spike without repeats worse, 58 (86).

Not measured: 64 and 384 channels, which have Kilosort's own defaults, and drift on 16 to 31 channels, where none is
corrected.
"""

from __future__ import annotations

import numpy as np

from sort_assets.backends.shape import ShapeChoice, ShapeChoices, Shaped
from sort_assets.checks.result import counted
from sort_assets.recordings.steps import FEWEST_FOR_REFERENCE

BUILT_IN_WAVEFORMS = "templates_from_data"
"""Kilosort's parameter that, when it is false, lets it look for spikes with its built-in waveforms."""
SPIKE_REACH_UM = 100.0
"""How far from its largest contact a spike is seen, as SpikeInterface's sparsity has it."""
SMALLEST_SHARE_IN_MEDIAN = 0.5
"""Share of the channels within that reach from which on their median holds the spike; not so of a bundle of wires."""
FEWEST_CHANNELS_FOR_DRIFT = 32
"""Number of channels from which on the drift estimate has something to go by."""
FEWEST_DEPTHS_FOR_DRIFT = 16
"""Number of depths, among the contacts of one shank, from which on drift moves units from contact to contact. Tetrodes
and wires have one or two, however many of them there are."""
FEWEST_BATCHES = 4
"""Number of batches that a recording is cut into at least. Kilosort needs two."""
SMALLEST_BATCH_S = 0.5
"""The smallest batch that Kilosort's documentation recommends (hardware.rst)."""
USUAL_BATCH = 60000
"""Kilosort's default, in samples."""
NEAREST_CHANNELS = 10
"""Kilosort's default; it takes fewer where there are fewer, with a warning."""


def shape_defaults(recording: Shaped) -> ShapeChoices:
    """The choices for a recording, or for a group of its channels."""
    channels = recording.get_num_channels()
    together = f"{counted(channels, 'channel')} {'is' if channels == 1 else 'are'} sorted together"
    choices: dict[str, ShapeChoice] = {}
    if reference_holds_spikes(recording):
        choices["do_CAR"] = ShapeChoice(
            False,
            f"{together}, near each other: a spike is on most of them, and their median takes from it what they share.",
        )
    no_drift = why_no_drift(recording)
    if no_drift is not None:
        choices["nblocks"] = ShapeChoice(
            0, f"{no_drift}: too few for an estimate of drift, and a wrong one moves the spikes away."
        )
    if channels < NEAREST_CHANNELS:
        choices["nearest_chans"] = ShapeChoice(channels, f"{together}.")
    if channels < FEWEST_FOR_REFERENCE:
        choices[BUILT_IN_WAVEFORMS] = ShapeChoice(
            False,
            f"{together}: too few spikes to learn waveforms from every 25th batch. Kilosort's built-in ones are taken.",
        )
    samples, rate_hz = int(recording.get_num_samples()), float(recording.sampling_frequency)
    batch = max(samples // FEWEST_BATCHES, round(SMALLEST_BATCH_S * rate_hz))
    if batch < USUAL_BATCH:
        length = f"The recording lasts {samples / rate_hz:.3g} s"
        choices["batch_size"] = ShapeChoice(batch, f"{length}: batches of Kilosort's default size are too few.")
    return choices


def reference_holds_spikes(recording: Shaped) -> bool:
    """Whether a spike is on so many of the channels that their median holds it."""
    channels = recording.get_num_channels()
    if channels >= FEWEST_FOR_REFERENCE:
        return False
    if not recording.has_probe():
        return True
    places = recording.get_channel_locations()[:, :2]
    near = np.linalg.norm(places[:, None] - places[None], axis=2) <= SPIKE_REACH_UM
    return bool(np.median(near.mean(axis=1)) >= SMALLEST_SHARE_IN_MEDIAN)


def why_no_drift(recording: Shaped) -> str | None:
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
