"""Small units, and a recording of noise, for the tests of hybrid recordings."""

import numpy as np
from probeinterface import Probe
from spikeinterface.core import BaseRecording, NumpyRecording

from sort_assets.hybrid.donors import Donor

RATE_HZ = 20_000.0
BEFORE, AFTER = 20, 40
NOISE_UV = 8.0


def probe_of(rows: int = 12, columns: int = 2, pitch_um: float = 20.0) -> Probe:
    """Contacts in rows and columns; with a single column, in one line."""
    probe = Probe(ndim=2)
    places = [(column * pitch_um, row * pitch_um) for row in range(rows) for column in range(columns)]
    probe.set_contacts(np.array(places), shapes="circle", shape_params={"radius": 5})
    probe.set_device_channel_indices(np.arange(len(places)))
    return probe


def template_at(probe: Probe, row_um: float, *, amplitude_uv: float = 100.0) -> np.ndarray:
    """A trough of one sample's width at the spike's own sample, falling off with the distance."""
    time = np.arange(-BEFORE, AFTER)
    shape = -np.exp(-np.abs(time) / 3.0) + 0.3 * np.exp(-((time - 12) ** 2) / 30.0)
    shape[: BEFORE // 2], shape[-AFTER // 2 :] = 0.0, 0.0
    distance = np.hypot(*(probe.contact_positions - np.array([0.0, row_um])).T)
    return (amplitude_uv * shape[:, np.newaxis] * np.exp(-distance / 25.0)).astype(np.float32)


def donor_at(probe: Probe, row_um: float, unit_id: str = "7") -> Donor:
    """A donor whose main channel is the first contact of that row."""
    template = template_at(probe, row_um)
    return Donor(unit_id, template, int(np.abs(template).max(axis=0).argmax()), firing_rate_hz=8.0)


def recording_of(probe: Probe, duration_s: float = 10.0, noise_uv: float = NOISE_UV) -> BaseRecording:
    """Noise in microvolts, float32."""
    shape = (round(duration_s * RATE_HZ), probe.get_contact_count())
    traces = np.random.default_rng(0).normal(0.0, 1.0, shape).astype(np.float32) * np.float32(noise_uv)
    recording = NumpyRecording(traces, RATE_HZ)
    recording.set_channel_gains(1.0)
    recording.set_channel_offsets(0.0)
    recording.set_probe(probe)
    return recording


def noise_of(probe: Probe) -> np.ndarray:
    return np.full(probe.get_contact_count(), NOISE_UV)
