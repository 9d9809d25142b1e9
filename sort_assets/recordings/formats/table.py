"""The table of the formats that can be opened.

A format is recognised by name and header, never by trying every reader. To add one, write its module here, with
``is_NAME(path)``, ``NAME_streams(path)`` and ``open_NAME(path, stream, config)``, and add a row to `FORMATS` with the
rule by which its files or folders are found by name (docs/how-to/add-a-format.md). A plain binary file is in no row: it
is what the recording's configuration says.

The rules by name are asked for every file below the recordings root, so this module imports no reader: that of a format
is imported when a recording is recognised or opened.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from sort_assets.config import RecordingConfig
from sort_assets.errors import ConfigError, MissingRecordingError, UnknownFormatError, UnreadableRecordingError
from sort_assets.recordings.formats import open_ephys_folders, spikeglx_files, spikeinterface_folders
from sort_assets.recordings.formats.chosen_reader import format_of_reader
from sort_assets.recordings.formats.makers import MAKERS
from sort_assets.recordings.formats.not_read import NOT_READ
from sort_assets.recordings.formats.plain_binary import may_be_plain_binary, open_plain_binary, plain_binary_streams
from sort_assets.recordings.formats.reading import natural_order
from sort_assets.recordings.formats.recording_format import Ending, Holding, RecordingFormat, ending, last_suffix, never


def _reader(format_name: str) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """The functions `recognises`, `streams` and `open` of the module named like the format, imported on first use."""
    names = (f"is_{format_name}", f"{format_name}_streams", f"open_{format_name}")
    return tuple(partial(_call, f"sort_assets.recordings.formats.{format_name}", name) for name in names)  # type: ignore[return-value]


def _call(module: str, function: str, *arguments: Any) -> Any:
    return getattr(import_module(module), function)(*arguments)


def _only_stream(path: Path) -> tuple[str, ...]:  # noqa: ARG001
    return (spikeinterface_folders.STREAM,)


def _is_intan_file(name: str, beside: Set[str]) -> bool:  # noqa: ARG001
    # The headers of folders are no recordings on their own.
    return name.lower() not in ("info.rhd", "info.rhs")


def _holds_intan_names(name: str, entries: Set[str]) -> bool:  # noqa: ARG001
    return "time.dat" in entries and not entries.isdisjoint({"info.rhd", "info.rhs"})


_IN_NWB = frozenset({"acquisition", "general", "processing", "session_start_time", "identifier", "specifications"})
_ENOUGH_OF_NWB = 2


def _may_be_nwb_in_zarr(name: str, entries: Set[str]) -> bool:
    is_zarr = not entries.isdisjoint({".zgroup", "zarr.json"})
    return is_zarr and (name.lower().endswith((".nwb.zarr", ".nwb")) or len(_IN_NWB & entries) >= _ENOUGH_OF_NWB)


FORMATS = (
    RecordingFormat(
        "nwb",
        "Neurodata Without Borders (.nwb, or a zarr folder)",
        ending(".nwb"),
        _may_be_nwb_in_zarr,
        *_reader("nwb"),
    ),
    RecordingFormat("maxwell", "MaxWell Biosystems MaxOne and MaxTwo (.h5)", ending(".h5"), never, *_reader("maxwell")),
    RecordingFormat(
        "spikeglx",
        "SpikeGLX run (Neuropixels)",
        never,
        spikeglx_files.may_be_spikeglx_folder,
        *_reader("spikeglx"),
        may_grow=True,
        left_out=partial(_call, "sort_assets.recordings.formats.spikeglx", "spikeglx_left_out"),
    ),
    RecordingFormat(
        "open_ephys",
        "Open Ephys session (binary)",
        never,
        open_ephys_folders.may_be_open_ephys_folder,
        *_reader("open_ephys"),
    ),
    RecordingFormat(
        "intan",
        "Intan (.rhd, .rhs, or a folder with info.rhd or info.rhs)",
        ending(".rhd", ".rhs", also=_is_intan_file),
        _holds_intan_names,
        *_reader("intan"),
    ),
    RecordingFormat(
        "spikeinterface_binary",
        "SpikeInterface binary folder",
        never,
        spikeinterface_folders.may_be_binary_folder,
        spikeinterface_folders.is_binary_folder,
        _only_stream,
        spikeinterface_folders.open_binary_folder,
    ),
    RecordingFormat(
        "spikeinterface_zarr",
        "SpikeInterface zarr folder",
        never,
        spikeinterface_folders.may_be_zarr_folder,
        spikeinterface_folders.is_zarr_folder,
        _only_stream,
        spikeinterface_folders.open_zarr_folder,
    ),
    *MAKERS,
)
"""Formats that can be opened."""
KNOWN_FORMATS = (*FORMATS, *NOT_READ)
"""Also those of which a scan can only say why they can't be opened."""


