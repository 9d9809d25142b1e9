"""How much memory Kilosort4 needs at least, estimated before it starts from the probe and the recording's length.

Lower bounds: what clustering and matching need depends on the spikes that are going to be found. A whole sort of 60 s
of 16 channels on the CPU held up to 1.12 GB; the estimate is 0.78 GB. On a GPU, clustering counts for nothing: a centre
that it can't hold is clustered on the CPU (`clustering_memory`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

START_BYTES = 600_000_000
"""Memory of a process that has imported SpikeInterface and Kilosort 4.1.7, without a GPU: 0.60 GB measured."""
SPIKES_PER_CHANNEL_S = 5.0
"""Spikes per channel and second, to have an order of magnitude: 7.87 million on 128 channels in 5501 of the 8421
batches of 5 hours (MouseLand/Kilosort#300)."""
CLUSTERING_SPIKE_BYTES = 1030
"""Bytes for each spike of a centre in clustering, beside its features (`clustering_memory`); Kilosort's own functions
hold 2630. Measured by `benchmarks/clustering_memory.py`."""
_PARTS_OF_BATCH = 40
_FIRST_ROWS = 1_000_000
_SPIKE_BYTES = 48


def universal_templates(
    locations: np.ndarray, groups: np.ndarray, *, dmin: float | None, dminx: float, max_channel_distance: float
) -> int:
    """How many universal templates detection places: a grid over each shank, where a channel is near.

    As `spikedetect.template_centers` and `spikedetect.run` of Kilosort 4.1.7 do, importing which takes many seconds.

    Parameters
    ----------
    locations : numpy.ndarray
        Shape (channels, 2): x and y in micrometres.
    groups : numpy.ndarray
        Shape (channels,): each channel's shank.
    dmin, dminx, max_channel_distance : float
        Kilosort's parameters, in micrometres; `dmin` None is the median distance of the rows of channels.
    """
    from scipy.spatial import cKDTree

    dmin = _row_distance(locations[:, 1], dmin)
    across, along = [], []
    for group in np.unique(groups):
        x, y = locations[groups == group].T
        along.append(np.arange(y.min(), y.max() + 0.01, dmin / 2))
        across.append(np.linspace(x.min(), x.max(), round((x.max() - x.min()) / (dminx / 2)) + 1))
    grid = np.stack(np.meshgrid(np.unique(np.concatenate(across)), np.unique(np.concatenate(along))), axis=-1)
    distances, _ = cKDTree(locations).query(grid.reshape(-1, 2))
    return int(np.sum(distances <= max_channel_distance))


def detection_bytes(templates: int, channels: int, params: Mapping[str, Any]) -> int:
    """Memory of the device in drift correction and detection.

    From the tensors of `spikedetect.template_match`, in bytes per sample of a batch. Per template: two float32 and an
    int64 for all of the batch, and for a 40th of it the amplitudes of all sizes and shapes, the largest of them with
    its index, and those of the neighbouring templates. Per channel: a float32 of the data convolved with each shape.
    Measured on the CPU, in MB, beside what this gives: 518 and 488 for 225 templates of 64 channels, 1958 and 1902 for
    766 of 384, both with batches of 60000.

    Parameters
    ----------
    templates, channels : int
    params : Mapping[str, Any]
        Kilosort's parameters, all of them.
    """
    shapes, sizes = params["n_templates"], params["template_sizes"]
    neighbours = min(params["nearest_templates"], templates)
    per_template = 16 + (4 * sizes * shapes + 12 + 4 * neighbours) / _PARTS_OF_BATCH
    samples = params["batch_size"] + 2 * params["nt"]
    return int(samples * (templates * per_template + 4 * shapes * channels))


def clustering_bytes(spikes: float, features: int) -> int:
    """Memory in which a centre is clustered.

    Parameters
    ----------
    spikes : float
        Of the centre.
    features : int
        Of each spike, float32: channels near the centre times `n_pcs`.
    """
    return int(spikes * (CLUSTERING_SPIKE_BYTES + 4 * features))


def spikes_of_a_centre(
    locations: np.ndarray, duration_s: float, *, dmin: float | None, x_centers: int | None = None
) -> float:
    """Spikes of one centre, at `SPIKES_PER_CHANNEL_S`: `clustering_qr.y_centers` places one every 2 `dmin`.

    Parameters
    ----------
    locations : numpy.ndarray
        Shape (channels, 2): x and y in micrometres.
    duration_s : float
    dmin, x_centers
        Kilosort's parameters.
    """
    y = locations[:, 1]
    along = math.ceil((float(np.ptp(y)) + 2) / (2 * _row_distance(y, dmin)))
    across = x_centers if isinstance(x_centers, int) else 1
    return SPIKES_PER_CHANNEL_S * len(locations) * duration_s / (along * across)


def _row_distance(y: np.ndarray, dmin: float | None) -> float:
    rows = np.unique(y)
    if dmin is not None:
        return dmin
    return 1.0 if rows.size == 1 else float(np.median(np.diff(rows)))


def features_bytes(channels: int, duration_s: float, params: Mapping[str, Any]) -> int:
    """Memory of the machine for the features of all spikes, at `SPIKES_PER_CHANNEL_S`.

    `spikedetect.run` keeps `nearest_chans` x `n_pcs` float32 and six float64 per spike, in arrays for a million that
    are doubled as often as it takes: there, the old one and the new one exist at a time.
    """
    per_spike = 4 * min(params["nearest_chans"], channels) * params["n_pcs"] + _SPIKE_BYTES
    spikes = SPIKES_PER_CHANNEL_S * channels * duration_s
    if spikes <= _FIRST_ROWS:
        return int(spikes * per_spike)
    rows = _FIRST_ROWS * 2 ** math.ceil(math.log2(spikes / _FIRST_ROWS))
    return int(1.5 * rows * per_spike)
