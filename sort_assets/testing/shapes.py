"""Recordings with known spikes in the shapes that laboratories record with: wires, tetrodes, shanks, long probes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sort_assets.testing.ground_truth import make_ground_truth

if TYPE_CHECKING:
    from probeinterface import Probe
    from spikeinterface.core import BaseRecording, BaseSorting


@dataclass(frozen=True)
class Shape:
    """Contacts that are sorted together, and the units around them.

    Attributes
    ----------
    positions_um : tuple of tuple of float
        x and y of each contact.
    num_units : int
        Clear units in the recording.
    spatial_decay_um : tuple of float
        As in `make_ground_truth`: a tetrode's wires see the same cells, the contacts of a shank do not.
    """

    positions_um: tuple[tuple[float, float], ...]
    num_units: int
    spatial_decay_um: tuple[float, float] = (20.0, 30.0)

    @property
    def num_channels(self) -> int:
        """Number of contacts."""
        return len(self.positions_um)

    def probe(self) -> Probe:
        """The contacts, contact i wired to channel i."""
        from probeinterface import Probe

        probe = Probe(ndim=2, si_units="um")
        probe.set_contacts(positions=np.array(self.positions_um), shapes="circle", shape_params={"radius": 6})
        probe.set_device_channel_indices(np.arange(self.num_channels))
        return probe


def _columns(num_contacts: int) -> tuple[tuple[float, float], ...]:
    """Two staggered columns, 32 micrometres apart, as those of `make_probe`."""
    return tuple((32.0 * (row % 2), 20.0 * row) for row in range(num_contacts))


SHAPES: Mapping[str, Shape] = {
    "wire": Shape(((0.0, 0.0),), 2),
    "stereotrode": Shape(((0.0, 0.0), (25.0, 0.0)), 3, (40.0, 60.0)),
    "tetrode": Shape(((0.0, 0.0), (25.0, 0.0), (0.0, 25.0), (25.0, 25.0)), 3, (40.0, 60.0)),
    "four contacts": Shape(_columns(4), 3),
    "eight wires": Shape(tuple((250.0 * wire, 0.0) for wire in range(8)), 8),
    "shank of 8": Shape(tuple((0.0, 25.0 * contact) for contact in range(8)), 4),
    "16 contacts": Shape(_columns(16), 8),
    "32 contacts": Shape(_columns(32), 12),
    "64 contacts": Shape(_columns(64), 20),
    "384 contacts": Shape(_columns(384), 60),
}
"""By name. Wires of a bundle see different cells; those of a tetrode see the same ones, each at another size."""


def make_shape(
    name: str, duration_s: float = 30.0, *, seed: int = 0, sampling_frequency: float = 30000.0, **options: float
) -> tuple[BaseRecording, BaseSorting]:
    """Make a recording of one of `SHAPES` and the spikes that were put into it.

    Parameters
    ----------
    name : str
        Of the shape.
    duration_s, seed, sampling_frequency, **options
        As in `make_ground_truth`.
    """
    shape = SHAPES[name]
    return make_ground_truth(
        duration_s,
        num_units=shape.num_units,
        sampling_frequency=sampling_frequency,
        seed=seed,
        probe=shape.probe(),
        spatial_decay_um=shape.spatial_decay_um,
        **options,  # type: ignore[arg-type]
    )


def make_groups(
    name: str, num_groups: int, duration_s: float = 30.0, *, seed: int = 0
) -> tuple[BaseRecording, BaseSorting]:
    """Several groups of one of `SHAPES` in one recording, as four tetrodes in one file.

    Parameters
    ----------
    name : str
        Of the shape of each group.
    num_groups : int
        How many; the property `group` of channels and units counts them.
    duration_s, seed
        As in `make_ground_truth`.

    Returns
    -------
    recording : BaseRecording
        In memory, with the channels of all groups; the groups are 1 mm apart.
    sorting : BaseSorting
        The units of all groups.
    """
    from probeinterface import ProbeGroup
    from spikeinterface.core import NumpyRecording, aggregate_units

    made = [make_shape(name, duration_s, seed=seed + group) for group in range(num_groups)]
    first = made[0][0]
    channels = range(first.get_num_channels())
    recording = NumpyRecording(
        [np.hstack([part.get_traces() for part, _ in made])],
        first.sampling_frequency,
        channel_ids=[f"{group}-{channel}" for group in range(num_groups) for channel in channels],
    )
    probes = ProbeGroup()
    for group in range(num_groups):
        probe = SHAPES[name].probe()
        probe.move([1000.0 * group, 0.0])
        probe.set_device_channel_indices(group * probe.get_contact_count() + np.arange(probe.get_contact_count()))
        probes.add_probe(probe)
    recording.set_probegroup(probes, group_mode="by_probe")
    recording.set_channel_gains(first.get_channel_gains()[0])
    recording.set_channel_offsets(0.0)
    recording.annotate(is_filtered=False)
    sortings = []
    for group, (_, sorting) in enumerate(made):
        sorting.set_property("group", np.full(sorting.get_num_units(), group))
        sortings.append(sorting)
    return recording, aggregate_units(sortings)
