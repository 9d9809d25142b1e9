"""Spikes of known units, added to a recording; with the truth, to the sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sort_assets.errors import InjectionError
from sort_assets.hybrid.moving import move_template
from sort_assets.hybrid.placement import InjectedUnit

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording, BaseSorting
    from spikeinterface.core.motion import Motion

REFRACTORY_MS = 4.0
"""Shortest interval of two spikes of a unit; SpikeInterface's default for generated ones."""
AMPLITUDE_SPREAD = 0.05
"""Standard deviation of a unit's spikes' amplitudes over their mean; SpikeInterface's default for hybrid recordings."""
_DRIFT_STEP_UM = 1.0
"""Between neighbouring precomputed templates of a drifting unit, and their largest number."""
_MOST_STEPS = 100
_DRIFT_RATE_HZ = 10.0
"""How often a drifting unit is moved."""


def draw_spikes(
    units: Sequence[InjectedUnit], *, sampling_hz: float, start: int, end: int, before: int, after: int, seed: int
) -> BaseSorting:
    """Random spikes for the units, at their rates and with a refractory period; the same for the same seed.

    Parameters
    ----------
    units : sequence of InjectedUnit
    sampling_hz : float
    start, end : int
        Samples of the recording between which whole templates fit.
    before, after : int
        Samples of the templates before the spike's own, and from that on.
    seed : int

    Returns
    -------
    BaseSorting
        In samples of the recording, with the units' ids.

    Raises
    ------
    InjectionError
        When that stretch is shorter than a template.
    """
    from spikeinterface.core import NumpySorting, generate_sorting

    first, room = start + before, end - start - before - after
    if room <= 0:
        raise InjectionError(
            f"The stretch of {(end - start) / sampling_hz:.3g} s is shorter than a spike's template.",
            remedy="Choose a longer recording.",
        )
    if not units:
        return NumpySorting.from_unit_dict([{}], sampling_hz)
    drawn = generate_sorting(
        num_units=len(units),
        sampling_frequency=sampling_hz,
        durations=[room / sampling_hz],
        firing_rates=np.array([unit.firing_rate_hz for unit in units]),
        refractory_period_ms=REFRACTORY_MS,
        seed=seed,
    )
    spikes = drawn.to_spike_vector().copy()
    spikes = spikes[spikes["sample_index"] < room]
    spikes["sample_index"] += first
    return NumpySorting(spikes, sampling_hz, [unit.unit_id for unit in units])


def inject(
    recording: BaseRecording,
    units: Sequence[InjectedUnit],
    spikes: BaseSorting,
    *,
    before: int,
    motion: Motion | None = None,
    locations_um: np.ndarray | None = None,
    seed: int = 0,
) -> BaseRecording:
    """Add the units' spikes to a recording, lazily.

    Parameters
    ----------
    recording : BaseRecording
        In microvolts (gain 1, offset 0), float32, single segment.
    units : sequence of InjectedUnit
    spikes : BaseSorting
        Theirs, in samples of the recording, in the order of the units.
    before : int
        Samples of a template before the spike's own.
    motion : Motion or None
        How the tissue moved along the probe, which the units then follow: their templates are of where they are without
        a displacement. None leaves them in place.
    locations_um : np.ndarray or None
        Where the channels of the templates are, shape (channels, 2), where these are not those of the recording: motion
        correction leaves out the channels at the probe's ends.
    seed : int
        Decides the amplitudes of single spikes.

    Raises
    ------
    InjectionError
        When units should follow a motion on several probes.
    """
    if not units:
        return recording
    number = spikes.to_spike_vector().size
    factors = np.random.default_rng(seed).normal(1.0, AMPLITUDE_SPREAD, number).astype(np.float32)
    if motion is not None:
        return _inject_moving(recording, units, spikes, before, motion, locations_um, factors)
    from spikeinterface.core.generate import InjectTemplatesRecording

    templates = np.stack([unit.template_uv for unit in units])
    return InjectTemplatesRecording(
        spikes, templates, nbefore=before, parent_recording=recording, amplitude_factor=factors
    )


def _inject_moving(
    recording: BaseRecording,
    units: Sequence[InjectedUnit],
    spikes: BaseSorting,
    before: int,
    motion: Motion,
    locations_um: np.ndarray | None,
    factors: np.ndarray,
) -> BaseRecording:
    from spikeinterface.generation.drift_tools import DriftingTemplates, InjectDriftingTemplatesRecording

    if motion.direction != "y" or len(recording.get_probegroup().probes) != 1:
        raise InjectionError(
            "Injected units can follow a motion only along a single probe.",
            remedy="Choose a recording of one probe, or one whose motion is not corrected before it is sorted.",
        )
    here_um = recording.get_channel_locations()
    there_um = here_um if locations_um is None else locations_um
    rate_hz, start_s = float(recording.sampling_frequency), float(recording.get_start_time())
    duration_s = recording.get_num_samples() / rate_hz
    times_s = start_s + (np.arange(math.ceil(duration_s * _DRIFT_RATE_HZ) + 1) + 0.5) / _DRIFT_RATE_HZ
    depths_um = np.array([unit.depth_um for unit in units])
    moved_um = motion.get_displacement_at_time_and_depth(times_s, depths_um, segment_index=0, grid=True)
    lowest, highest = float(moved_um.min()), float(moved_um.max())
    steps = min(_MOST_STEPS, max(1, math.ceil((highest - lowest) / _DRIFT_STEP_UM) + 1))
    displacements = np.linspace(lowest, highest, steps)
    templates = np.stack(
        [
            np.stack([move_template(unit.template_uv, there_um, displacement, here_um) for unit in units])
            for displacement in displacements
        ]
    )
    along = np.column_stack([np.zeros(steps), displacements])
    vectors = np.stack([np.zeros_like(moved_um), moved_um]).transpose(2, 0, 1)
    drifting = DriftingTemplates.from_precomputed_templates(templates, along, rate_hz, before, recording.get_probe())
    return InjectDriftingTemplatesRecording(
        sorting=spikes,
        drifting_templates=drifting,
        displacement_vectors=[vectors],
        displacement_sampling_frequency=_DRIFT_RATE_HZ,
        displacement_unit_factor=np.eye(len(units)),
        parent_recording=recording,
        amplitude_factor=factors,
    )
