"""The inner loops over spikes: what is taken out of a stretch of the recording, spike after spike.

Each runs without Python's lock, so that threads share the work, and is compiled once per machine, not once per process.
A spike's window may reach over the ends of the recording: what is outside counts as zero, as in SpikeInterface.
`traces` is a stretch of the recording that begins at its sample `first`, shape (samples, channels), C order.
"""

# mypy: disable-error-code="untyped-decorator"

import numpy as np
from numba import njit

from sort_assets.machine.machine_code import kept


@kept
@njit(nogil=True)
def add_windows(
    traces: np.ndarray, first: int, samples: np.ndarray, units: np.ndarray, before: int, sums: np.ndarray
) -> None:
    """Add the window of each spike to the sum of its unit, on all channels.

    Parameters
    ----------
    samples, units : np.ndarray
        Sample and unit index of each spike, shape (spikes,).
    before : int
        Samples of the window before the spike's own.
    sums : np.ndarray
        float32, shape (units, window, channels); added to in the order of the spikes.
    """
    window, num_channels = sums.shape[1:]
    for spike in range(samples.size):
        start = samples[spike] - before - first
        of_unit = sums[units[spike]]
        for step in range(max(0, -start), min(window, traces.shape[0] - start)):
            for channel in range(num_channels):
                of_unit[step, channel] += np.float32(traces[start + step, channel])


@kept
@njit(nogil=True)
def cut_windows(
    traces: np.ndarray,
    first: int,
    samples: np.ndarray,
    units: np.ndarray,
    rows: np.ndarray,
    before: int,
    channels: np.ndarray,
    counts: np.ndarray,
    gains: np.ndarray,
    offsets: np.ndarray,
    waveforms: np.ndarray,
    sums: np.ndarray,
    exact_sums: np.ndarray,
    exact_squares: np.ndarray,
) -> None:
    """Write the window of each spike on its unit's channels, scaled, and add it to the sums of the unit.

    Parameters
    ----------
    samples, units, rows : np.ndarray
        Sample, unit index and row in `waveforms` of each spike, shape (spikes,).
    before : int
        Samples of the window before the spike's own.
    channels, counts : np.ndarray
        Channels of each unit, shape (units, most), and how many of them are its own, shape (units,).
    gains, offsets : np.ndarray
        float32, shape (channels,): value times gain plus offset.
    waveforms : np.ndarray
        float32, shape (rows, window, most); holds zeros.
    sums : np.ndarray
        Of the values, float32, shape (units, window, most); added to in the order of the spikes, as numpy's mean does.
    exact_sums, exact_squares : np.ndarray
        Of the values and of their squares, float64, of the same shape: what their standard deviation is made of.
    """
    window = waveforms.shape[1]
    for spike in range(samples.size):
        unit = units[spike]
        start = samples[spike] - before - first
        waveform = waveforms[rows[spike]]
        for step in range(max(0, -start), min(window, traces.shape[0] - start)):
            for column in range(counts[unit]):
                channel = channels[unit, column]
                value = np.float32(traces[start + step, channel]) * gains[channel] + offsets[channel]
                waveform[step, column] = value
                sums[unit, step, column] += value
                exact = np.float64(value)
                exact_sums[unit, step, column] += exact
                exact_squares[unit, step, column] += exact * exact


@kept
@njit(nogil=True)
def take_windows(
    traces: np.ndarray,
    first: int,
    samples: np.ndarray,
    units: np.ndarray,
    rows: np.ndarray,
    begins: np.ndarray,
    channels: np.ndarray,
    values: np.ndarray,
) -> None:
    """Take some values of each spike on its unit's channel.

    Parameters
    ----------
    samples, units, rows : np.ndarray
        Sample, unit index and row in `values` of each spike, shape (spikes,).
    begins, channels : np.ndarray
        Of each unit, how many samples after the spike's own the values begin, and on which channel; shape (units,).
    values : np.ndarray
        In the type of the recording, shape (rows, window); holds zeros.
    """
    for spike in range(samples.size):
        unit = units[spike]
        start = samples[spike] + begins[unit] - first
        for step in range(max(0, -start), min(values.shape[1], traces.shape[0] - start)):
            values[rows[spike], step] = traces[start + step, channels[unit]]


