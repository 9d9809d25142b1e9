"""Channel locations: the check that sorters need, and Neuropixels probes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sort_assets.errors import MissingProbeError

if TYPE_CHECKING:
    from probeinterface import Probe
    from spikeinterface.core import BaseRecording


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
