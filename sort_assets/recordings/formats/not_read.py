"""Files of makers that hold recordings, or parts of one, and can't be opened: why, and what to do.

They are found by a scan so that nobody has to ask why a recording is not there.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

from sort_assets.config import RecordingConfig
from sort_assets.errors import UnreadableRecordingError
from sort_assets.recordings.formats.first_bytes import begins_with
from sort_assets.recordings.formats.recording_format import RecordingFormat, beside_it, ending, holding, never
from sort_assets.recordings.formats.spikeglx_other_bands import may_be_without_spikes, refuse_without_spikes

_NAME_THE_FOLDER = (
    "Name the folder that holds it instead. Where that is the recordings root itself, move the recording's files into "
    "a folder of their own."
)
_EXPORT = "in the maker's program, or write the samples to a plain binary file and describe it in recording.binary."


@dataclass(frozen=True)
class _Reason:
    """Why files with some suffixes can't be opened: `what` goes on after the file's name."""

    suffixes: tuple[str, ...]
    what: str
    remedy: str
    unless_beside: tuple[str, ...] = ()
    beginnings: tuple[bytes, ...] = ()
    in_folder: bool = False
    """A scan says it once of the folder, which holds a file for each channel."""


_REASONS = (
    _Reason((".ncs",), "is one channel of a Neuralynx recording, which is a folder.", _NAME_THE_FOLDER),
    _Reason((".continuous",), "is one channel of an Open Ephys recording, which is a folder.", _NAME_THE_FOLDER),
    _Reason((".tsq",), "is one file of a Tucker-Davis block, which is a folder.", _NAME_THE_FOLDER),
    _Reason(
        (".sev",),
        "is one channel that Tucker-Davis' streamer wrote, and the block's .tsq and .Tbk are not beside it.",
        "Copy the block's other files to the same folder, which is then the recording.",
        in_folder=True,
    ),
    _Reason((".mpx",), "is one file of an Alpha Omega recording, which is a folder.", _NAME_THE_FOLDER),
    _Reason(
        (".nev",),
        "holds spikes and events, and no samples: no .ns1 to .ns6 of the same name is beside it.",
        "Copy the .nsX files to it as well. If none were recorded, ignore it with a rule.",
        unless_beside=(".ns1", ".ns2", ".ns3", ".ns4", ".ns5", ".ns6"),
        beginnings=(b"NEURALEV", b"BREVENTS"),
    ),
    _Reason(
        (".nse", ".ntt", ".nst"),
        "holds spikes that Neuralynx cut out, and no samples in between: no .ncs is in its folder.",
        "Copy the .ncs files to it as well. If none were recorded, ignore it with a rule.",
        beginnings=(b"####",),
    ),
    _Reason(
        (".nrd",),
        "holds Neuralynx' raw data, which no reader of ours opens.",
        "Replay it in Cheetah or Pegasus to .ncs files, and put them into a folder.",
    ),
    _Reason(
        (".nf3", ".nf4", ".nf5", ".nf6"),
        "holds samples as Ripple's floating-point numbers, which no reader of ours opens.",
        f"Record or export .ns5 or .ns6 {_EXPORT}",
        unless_beside=(".ns5", ".ns6"),
        beginnings=(b"NEURALCD", b"BRSMPGRP", b"NEUCDFLT"),
    ),
    _Reason(
        (".mcd",),
        "is a file of MC_Rack, which no reader of ours opens.",
        "Convert it: with Multi Channel DataManager to HDF5 (.h5), or with MC_DataTool to .raw with its header.",
        unless_beside=(".h5", ".raw"),
    ),
    _Reason(
        (".msrd",),
        "is a file of Multi Channel Experimenter, which no reader of ours opens.",
        "Export it with Multi Channel DataManager to HDF5 (.h5).",
        unless_beside=(".h5",),
    ),
    _Reason(
        (".bxr",),
        "holds the results of BrainWave, and no samples.",
        "Copy the .brw file that they were made of. If there is none, ignore it with a rule.",
        unless_beside=(".brw",),
    ),
    _Reason(
        (".ddt",),
        "is a file of Plexon that no reader of ours opens.",
        f"Export it as .plx {_EXPORT}",
        unless_beside=(".plx", ".pl2"),
    ),
    _Reason(
        (".nex",),
        "is a file of NeuroExplorer, of which SpikeInterface would read each channel as a recording of its own, "
        "without the gaps.",
        f"Register the recording that it was made of, or export that {_EXPORT} If there is none, ignore it with a "
        "rule.",
        unless_beside=(".plx", ".pl2"),
        beginnings=(b"NEX1",),
    ),
    _Reason(
        (".abf",),
        "is a file of Axon's pCLAMP, whose recordings are mostly of single cells and are not sorted unasked.",
        "If it holds spikes of many cells, set recording.reader to axon and recording.probe_file for it, in a rule or "
        "in a sidecar. Otherwise ignore it with a rule.",
        beginnings=(b"ABF",),
    ),
    _Reason((".nex5",), "is a file of NeuroExplorer 5 that no reader of ours opens.", f"Export it as .plx {_EXPORT}"),
    _Reason(
        (".bdf",),
        "has samples of 24 bits, of which neo (up to 0.14.6) would read the lower 16.",
        f"Export it as .edf {_EXPORT}",
        unless_beside=(".edf",),
        beginnings=(b"\xffBIOSEMI",),
    ),
    _Reason(
        (".set",),
        "holds Axona's settings, and the .bin of the same name with the raw data is not beside it.",
        "Copy the .bin file as well. If only spikes and EEG were recorded, ignore it with a rule.",
        unless_beside=(".bin",),
        beginnings=(b"trial_date",),
    ),
    _Reason(
        (".xdat.json",),
        "describes an Allego recording whose _data.xdat is not beside it.",
        "Copy all files of the recording.",
    ),
    _Reason(
        (".kwd",),
        "is of Open Ephys' Kwik format, which no reader of ours opens.",
        "Convert it to NWB or to a plain binary file that recording.binary describes.",
    ),
    _Reason(
        ("raw.mda",),
        "is of MountainSort, and no format of ours.",
        "Set recording.reader to mda for the folder that holds it, in a rule or in a sidecar of the folder.",
    ),
)


def _row(reason: _Reason) -> RecordingFormat:
    # Others use the suffix too, where the beginning is known.
    is_one = begins_with(reason.suffixes, *reason.beginnings, foreign=bool(reason.beginnings))

    in_folder = holding(*reason.suffixes) if reason.in_folder else never
    may_be_file = ending(*reason.suffixes, also=lambda name, beside: not _has_samples(name, beside, reason))

    def recognises(path: Path) -> bool:
        if reason.in_folder and path.is_dir():
            first = next((one for one in sorted(path.iterdir()) if one.name.lower().endswith(reason.suffixes)), None)
            if first is None:
                return False
            raise UnreadableRecordingError(f"'{first}' {reason.what}", remedy=reason.remedy)
        if not path.name.lower().endswith(reason.suffixes) or not path.is_file():
            return False
        if _has_samples(path.name, {entry.name for entry in path.parent.iterdir()}, reason) or not is_one(path):
            return False
        raise UnreadableRecordingError(f"'{path}' {reason.what}", remedy=reason.remedy)

    return RecordingFormat(reason.suffixes[0], reason.what, may_be_file, in_folder, recognises, _no_streams, _refuse)


def _has_samples(name: str, beside: Set[str], reason: _Reason) -> bool:
    if name.lower().endswith(".xdat.json"):
        return f"{name[: -len('.xdat.json')]}_data.xdat" in beside
    return bool(reason.unless_beside) and beside_it(name, beside, *reason.unless_beside)


def _no_streams(path: Path) -> tuple[str, ...]:  # noqa: ARG001
    return ()


def _refuse(path: Path, stream: str | None, config: RecordingConfig) -> None:  # noqa: ARG001
    raise UnreadableRecordingError(f"'{path}' can't be opened.", remedy="Convert it to a format that can.")


NOT_READ: tuple[RecordingFormat, ...] = (
    *map(_row, _REASONS),
    RecordingFormat(
        ".meta",
        "is of a SpikeGLX run without action potentials.",
        ending(".meta", also=may_be_without_spikes),
        never,
        refuse_without_spikes,
        _no_streams,
        _refuse,
    ),
)
"""What a scan names, and nothing opens: `recognises` raises the reason."""