@kept
@njit(nogil=True)
def centres_of_mass(
    traces: np.ndarray,
    first: int,
    samples: np.ndarray,
    units: np.ndarray,
    rows: np.ndarray,
    before: int,
    after: int,
    channels: np.ndarray,
    counts: np.ndarray,
    positions: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
) -> None:
    """Where each spike is: the mean of the positions of the channels around its unit, weighed by peak-to-peak values.

    SpikeInterface's `center_of_mass`, whose int16 overflows where a peak-to-peak value does not fit into it.

    Parameters
    ----------
    samples, units, rows : np.ndarray
        Sample, unit index and place in `x` and `y` of each spike, shape (spikes,).
    before, after : int
        Samples of the window before the spike's own, and from it on.
    channels, counts : np.ndarray
        Channels around each unit, shape (units, most), and how many there are, shape (units,).
    positions : np.ndarray
        Of the channels, shape (channels, 2).
    x, y : np.ndarray
        float64, shape (all spikes,): the result; NaN where the recording does not vary.
    """
    most = channels.shape[1]
    highest, lowest = np.empty(most, traces.dtype), np.empty(most, traces.dtype)
    num_samples = traces.shape[0]
    for spike in range(samples.size):
        unit = units[spike]
        count = counts[unit]
        own = channels[unit]
        start = samples[spike] - before - first
        stop = samples[spike] + after - first
        if start < 0 or stop > num_samples:
            highest[:count] = 0
            lowest[:count] = 0
        else:
            for column in range(count):
                highest[column] = traces[start, own[column]]
                lowest[column] = traces[start, own[column]]
        for at in range(max(0, start), min(stop, num_samples)):
            for column in range(count):
                value = traces[at, own[column]]
                highest[column] = max(highest[column], value)
                lowest[column] = min(lowest[column], value)
        total, along_x, along_y = 0.0, 0.0, 0.0
        for column in range(count):
            weight = np.float64(highest[column]) - np.float64(lowest[column])
            total += weight
            along_x += weight * positions[own[column], 0]
            along_y += weight * positions[own[column], 1]
        if total == 0:
            x[rows[spike]] = np.nan
            y[rows[spike]] = np.nan
        else:
            x[rows[spike]] = along_x / total
            y[rows[spike]] = along_y / total


@kept
@njit(nogil=True)
def count_lags(
    correlograms: np.ndarray,
    samples: np.ndarray,
    units: np.ndarray,
    window: int,
    bin_size: int,
    num_half_bins: int,
    num_threads: int,  # noqa: ARG001
) -> None:
    """Count the lags between spikes: the arguments and results of SpikeInterface's `_compute_correlograms_..._numba`.

    Unit after unit, so that the counts of one stay in the processor's cache; in the order of the spikes, nearly every
    count is fetched from memory.

    Parameters
    ----------
    correlograms : np.ndarray
        int64, shape (units, units, bins); added to.
    samples, units : np.ndarray
        Of each spike, ascending samples.
    window, bin_size : int
        Largest lag and width of a bin, in samples.
    num_half_bins : int
        Of the positive lags.
    num_threads : int
        One does it all: as SpikeInterface (0.105.3) is called by default.
    """
    num_units = correlograms.shape[0]
    bin_of_lag = np.empty(2 * window + 1, np.int32)
    for lag in range(-window, window + 1):
        bin_of_lag[lag + window] = num_half_bins + lag // bin_size
    ends = np.zeros(num_units + 1, np.int64)
    for spike in range(samples.size):
        ends[units[spike] + 1] += 1
    for unit in range(num_units):
        ends[unit + 1] += ends[unit]
    places = ends[:-1].copy()
    of_unit, begins = np.empty(samples.size, np.int64), np.empty(samples.size, np.int64)
    begin = 0
    for spike in range(samples.size):
        of_unit[places[units[spike]]] = spike
        places[units[spike]] += 1
        while samples[spike] - samples[begin] > window:
            begin += 1
        begins[spike] = begin
    for unit in range(num_units):
        counts = correlograms[unit]
        for place in range(ends[unit], ends[unit + 1]):
            spike = of_unit[place]
            for other in range(begins[spike], samples.size):
                lag = samples[spike] - samples[other]
                if lag < -window:
                    break
                if other != spike and lag != window:
                    counts[units[other], bin_of_lag[lag + window]] += 1


@kept
@njit(nogil=True)
def count_short_intervals(samples: np.ndarray, bin_size: int, counts: np.ndarray) -> None:
    """Count the pairs of spikes of one unit by their interval.

    Parameters
    ----------
    samples : np.ndarray
        Ascending, shape (spikes,).
    bin_size : int
        In samples.
    counts : np.ndarray
        int64, shape (bins,), from interval 0 on; added to. Two spikes at one sample count twice, as in a correlogram.
    """
    longest = bin_size * counts.size
    for spike in range(samples.size):
        for other in range(spike + 1, samples.size):
            interval = samples[other] - samples[spike]
            if interval >= longest:
                break
            counts[interval // bin_size] += 2 if interval == 0 else 1
