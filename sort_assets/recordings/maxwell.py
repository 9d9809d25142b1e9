"""Maxwell `.h5` files (MaxOne, MaxTwo). A stream is a well, or "well/recording" where there are several recordings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sort_assets.errors import MissingPluginError, UnreadableRecordingError
from sort_assets.recordings.reading import choose_stream, open_hdf5, read_first_and_last_sample, readable

if TYPE_CHECKING:
    import h5py
    from spikeinterface.core import BaseRecording

COUNTS_AT_ZERO = 512
"""The chips' converters have 10 bits, and their middle is no voltage."""

_OLD_LAYOUT_VERSION = 20160704
_OLD_LAYOUT_STREAM = "well000"


def is_maxwell(path: Path) -> bool:
    """Whether a path is an HDF5 file with Maxwell's layout.

    Raises
    ------
    UnreadableRecordingError
        When an `.h5` file is empty, truncated or no HDF5 file.
    """
    if path.suffix.lower() != ".h5" or not path.is_file():
        return False
    with open_hdf5(path) as file:
        return "version" in file and ("wells" in file or ("mapping" in file and "sig" in file))


def maxwell_streams(path: Path) -> tuple[str, ...]:
    """Names of the wells that were recorded, with the recording's name when the file has several."""
    with open_hdf5(path) as file, readable(path):
        return tuple(_recorded(file))


def open_maxwell(path: Path, stream: str | None) -> BaseRecording:
    """Open one well.

    Returns
    -------
    BaseRecording
        Unsigned counts; the offset is set so that the middle of the converter's range is 0 microvolts.

    Raises
    ------
    StreamError
        When the well does not exist or must be named.
    UnreadableRecordingError
        When the file is damaged, or its map repeats a channel.
    MissingPluginError
        When its samples are compressed, and the plugin that reads them is not installed.
    """
    from spikeinterface.extractors.neoextractors.maxwell import MaxwellRecordingExtractor

    with open_hdf5(path) as file, readable(path):
        recorded = _recorded(file)
        well = choose_stream(path, stream, tuple(recorded))
        stream_id, rec_name, samples_path, mapping_path = recorded[well]
        _check_mapping(path, file[mapping_path])
        _check_samples(path, file[samples_path])
    with readable(path):
        recording = MaxwellRecordingExtractor(
            path, stream_id=stream_id, rec_name=rec_name, install_maxwell_plugin=False
        )
    # The extractor does not keep this argument, so that every reload of the recording, in a worker process for
    # example, would try to download the plugin (SpikeInterface 0.105.3).
    recording._kwargs["install_maxwell_plugin"] = False
    # neo states 0, which would leave some three millivolts on every channel wherever nothing filters them away.
    recording.set_channel_offsets(-COUNTS_AT_ZERO * recording.get_channel_gains())
    read_first_and_last_sample(recording, path)
    return recording


def _recorded(file: h5py.File) -> dict[str, tuple[str, str | None, str, str]]:
    """Stream name to (well, name of the recording, path of the samples, path of the map of electrodes)."""
    if int(file["version"][0]) == _OLD_LAYOUT_VERSION:
        return {_OLD_LAYOUT_STREAM: (_OLD_LAYOUT_STREAM, None, "sig", "mapping")}
    found = [
        (well_name, rec_name)
        for well_name, well in file["wells"].items()
        for rec_name, recorded in well.items()
        # Wells whose electrodes were not routed to amplifiers hold spikes at most.
        if "groups/routed/raw" in recorded
    ]
    several = len({rec_name for _, rec_name in found}) > 1
    return {
        f"{well_name}/{rec_name}" if several else well_name: (
            well_name,
            rec_name,
            f"wells/{well_name}/{rec_name}/groups/routed/raw",
            f"wells/{well_name}/{rec_name}/settings/mapping",
        )
        for well_name, rec_name in found
    }


def _check_mapping(path: Path, mapping: h5py.Dataset) -> None:
    channels = mapping["channel"]
    channels = channels[channels >= 0]
    repeated = sorted({int(channel) for channel in channels if np.count_nonzero(channels == channel) > 1})
    if repeated:
        raise UnreadableRecordingError(
            f"The map of electrodes of '{path}' names channels more than once: {repeated[:10]}. Several electrodes "
            "were routed to one amplifier, so where their signal comes from is not known.",
            remedy="Record with one electrode for each channel, or export the file again without the doubled ones.",
        )


def _check_samples(path: Path, samples: h5py.Dataset) -> None:
    """Read one sample of all channels, and tell a missing plugin from damage."""
    import h5py

    try:
        samples[:, :1]
    except OSError as error:
        plist = samples.id.get_create_plist()
        filters = [plist.get_filter(index)[0] for index in range(plist.get_nfilters())]
        if all(h5py.h5z.filter_avail(number) for number in filters):
            raise
        raise MissingPluginError(
            f"The samples of '{path}' are compressed by Maxwell's own HDF5 filter, and its plugin is not installed.",
            remedy="Download libcompression.so from MaxWell Biosystems "
            "(https://share.mxwbio.com/d/7f2d1e98a1724a1b8b35) and set HDF5_PLUGIN_PATH to the folder that holds it.",
        ) from error
