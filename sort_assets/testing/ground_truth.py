"""Recordings whose spikes are known: small, realistic, the same for the same seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from probeinterface import Probe
    from spikeinterface.core import BaseRecording, BaseSorting

GAIN_TO_UV = 0.195
"""Microvolts per count, that of the Intan amplifiers."""

# Share of the noise that all contacts have in common, that near contacts have in common, and that each has alone.
# Without the first, detection of bad channels by coherence takes the strongest units' channels for noisy ones.
_SHARED_VARIANCE, _LOCAL_VARIANCE, _OWN_VARIANCE = 0.4, 0.4, 0.2
_LOCAL_DECAY_UM = 60.0


def make_ground_truth(
    duration_s: float = 20.0,
    num_channels: int = 16,
    num_units: int = 8,
    sampling_frequency: float = 30000.0,
    seed: int = 0,
    *,
    noise_uv: float = 8.0,
    amplitudes_uv: tuple[float, float] = (120.0, 260.0),
    firing_rates_hz: tuple[float, float] = (12.0, 28.0),
    lazy: bool = False,
    probe: Probe | None = None,
    spatial_decay_um: tuple[float, float] = (20.0, 30.0),
) -> tuple[BaseRecording, BaseSorting]:
    """Make a recording and the spikes that were put into it.

    The units stand apart along the probe and fire often enough for Kilosort4 to tell a refractory period from too
    few spikes; the noise is correlated between contacts, as tissue makes it.

    Parameters
    ----------
    duration_s : float
        Length in seconds.
    num_channels, num_units : int
        Number of contacts on the probe, in two columns, and of units; no units makes noise alone.
    sampling_frequency : float
        Samples per second.
    seed : int
        Decides noise, templates and spikes.
    noise_uv : float
        Standard deviation of the noise, in microvolts.
    amplitudes_uv : tuple of float
        Smallest and largest peak of the units' templates on their main channel, in microvolts.
    firing_rates_hz : tuple of float
        Lowest and highest mean firing rate.
    lazy : bool
        Compute samples each time they are read, for recordings that do not fit into memory.
    probe : Probe or None
        Another probe, in place of the two columns of `num_channels` contacts. Its units sit close to contacts, spread
        over all of them.
    spatial_decay_um : tuple of float
        Shortest and longest distance within which a unit's amplitude falls to 1/e.

    Returns
    -------
    recording : BaseRecording
        int16 counts of 0.195 microvolts, shape (samples, channels), with a probe. In memory unless `lazy`.
    sorting : BaseSorting
        The spikes. Its property `main_channel_id` names the channel on which each unit is largest.
    """
    from spikeinterface.core import NumpySorting, generate_ground_truth_recording, generate_sorting
    from spikeinterface.preprocessing import scale

    rng = np.random.default_rng(seed)
    if probe is None:
        probe = make_probe(num_channels)
        locations = _locations_along(probe, num_units, rng)
    else:
        locations = _locations_at_contacts(probe, num_units, rng)
    templates = _make_templates(probe, locations, sampling_frequency, amplitudes_uv, spatial_decay_um, rng)
    if num_units == 0:
        sorting = NumpySorting.from_unit_dict([{}], sampling_frequency)
    else:
        sorting = generate_sorting(
            num_units=num_units,
            sampling_frequency=sampling_frequency,
            durations=[duration_s],
            firing_rates=rng.uniform(*firing_rates_hz, size=num_units),
            refractory_period_ms=4.0,
            seed=seed,
        )
    microvolts, _ = generate_ground_truth_recording(
        durations=[duration_s],
        sampling_frequency=sampling_frequency,
        sorting=sorting,
        probe=probe,
        templates=templates,
        ms_before=1.0,
        ms_after=3.0,
        noise_kwargs={
            "noise_levels": 1.0,
            "cov_matrix": _noise_covariance(probe, noise_uv),
            "strategy": "on_the_fly",
        },
        seed=seed,
    )
    recording = scale(microvolts, gain=1 / GAIN_TO_UV, dtype="int16")
    recording.set_channel_gains(GAIN_TO_UV)
    recording.set_channel_offsets(0.0)
    recording.annotate(is_filtered=False)
    main_channels = np.abs(templates).max(axis=1).argmax(axis=1)
    sorting.set_property("main_channel_id", recording.channel_ids[main_channels])
    if not lazy:
        recording = recording.save(format="memory", sharedmem=False, n_jobs=1, progress_bar=False, verbose=False)
    return recording, sorting


def make_probe(num_channels: int) -> Probe:
    """A probe with two staggered columns of contacts, 32 micrometres apart, one contact each 40 micrometres.

    Parameters
    ----------
    num_channels : int
        Number of contacts; contact i belongs to channel i.

    Returns
    -------
    Probe
        Positions in micrometres, x across and y along the probe.
    """
    from probeinterface import Probe

    row = np.arange(num_channels)
    positions = np.column_stack([32.0 * (row % 2), 20.0 * row])
    probe = Probe(ndim=2, si_units="um")
    probe.set_contacts(positions=positions, shapes="circle", shape_params={"radius": 6})
    probe.create_auto_shape(probe_type="tip")
    probe.set_device_channel_indices(row)
    return probe


def _locations_along(probe: Probe, num_units: int, rng: np.random.Generator) -> np.ndarray:
    """Evenly along the probe and in turn left and right of its middle, so that no two units look alike."""
    positions = probe.contact_positions
    locations = np.zeros((num_units, 3))
    locations[:, 0] = positions[:, 0].mean() + np.where(np.arange(num_units) % 2, 18.0, -18.0)
    margin_um = 10.0
    locations[:, 1] = np.linspace(
        positions[:, 1].min() + margin_um, positions[:, 1].max() - margin_um, num_units
    ) + rng.uniform(-4, 4, num_units)
    locations[:, 2] = rng.uniform(8.0, 15.0, num_units)
    return locations


def _locations_at_contacts(probe: Probe, num_units: int, rng: np.random.Generator) -> np.ndarray:
    """Around contacts that are spread over the probe, each unit in another direction than its neighbour."""
    positions = probe.contact_positions
    contacts = ((np.arange(num_units) + 0.5) * len(positions) / max(num_units, 1)).astype(int)
    angles, distances = 2.4 * np.arange(num_units) + rng.uniform(0, 0.5, num_units), rng.uniform(6, 12, num_units)
    locations = np.zeros((num_units, 3))
    locations[:, :2] = positions[contacts] + distances[:, None] * np.column_stack([np.cos(angles), np.sin(angles)])
    locations[:, 2] = rng.uniform(8.0, 15.0, num_units)
    return locations


def _make_templates(
    probe: Probe,
    unit_locations: np.ndarray,
    sampling_frequency: float,
    amplitudes_uv: tuple[float, float],
    spatial_decay_um: tuple[float, float],
    rng: np.random.Generator,
) -> np.ndarray:
    """Templates in microvolts, shape (units, samples, channels), the largest peak of each as asked."""
    from spikeinterface.core.generate import generate_templates

    templates = generate_templates(
        probe.contact_positions,
        unit_locations,
        sampling_frequency,
        ms_before=1.0,
        ms_after=3.0,
        seed=int(rng.integers(2**31)),
        unit_params={"spatial_decay": spatial_decay_um},
        mode="sphere",
    )
    amplitudes = rng.uniform(*amplitudes_uv, size=len(unit_locations))
    peaks = np.abs(templates).max(axis=(1, 2))
    return np.asarray(templates * (amplitudes / peaks)[:, None, None], dtype="float32")


def _noise_covariance(probe: Probe, noise_uv: float) -> np.ndarray:
    """Covariance of the noise between contacts in square microvolts, shape (channels, channels)."""
    positions = probe.contact_positions
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    correlation = (
        _SHARED_VARIANCE
        + _LOCAL_VARIANCE * np.exp(-distances / _LOCAL_DECAY_UM)
        + _OWN_VARIANCE * np.eye(len(positions))
    )
    return np.asarray(noise_uv**2 * correlation)
