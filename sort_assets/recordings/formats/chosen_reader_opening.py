"""Opening a recording with the reader of SpikeInterface that somebody chose, and the arguments that it is to have."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

from spikeinterface.core import BaseRecording  # noqa: TID253
from spikeinterface.extractors.extractor_classes import recording_extractor_full_dict  # noqa: TID253
from spikeinterface.extractors.neoextractors.neobaseextractor import NeoBaseRecordingExtractor  # noqa: TID253

from sort_assets.config import RecordingConfig
from sort_assets.errors import ConfigError, MissingPluginError
from sort_assets.recordings.formats.chosen_reader import reader_key, takes_folder
from sort_assets.recordings.formats.makers import READERS, Reader
from sort_assets.recordings.formats.makers_readers import as_given, extractor_of, neo_streams, open_with_neo
from sort_assets.recordings.formats.mcs_hdf5 import mcs_streams, open_mcs
from sort_assets.recordings.formats.reading import choose_stream, read_first_and_last_sample, readable
from sort_assets.recordings.formats.spikeinterface_folders import follow_times

_NOT_OFFERED = {
    "numpy": "it takes samples that are in memory",
    "ibl": "it downloads the recording",
    "binaryfolder": "such folders are recognised by themselves",
    "zarr": "such folders are recognised by themselves",
    "plexon": "neo (up to 0.14.6) reads the last block of a .plx as zeros, and recording.format: plexon does not",
}
_PATHS = ("file_path", "folder_path", "file_paths")
_ONLY = "recording"
_STREAM_ARGUMENTS = frozenset({"stream_id", "stream_name"})


def chosen_streams(config: RecordingConfig, path: Path) -> tuple[str, ...]:
    """Names of the streams, where the reader tells them; else one.

    Raises
    ------
    ConfigError
        When there is no such reader, it does not take such arguments, or not a file or folder as this is.
    UnreadableRecordingError
        When it can't be read.
    """
    reader = _reader(config, path)
    if reader.extractor == "mcsh5" and "stream_id" not in reader.arguments:
        return mcs_streams(path)
    if _STREAM_ARGUMENTS & set(reader.arguments) or not _is_neo(reader):
        return (_ONLY,)
    with readable(path):
        return tuple(neo_streams(reader, path))


def open_chosen(path: Path, stream: str | None, config: RecordingConfig) -> BaseRecording:
    """Open a file or folder with the reader and the arguments of the configuration.

    Raises
    ------
    ConfigError, StreamError, UnreadableRecordingError
        As `chosen_streams`; when the stream does not exist or must be named.
    MissingPluginError
        When the reader needs a package that is not installed.
    """
    reader = _reader(config, path)
    if _is_neo(reader) and not _STREAM_ARGUMENTS & set(reader.arguments):
        of_same = [name for name, known in READERS.items() if known.extractor == reader.extractor]
        return open_with_neo(of_same[0] if of_same else reader.extractor, reader, path, stream, config)
    if reader.extractor == "mcsh5":  # by our own reader; SpikeInterface's counts the streams
        number = reader.arguments.get("stream_id")
        return open_mcs(path, stream if number is None else f"Stream_{number}")
    choose_stream(path, stream, (_ONLY,))
    extractor = extractor_of(reader)
    with readable(path):
        try:
            given = _in_a_list(extractor, as_given(reader, path))
            recording = extractor(**{_path_argument(extractor): given}, **reader.arguments)
        except ImportError as error:
            raise MissingPluginError(
                f"SpikeInterface's reader '{config.reader}' needs a package that is not installed: {error}",
                remedy="Install it where sort_assets runs, and restart sort_assets.",
            ) from error
    read_first_and_last_sample(recording, path)
    follow_times(recording, path)
    return recording


def _reader(config: RecordingConfig, path: Path) -> Reader:
    """The reader with its arguments, checked; paths among them are found from the recording's folder."""
    key = reader_key(config.reader or "")
    offered = sorted(set(recording_extractor_full_dict) - set(_NOT_OFFERED))
    if key not in offered:
        why = f", since {_NOT_OFFERED[key]}" if key in _NOT_OFFERED else ""
        raise ConfigError(
            f"recording.reader is '{config.reader}', which is none of the readers that can be chosen{why}.",
            remedy=f"Set it to one of: {', '.join(offered)}.",
        )
    if path.is_dir() != takes_folder(key):
        kind = "folder" if takes_folder(key) else "file"
        raise ConfigError(
            f"SpikeInterface's reader '{key}' opens a {kind}, and '{path}' is none.",
            remedy=f"Let recording.reader apply to the {kind} alone: by a rule that matches nothing else, or in a "
            "sidecar of its own.",
        )
    known = next((one for one in READERS.values() if one.extractor == key), Reader(key))
    extractor = extractor_of(known)
    parameters = signature(extractor).parameters
    path_argument = _path_argument(extractor)
    allowed = [name for name, one in parameters.items() if name != path_argument and one.kind != Parameter.VAR_KEYWORD]
    takes_any = any(one.kind == Parameter.VAR_KEYWORD for one in parameters.values())
    unknown = sorted(set(config.arguments) - set(allowed))
    if unknown and not (takes_any and path_argument not in unknown):
        raise ConfigError(
            f"recording.arguments has {', '.join(unknown)}, which SpikeInterface's reader '{key}' does not take.",
            remedy=f"Its arguments are: {', '.join(allowed) or 'none'}.",
        )
    needed = [name for name in allowed if parameters[name].default is Parameter.empty]
    lacking = [name for name in needed if name not in config.arguments]
    if lacking:
        raise ConfigError(
            f"SpikeInterface's reader '{key}' needs the arguments {', '.join(lacking)}.",
            remedy=f"Set them in recording.arguments. All that it takes: {', '.join(allowed)}.",
        )
    folder = path if path.is_dir() else path.parent
    return Reader(
        extractor=known.extractor,
        package=known.package,
        pip_name=known.pip_name,
        arguments={**known.arguments, **_with_whole_paths(config.arguments, folder)},
        left_out=known.left_out,
        copies=known.copies,
        gains=known.gains,
    )


def _is_neo(reader: Reader) -> bool:
    extractor = extractor_of(reader)
    return isinstance(extractor, type) and issubclass(extractor, NeoBaseRecordingExtractor)


def _path_argument(extractor: Any) -> str:
    parameters = signature(extractor).parameters
    return next((name for name in _PATHS if name in parameters), next(iter(parameters)))


def _in_a_list(extractor: Any, path: Path) -> Path | list[Path]:
    return [path] if _path_argument(extractor) == "file_paths" else path


def _with_whole_paths(arguments: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    whole = dict(arguments)
    for name, value in arguments.items():
        if name.endswith("_path") and isinstance(value, str) and name != "timeseries_path":
            whole[name] = str(folder / value)  # an absolute one stays
    return whole
