"""Channel locations: the check that sorters need, positions in space laid into a plane, and Neuropixels probes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sort_assets.errors import MissingProbeError

if TYPE_CHECKING:
    from probeinterface import Probe, ProbeGroup
    from spikeinterface.core import BaseRecording

DEPTH_LEFT_OUT = "depth_left_out"
"""Annotation of a recording whose electrodes lie in no plane, so that one of their coordinates was left out."""
_FLAT = 1e-6
"""Extent, relative to the largest, below which electrodes lie in a plane: what is left by rounding."""
_PLANES = ((0, 1), (0, 2), (1, 2))


def require_probe(recording: BaseRecording, path: Path | str) -> None:
    """Check that every channel has a location of its own.

    Parameters
    ----------
    recording : BaseRecording
        What is sorted at once: the whole recording, or one of the groups into which it is split.
    path : Path or str
        Where the recording came from, for the message.

    Raises
    ------
    MissingProbeError
        When there are no locations, some are not numbers, or two channels share one.
    """
    if not recording.has_probe():
        raise MissingProbeError(
            f"'{path}' says nothing about where its channels are, and the sorter needs that.",
            remedy="Set recording.probe_file to a probeinterface JSON file, store the electrodes' positions in the "
            "recording (NWB: the columns rel_x and rel_y of the electrodes table), or choose a sorter that needs none.",
        )
    locations = np.asarray(recording.get_channel_locations(), dtype=float)
    if not np.all(np.isfinite(locations)):
        unplaced = recording.channel_ids[~np.isfinite(locations).all(axis=1)]
        raise MissingProbeError(
            f"'{path}' has channels whose location is not a number: {_listed(unplaced)}.",
            remedy="Correct the electrodes' positions in the file, or drop these channels with bad_channel_ids.",
        )
    _, first, counts = np.unique(locations, axis=0, return_index=True, return_counts=True)
    shared = recording.channel_ids[np.sort(first[counts > 1])]
    if shared.size:
        raise MissingProbeError(
            f"'{path}' has several channels at the location of each of these: {_listed(shared)}. Positions are "
            "probably counted within each tetrode or shank.",
            remedy="Set recording.split_by to the property that tells the tetrodes or shanks apart, such as 'group'.",
        )


def planar_positions(positions: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, bool]:
    """Lay positions in space into a plane, since sorters, probes' files and Phy have two coordinates.

    Electrodes that lie in a plane, whichever it is, keep all their distances: all of them together, or else those of
    each group on its own. A coordinate that is known of no electrode is the same for all; an electrode without a
    position gets none, and is not asked which plane it is.

    Parameters
    ----------
    positions : np.ndarray
        In micrometres, shape (channels, 2 or 3); NaN where not known.
    groups : np.ndarray
        Of each channel: its shank or tetrode.

    Returns
    -------
    positions : np.ndarray
        Shape (channels, 2).
    depth_left_out : bool
        Whether the electrodes lie in no plane, so that distances are shorter than they were.

    Raises
    ------
    MissingProbeError
        When electrodes coincide in every plane.
    """
    known = np.isfinite(positions)
    if positions.shape[1] == 2 or np.count_nonzero(known.any(axis=0)) < 2:
        return positions[:, :2], False
    positions = np.where(known.any(axis=0), positions, 0.0)
    together = _in_plane(positions)
    if together is not None:
        return together, False
    members = [groups == group for group in np.unique(groups)]
    apart = [_in_plane(positions[member]) for member in members]
    planar = np.empty((len(positions), 2))
    if all(part is not None for part in apart):
        for member, part in zip(members, apart, strict=True):
            planar[member] = part
        return planar, False
    for plane in _PLANES:
        laid = [_placed(positions[member][:, plane]) for member in members]
        if all(len(np.unique(part, axis=0)) == len(part) for part in laid):
            return positions[:, plane], True
    raise MissingProbeError(
        "The electrodes have positions in space that coincide in every plane.",
        remedy="Set recording.probe_file to a probeinterface JSON file with positions in a plane.",
    )


def planar_probes(probes: ProbeGroup) -> tuple[ProbeGroup, bool]:
    """Lay probes in space into a plane, as `planar_positions` does; probes in a plane stay what they are.

    Raises
    ------
    MissingProbeError
        When electrodes coincide in every plane.
    """
    from probeinterface import Probe, ProbeGroup

    if all(probe.ndim == 2 for probe in probes.probes):
        return probes, False
    in_space = [
        probe.contact_positions
        if probe.ndim == 3
        else np.column_stack([probe.contact_positions, np.zeros(probe.get_contact_count())])
        for probe in probes.probes
    ]
    numbers = np.repeat(np.arange(len(in_space)), [len(positions) for positions in in_space])
    positions, depth_left_out = planar_positions(np.concatenate(in_space), numbers)
    planar = ProbeGroup()
    for number, probe in enumerate(probes.probes):
        flat = Probe(ndim=2, si_units=probe.si_units)
        flat.set_contacts(
            positions=positions[numbers == number],
            shapes=probe.contact_shapes,
            shape_params=probe.contact_shape_params,
            contact_ids=probe.contact_ids,
            shank_ids=probe.shank_ids,
        )
        flat.annotate(**probe.annotations)
        if probe.device_channel_indices is not None:
            flat.set_device_channel_indices(probe.device_channel_indices)
        planar.add_probe(flat)
    return planar, depth_left_out


def _in_plane(positions: np.ndarray) -> np.ndarray | None:
    """Positions in the plane in which they lie, shape (channels, 2); None where they lie in none."""
    placed = _placed(positions)
    if not len(placed):
        return positions[:, :2]
    extents = np.ptp(placed, axis=0)
    for plane, axis in zip(_PLANES, (2, 1, 0), strict=True):
        if extents[axis] <= _FLAT * extents.max():
            return positions[:, plane]
    _, sizes, axes = np.linalg.svd(placed - placed.mean(axis=0), full_matrices=False)
    if len(sizes) == 3 and sizes[2] > _FLAT * sizes[0]:
        return None
    # The longer axis is the one along the probe; either direction would do, so the result must not depend on it.
    along_and_across = axes[:2] * np.sign(axes[np.arange(2), np.abs(axes[:2]).argmax(axis=1)])[:, None]
    return np.asarray((positions - placed.mean(axis=0)) @ along_and_across[::-1].T)


def _placed(positions: np.ndarray) -> np.ndarray:
    return np.asarray(positions[np.isfinite(positions).all(axis=1)])


def attach_neuropixels(recording: BaseRecording, probe: Probe) -> None:
    """Set a Neuropixels probe, and when in a sampling period its converters take each channel.

    Parameters
    ----------
    recording : BaseRecording
        Its channels are those of the probe, in the same order. Gets the property `group`, the shank where there are
        several, and `inter_sample_shift`, in sampling periods, where the converters are known.
    probe : Probe
        As probeinterface reads it from SpikeGLX's or Open Ephys' files.
    """
    from spikeinterface.extractors.neuropixels_utils import get_neuropixels_sample_shifts_from_probe

    recording.set_probe(probe, group_mode="auto" if probe.shank_ids is None else "by_shank")
    if "adc_sample_order" in probe.contact_annotations:
        recording.set_property("inter_sample_shift", get_neuropixels_sample_shifts_from_probe(probe))


def _listed(channel_ids: np.ndarray) -> str:
    text = ", ".join(str(channel_id) for channel_id in channel_ids[:10])
    return text if len(channel_ids) <= 10 else f"{text}, and {len(channel_ids) - 10} more"