def _by_suffix() -> dict[str, tuple[RecordingFormat, ...]]:
    found: dict[str, tuple[RecordingFormat, ...]] = {}
    for one in KNOWN_FORMATS:
        for suffix in one.may_be_file.suffixes if isinstance(one.may_be_file, Ending) else ():
            found[last_suffix(suffix)] = (*found.get(last_suffix(suffix), ()), one)
    return found


_BY_SUFFIX = _by_suffix()
_CERTAIN_ENDINGS = tuple(
    suffix
    for one in KNOWN_FORMATS
    if isinstance(one.may_be_file, Ending) and one.may_be_file.also is None
    for suffix in one.may_be_file.suffixes
)
"""Ends of the names of files that may be recordings whatever lies beside them."""
_FILES_BY_NAMES = tuple(
    one for one in KNOWN_FORMATS if one.may_be_file != never and not isinstance(one.may_be_file, Ending)
)
_BY_SUFFIX_INSIDE = tuple(one for one in KNOWN_FORMATS if isinstance(one.may_be_folder, Holding))
_FOLDERS_BY_NAMES = tuple(one for one in KNOWN_FORMATS if one.may_be_folder != never and one not in _BY_SUFFIX_INSIDE)


def may_be_file(name: str, beside: Set[str]) -> bool:
    """Whether a file may be of one of `KNOWN_FORMATS`, by its name and by those beside it.

    It is asked for every file below the recordings root at every scan, and so looks at few rows.
    """
    if name.lower().endswith(_CERTAIN_ENDINGS):
        return True
    by_suffix = _BY_SUFFIX.get(last_suffix(name), ())
    return any(one.may_be_file(name, beside) for one in (*by_suffix, *_FILES_BY_NAMES))


def may_be_folder(name: str, entries: Set[str]) -> bool:
    """Whether a folder may be of one of `KNOWN_FORMATS`, by its name and those of its entries."""
    inside = {last_suffix(entry) for entry in entries}
    return any(not inside.isdisjoint(one.may_be_folder.suffixes) for one in _BY_SUFFIX_INSIDE) or any(  # type: ignore[attr-defined]
        one.may_be_folder(name, entries) for one in _FOLDERS_BY_NAMES
    )


_PLAIN_BINARY = RecordingFormat(
    "plain_binary",
    "Plain binary file that recording.binary describes",
    lambda name, beside: may_be_plain_binary(name),  # noqa: ARG005
    never,
    Path.is_file,
    plain_binary_streams,
    open_plain_binary,
)


def find_format(
    path: Path, config: RecordingConfig | None = None, beside: Set[str] | None = None
) -> RecordingFormat | None:
    """The format of a file or folder, or None.

    Parameters
    ----------
    path : Path
        A file or folder.
    config : RecordingConfig or None
        Its fields `format` and `binary` say what the path is; None recognises it.
    beside : set of str or None
        Names of the files in a folder of which the path is one: of such a file that can't be opened, or is a part of
        another one's recording, the format is None. Without them, it is asked for on its own, and an error says why.

    Raises
    ------
    MissingRecordingError
        When nothing is there.
    UnreadableRecordingError
        When a file with a format's name is empty or damaged, or holds a recording that nothing opens.
    ConfigError
        When the configuration names a format that does not exist.
    """
    if not path.exists():
        raise MissingRecordingError(
            f"'{path}' does not exist.", remedy="Check the path, and that the disk or share is mounted."
        )
    candidates = _candidates(config)
    if path.is_dir():
        # By names first, so that the readers of other formats are not imported.
        entries = {entry.name for entry in path.iterdir()}
        candidates = tuple(one for one in candidates if one.may_be_folder(path.name, entries))
    elif beside is not None:
        of_makers = (*MAKERS, *NOT_READ)
        candidates = tuple(one for one in candidates if one not in of_makers or one.may_be_file(path.name, beside))
        candidates = tuple(one for one in candidates if one not in NOT_READ)
    return next((one for one in candidates if one.recognises(path)), None)


def recognise(path: Path, config: RecordingConfig | None = None) -> RecordingFormat:
    """The format of a file or folder.

    Parameters
    ----------
    path : Path
        A file or folder.
    config : RecordingConfig or None
        As for `find_format`.

    Raises
    ------
    MissingRecordingError
        When nothing is there.
    UnknownFormatError
        When no format recognises it; a folder of files to concatenate is not a format either.
    UnreadableRecordingError
        When a file with a format's name is empty or damaged.
    ConfigError
        When the configuration names a format that does not exist.
    """
    recording_format = find_format(path, config)
    if recording_format is None:
        raise unknown_format(path, config)
    return recording_format


