"""The reader of SpikeInterface that `recording.reader` names, whatever the recording's name is."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from sort_assets.config import RecordingConfig
from sort_assets.recordings.formats.recording_format import RecordingFormat, never

FOLDER_READERS = frozenset(
    {
        "alphaomega",
        "compressedbinaryibl",
        "mda",
        "neuralynx",
        "openephysbinary",
        "openephyslegacy",
        "spikeglx",
        "tdt",
    }
)
"""Readers whose recordings are folders; all others take a file."""
_NAME = "spikeinterface_reader"
_ALIASES = {"cbinibl": "compressedbinaryibl", "openephys": "openephysbinary"}


def reader_key(name: str) -> str:
    """SpikeInterface's key of a reader: "mcsh5" for itself and for the function's name, "read_mcsh5"."""
    key = name.lower().removeprefix("read_").removesuffix("_recording").replace("_", "")
    return _ALIASES.get(key, key)


def takes_folder(reader: str) -> bool:
    """Whether a reader's recordings are folders."""
    return reader_key(reader) in FOLDER_READERS


def format_of_reader(config: RecordingConfig) -> RecordingFormat:
    """The format that a configuration's `reader` and `arguments` make of any file or folder."""
    return RecordingFormat(
        _NAME,
        f"What SpikeInterface's reader '{config.reader}' opens",
        never,
        lambda name, entries: True,  # noqa: ARG005
        Path.exists,
        partial(_call, "chosen_streams", config),
        partial(_call, "open_chosen"),
    )


def _call(function: str, *arguments: Any) -> Any:
    return getattr(import_module("sort_assets.recordings.formats.chosen_reader_opening"), function)(*arguments)
