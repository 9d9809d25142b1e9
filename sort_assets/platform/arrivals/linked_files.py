"""Recordings that only have a link to the samples of another: the other one is the recording, and registered once."""

from dataclasses import replace
from pathlib import Path

from sort_assets.config.model import RecordingConfig
from sort_assets.recordings.headers import RecordingHeader


def without_linked_streams(header: RecordingHeader, config: RecordingConfig, root: Path) -> RecordingHeader:
    """The header without the streams whose samples lie in another file of the recordings root.

    Those in files elsewhere stay, since nobody else registers them; so does a stream that a person named.

    Parameters
    ----------
    header : RecordingHeader
    config : RecordingConfig
        Its `stream`, where it is set, is a person's choice.
    root : Path
        The recordings root.
    """
    if config.stream is not None:
        return header
    inside = root.resolve()
    own = [
        stream
        for stream in header.streams
        if stream.linked_file is None or not Path(stream.linked_file).is_relative_to(inside)
    ]
    return replace(header, streams=tuple(own))


def linked_files(header: RecordingHeader) -> str:
    """The files that hold the samples of a header's streams, in words."""
    files = dict.fromkeys(stream.linked_file for stream in header.streams if stream.linked_file is not None)
    return ", ".join(f"'{file}'" for file in files)