def unknown_format(path: Path, config: RecordingConfig | None = None) -> UnknownFormatError:
    """The error for something that is no recording, or none of the configured format."""
    if config is not None and config.format is not None:
        what = "holds no recording" if path.is_dir() else "is no recording"
        return UnknownFormatError(
            f"'{path}' {what} of the format '{config.format}', which recording.format asks for.",
            remedy="Correct recording.format, or set it to null to have the format recognised.",
        )
    reason = _why_not_read(path)
    if reason is not None:
        return UnknownFormatError(f"'{path}' holds no recording. {reason.message}", remedy=reason.remedy)
    known = "; ".join(recording_format.description for recording_format in FORMATS)
    what = "holds no recording" if path.is_dir() else "has no known format"
    return UnknownFormatError(
        f"'{path}' {what}.",
        remedy=f"Use one of: {known}; a plain binary file that recording.binary describes; or a folder of such files.",
    )


def _why_not_read(folder: Path) -> UnreadableRecordingError | None:
    """Why the first file of a folder that belongs to a known maker can't be opened; None where there is none."""
    entries = {entry.name: entry for entry in folder_entries(folder)} if folder.is_dir() else {}
    for name, entry in entries.items():
        for row in NOT_READ:
            if row.may_be_file(name, entries.keys()):
                try:
                    row.recognises(entry)
                except UnreadableRecordingError as reason:
                    return reason
    return None


def folder_entries(folder: Path) -> list[Path]:
    """What is directly inside a folder, in natural order ("part_2" before "part_10"), hidden files left out."""
    entries = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted(entries, key=lambda path: natural_order(path.name))


def folder_members(folder: Path, config: RecordingConfig | None = None) -> list[tuple[Path, RecordingFormat]]:
    """The recordings among the entries of a folder, each with its format; what is no recording is left out.

    Of plain binary files, those with one of `BINARY_SUFFIXES` are taken: a folder holds notes and probes as well.

    Raises
    ------
    UnreadableRecordingError
        When a file with a format's name is empty or damaged.
    ConfigError
        When the configuration names a format that does not exist.
    """
    entries = folder_entries(folder)
    if config is not None and config.binary is not None:
        entries = [path for path in entries if may_be_plain_binary(path.name)]
    names = {path.name for path in folder.iterdir()}
    members = ((path, _member_format(path, config, names)) for path in entries)
    return [(path, recording_format) for path, recording_format in members if recording_format is not None]


def _member_format(path: Path, config: RecordingConfig | None, beside: Set[str]) -> RecordingFormat | None:
    """The format of a file in a folder; by its name, where it is damaged and that is accepted."""
    try:
        return find_format(path, config, beside)
    except UnreadableRecordingError:
        if config is None or not config.accept_incomplete or path.is_dir():
            raise
        return next((one for one in _candidates(config) if one.may_be_file(path.name, beside)), None)


def sortable_streams(path: Path, config: RecordingConfig | None = None) -> tuple[str, ...]:
    """Names of the streams of which each is sorted on its own.

    Parameters
    ----------
    path : Path
        A file, or a folder of files to concatenate, which all have the streams of the first.
    config : RecordingConfig or None
        As for `find_format`.

    Returns
    -------
    tuple of str
        Empty when there is exactly one stream and no other can come, so that no name is needed.

    Raises
    ------
    RecordingError, ConfigError
        As `recognise` does.
    """
    recording_format = find_format(path, config)
    if recording_format is not None:
        members = [(path, recording_format)]
    else:
        members = folder_members(path, config) if path.is_dir() else []
    if not members:
        raise unknown_format(path, config)
    for member, member_format in members:
        try:
            streams = member_format.streams(member)
        except UnreadableRecordingError:
            # It is left out when the folder is opened.
            if config is None or not config.accept_incomplete or member == members[-1][0]:
                raise
        else:
            break
    return () if len(streams) == 1 and not member_format.may_grow else streams


def _candidates(config: RecordingConfig | None) -> tuple[RecordingFormat, ...]:
    """The formats that a path may have: one, where the configuration says which."""
    if config is not None and config.reader is not None:
        return (format_of_reader(config),)
    if config is None or (config.format is None and config.binary is None):
        return (*FORMATS, *NOT_READ)
    if config.binary is not None:
        return (_PLAIN_BINARY,)
    named = tuple(recording_format for recording_format in FORMATS if recording_format.name == config.format)
    if not named:
        raise ConfigError(
            f"recording.format is '{config.format}', and there is no such format.",
            remedy=f"Set it to one of: {', '.join(one.name for one in FORMATS)}; or describe a plain binary file in "
            "recording.binary.",
        )
    return named
