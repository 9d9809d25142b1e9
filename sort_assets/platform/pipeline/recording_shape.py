"""The shape of a recording, from what is already known of it: nothing is opened, so any host can tell."""

from typing import TYPE_CHECKING

import dagster as dg

from sort_assets.backends.shape import RecordingShape
from sort_assets.config.model import RecordingConfig
from sort_assets.config.settings import Roots
from sort_assets.errors import SortAssetsError
from sort_assets.platform.pipeline.assets.observed import raw_recording
from sort_assets.platform.store.handles import StoredBinary

if TYPE_CHECKING:
    from sort_assets.recordings.dat_file import DatDescription


def recording_shape(
    instance: dg.DagsterInstance, roots: Roots, recording: str, config: RecordingConfig
) -> RecordingShape | None:
    """The shape of a recording, or of the largest of its groups of channels that are sorted on their own.

    Parameters
    ----------
    instance : DagsterInstance
    roots : Roots
    recording : str
        Its key.
    config : RecordingConfig
        Which part of it is sorted.

    Returns
    -------
    RecordingShape or None
        As the `.dat` has it, with the places of the channels; before there is one, as the file's header said when the
        recording was registered. None where neither is known.
    """
    return _of_binary(roots, recording) or _as_registered(instance, recording, config)


def _of_binary(roots: Roots, recording: str) -> RecordingShape | None:
    from sort_assets.recordings.dat_file import read_description

    try:
        files = StoredBinary(roots, recording).dat_paths
        descriptions = [read_description(path) for path in files.values()]
    except SortAssetsError:
        return None
    return _shape(max(descriptions, key=lambda one: len(one.channel_ids))) if descriptions else None


def _shape(description: "DatDescription") -> RecordingShape:
    import numpy as np

    channels = len(description.channel_ids)
    rate_hz = description.sampling_frequency
    places, shanks = [], []
    for number, probe in enumerate((description.probegroup or {}).get("probes", ())):
        positions = np.asarray(probe["contact_positions"], dtype=float)
        places.append(positions[:, :2])
        shanks += [f"{number}.{shank}" for shank in probe.get("shank_ids") or [""] * len(positions)]
    located = np.concatenate(places) if places else None
    if located is None or len(located) != channels:  # some contacts are of no channel
        return RecordingShape(channels, rate_hz, description.num_samples / rate_hz)
    return RecordingShape(channels, rate_hz, description.num_samples / rate_hz, located, np.asarray(shanks))


def _as_registered(instance: dg.DagsterInstance, recording: str, config: RecordingConfig) -> RecordingShape | None:
    newest = instance.fetch_observations(
        dg.AssetRecordsFilter(raw_recording.key, asset_partitions=[recording]), limit=1
    ).records
    observation = newest[0].asset_observation if newest else None
    if observation is None:
        return None
    stated = {name: getattr(observation.metadata.get(name), "value", None) for name in _STATED}
    channels, rate_hz, duration_s = (stated[name] for name in _STATED)
    if not (channels and rate_hz and duration_s):
        return None
    return RecordingShape(int(channels), float(rate_hz), _sorted_part_s(float(duration_s), config))


_STATED = ("channels", "sampling_hz", "duration_s")


def _sorted_part_s(duration_s: float, config: RecordingConfig) -> float:
    end_s = duration_s if config.end_s is None else min(config.end_s, duration_s)
    part_s = max(0.0, end_s - config.start_s)
    return part_s if config.first_minutes is None else min(part_s, 60 * config.first_minutes)
