"""Splitting a recording into shanks or tetrodes that are sorted separately, and merging the results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from sort_assets.errors import ConfigError
from sort_assets.recordings.formats.reading import natural_order

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording, BaseSorting

GROUP_PROPERTY = "group"
"""Property of a unit that names the group in which it was found."""
GROUP_DISTANCE_UM = 1000.0
"""Distance by which groups are moved apart if their positions are only known within each group."""


def split_recording(recording: BaseRecording, split_by: str) -> dict[str, BaseRecording]:
    """Split a recording by a property of its channels.

    Parameters
    ----------
    recording : BaseRecording
        With the property.
    split_by : str
        The property's name, "group" for example.

    Returns
    -------
    dict
        From each value as text, in natural order, to the recording of its channels.

    Raises
    ------
    ConfigError
        When channels have no such property.
    """
    values = recording.get_property(split_by)
    if values is None:
        raise ConfigError(
            f"recording.split_by is '{split_by}', but the channels have no such property.",
            remedy=f"Use one of: {', '.join(sorted(recording.get_property_keys()))}; or null to sort all together.",
        )
    names = np.asarray([str(value) for value in values])
    return {
        str(name): recording.select_channels(recording.channel_ids[names == name])
        for name in sorted(np.unique(names), key=natural_order)
    }


def aggregate_recordings(recordings: Mapping[str, BaseRecording]) -> BaseRecording:
    """Merge the channels of split recordings again.

    Where positions of several groups coincide, because they are counted within each tetrode, the groups are moved
    apart along x, so that distances between channels of different groups mean something.

    Parameters
    ----------
    recordings : mapping of str to BaseRecording
        From `split_recording`, or the same stored and reopened; at least one.

    Returns
    -------
    BaseRecording
        All channels, group after group, with their ids.
    """
    from spikeinterface.core import aggregate_channels

    aggregated = aggregate_channels(dict(recordings))
    if not aggregated.has_probe():
        return aggregated
    locations = aggregated.get_channel_locations()
    groups = np.concatenate([recording.get_channel_groups() for recording in recordings.values()])
    if len(np.unique(locations, axis=0)) < len(locations):
        probegroup = aggregated.get_probegroup()
        for index, probe in enumerate(probegroup.probes):
            probe.move(np.array([index * GROUP_DISTANCE_UM] + [0.0] * (probe.ndim - 1)))
        aggregated.set_probegroup(probegroup, check_overlap=False)
    # Setting a probe renumbers the groups.
    aggregated.set_channel_groups(groups)
    return aggregated


def aggregate_sortings(sortings: Mapping[str, BaseSorting]) -> BaseSorting:
    """Merge the units of groups that were sorted separately.

    Parameters
    ----------
    sortings : mapping of str to BaseSorting
        By the group's name; any of them may hold no units. All come from recordings of the same rate and length.

    Returns
    -------
    BaseSorting
        Unit ids are "<group>_<unit>"; the property `group` names each unit's group. Other properties are kept where
        all groups have them in the same form.
    """
    from spikeinterface.core import NumpySorting, aggregate_units

    renamed: list[str] = []
    labelled: list[BaseSorting] = []
    for group, sorting in sortings.items():
        # SpikeInterface compares properties, and those of a sorting without units have no values to compare.
        if sorting.get_num_units() == 0:
            continue
        view = sorting.select_units(sorting.unit_ids)
        view.set_property(GROUP_PROPERTY, [group] * sorting.get_num_units())
        labelled.append(view)
        renamed += [f"{group}_{unit_id}" for unit_id in sorting.unit_ids]
    if not labelled:
        any_sorting = next(iter(sortings.values()))
        return NumpySorting.from_unit_dict([{}], any_sorting.sampling_frequency)
    aggregated = aggregate_units(labelled, renamed_unit_ids=renamed)
    aggregated.set_property(GROUP_PROPERTY, np.concatenate([view.get_property(GROUP_PROPERTY) for view in labelled]))
    return aggregated
