"""The columns of the table of metrics: name, kind, unit, and what it says about a unit.

Imported where Dagster builds the schema of the asset, so that nothing heavy is imported here.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "int", "float", "bool"]

UNIT_ID = "unit_id"
"""Name of the index of every table of units; it holds the units' ids as text."""


@dataclass(frozen=True)
class Column:
    """A column of a table of units.

    Parameters
    ----------
    name : str
        SpikeInterface's name where SpikeInterface computes it.
    kind : "text", "int", "float" or "bool"
        What its values are. Any of them may be missing.
    unit : str
        Of the values; empty where they have none.
    description : str
        One sentence for a reader of the table.
    """

    name: str
    kind: Kind
    unit: str
    description: str


FIRING: tuple[Column, ...] = (
    Column("num_spikes", "int", "", "Number of spikes."),
    Column("firing_rate", "float", "Hz", "Spikes per second, on average over the recording."),
    Column(
        "presence_ratio",
        "float",
        "",
        "Part of the recording in which the unit fires, counted in bins of 60 s; of a tenth of shorter recordings.",
    ),
    Column("firing_range", "float", "Hz", "Distance between the 5th and the 95th percentile of the rate in 5 s bins."),
    Column("isi_violations_ratio", "float", "", "Rate of violating spikes relative to the unit's rate (Hill et al.)."),
    Column("isi_violations_count", "int", "", "Intervals between successive spikes below 1.5 ms."),
    Column("isi_violations_percent", "float", "%", "Part of the intervals between successive spikes below 1.5 ms."),
    Column("rp_contamination", "float", "", "Estimated part of foreign spikes (Llobet et al. 2022)."),
    Column("rp_violations", "int", "", "Pairs of spikes closer than the refractory period of 1 ms."),
    Column(
        "sliding_rp_violation",
        "float",
        "",
        "Least contamination that is ruled in with 90 % confidence, over refractory periods up to 10 ms.",
    ),
    Column("sync_spike_2", "float", "", "Part of the spikes at the very sample of a spike of another unit."),
    Column("sync_spike_4", "float", "", "Part of the spikes at the very sample of spikes of three other units."),
    Column("sync_spike_8", "float", "", "Part of the spikes at the very sample of spikes of seven other units."),
)
"""From spike times alone."""

AMPLITUDE: tuple[Column, ...] = (
    Column("snr", "float", "", "Amplitude of the average waveform over the noise level of the primary channel."),
    Column("amplitude_uv", "float", "µV", "Absolute average waveform at the peak, on the primary channel."),
    Column("waveform_deviation", "float", "", "Standard deviation of the waveforms at the peak, over amplitude_uv."),
    Column("amplitude_median", "float", "µV", "Median amplitude of the spikes."),
    Column("amplitude_cutoff", "float", "", "Estimated part of spikes missed because their amplitude is too small."),
    Column("noise_cutoff", "float", "", "How far small amplitudes are from rare, in deviations of the large ones'."),
    Column("noise_ratio", "float", "", "Spikes of small amplitude relative to the commonest amplitude."),
    Column("amplitude_cv_median", "float", "", "Coefficient of variation of amplitudes: median over bins of time."),
    Column("amplitude_cv_range", "float", "", "Coefficient of variation of amplitudes: its range over bins of time."),
    Column("sd_ratio", "float", "", "Standard deviation of the amplitudes over that of the noise."),
)
"""From amplitudes and waveforms at the peak."""

PLACE: tuple[Column, ...] = (
    Column("primary_channel", "text", "", "Channel with the largest amplitude."),
    Column("x_um", "float", "µm", "Estimated position across the probe."),
    Column("y_um", "float", "µm", "Estimated position along the probe."),
    Column("z_um", "float", "µm", "Estimated distance from the probe."),
    Column("drift_ptp", "float", "µm", "Movement along the probe: from the lowest to the highest median position."),
    Column("drift_std", "float", "µm", "Movement along the probe: standard deviation of the median positions."),
    Column("drift_mad", "float", "µm", "Movement along the probe: median absolute deviation of median positions."),
)
"""Where the unit is; missing without channel positions, except for the channel."""

SHAPE: tuple[Column, ...] = (
    Column("peak_to_trough_duration", "float", "s", "From the trough of the average waveform to the peak after it."),
    Column("trough_half_width", "float", "s", "Width of the trough at half its amplitude."),
    Column("peak_half_width", "float", "s", "Width of the peak at half its amplitude."),
    Column("repolarization_slope", "float", "µV/s", "Slope from the trough back to the baseline."),
    Column("recovery_slope", "float", "µV/s", "Slope after the peak back to the baseline."),
    Column("num_positive_peaks", "int", "", "Positive peaks of the average waveform."),
    Column("num_negative_peaks", "int", "", "Troughs of the average waveform."),
    Column("main_to_next_extremum_duration", "float", "s", "From the largest extremum to the next."),
    Column("peak_before_to_trough_ratio", "float", "", "Amplitude of the peak before the trough over the trough's."),
    Column("peak_after_to_trough_ratio", "float", "", "Amplitude of the peak after the trough over the trough's."),
    Column("peak_before_to_peak_after_ratio", "float", "", "Amplitude of the peak before over that of the peak after."),
    Column("main_peak_to_trough_ratio", "float", "", "Amplitude of the larger peak over the trough's."),
    Column("trough_width", "float", "s", "Width of the trough."),
    Column("peak_before_width", "float", "s", "Width of the peak before the trough."),
    Column("peak_after_width", "float", "s", "Width of the peak after the trough."),
    Column("waveform_baseline_flatness", "float", "", "Largest amplitude of the baseline over that of the waveform."),
    Column("velocity_above", "float", "µm/ms", "Velocity of the spike along the probe, above the primary channel."),
    Column("velocity_below", "float", "µm/ms", "Velocity of the spike along the probe, below the primary channel."),
    Column("exp_decay", "float", "1/µm", "Decay of the amplitude with the distance from the primary channel."),
    Column("spread", "float", "µm", "Extent of the channels with at least a fifth of the amplitude."),
)
"""From the average waveform; the last four from those of several channels, and only with channel positions."""

PCA_METRICS: tuple[Column, ...] = (
    Column("isolation_distance", "float", "", "Mahalanobis distance within which as many foreign spikes as own lie."),
    Column("l_ratio", "float", "", "Foreign spikes near the unit, weighed by their distance, per own spike."),
    Column("d_prime", "float", "", "Separability from the neighbours by linear discriminant analysis."),
    Column("nn_hit_rate", "float", "", "Part of the nearest neighbours of the unit's spikes that are its own."),
    Column("nn_miss_rate", "float", "", "Part of the nearest neighbours of foreign spikes that are the unit's."),
    Column("silhouette", "float", "", "Silhouette score against the nearest other unit."),
)
"""From principal components of the waveforms; only with `metrics.pca`."""

REPEATABILITY = Column(
    "repeatability", "float", "", "Agreement with the unit that has most of it in another sort with the same settings."
)
"""From another sort of the recording; only with `metrics.repeatability`."""

UNIT_METRICS: tuple[Column, ...] = (*FIRING, *AMPLITUDE, *PLACE, *SHAPE, *PCA_METRICS, REPEATABILITY)
"""Every column of the table, in its order. The table always has all; what was not computed is missing in all rows."""
