"""The formats of makers that are read through SpikeInterface: how each is found, recognised and opened.

Only names and first bytes are looked at here; `makers_readers.py` opens them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from sort_assets.recordings.formats.first_bytes import begins_with, begins_with_text, has_groups, holds_file
from sort_assets.recordings.formats.recording_format import RecordingFormat, beside_it, ending, holding, never


@dataclass(frozen=True)
class Reader:
    """How SpikeInterface's reader is used.

    Attributes
    ----------
    extractor : str
        Key of the reader in `spikeinterface.extractors.extractor_classes.recording_extractor_full_dict`.
    package : str
        What the reader imports beside SpikeInterface and neo; "" for nothing.
    pip_name : str
        The package's name for pip, where it differs.
    arguments : Mapping[str, Any]
        Of the extractor, beside the path and the stream.
    left_out : frozenset of str
        Ids of neo's streams that hold no electrodes.
    copies : Mapping[str, str]
        Streams that are the filtered copy of another, which is sorted if it is there.
    gains : str
        "stated" by the file; "none" where neo states one without knowing; "inverted" where neo has its reciprocal.
    """

    extractor: str
    package: str = ""
    pip_name: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    left_out: frozenset[str] = frozenset()
    copies: Mapping[str, str] = field(default_factory=dict)
    gains: Literal["stated", "none", "inverted"] = "stated"


READERS = {
    # Without a tolerance neo refuses files of the Precision Time Protocol that have gaps, which their clock follows.
    "blackrock": Reader("blackrock", arguments={"gap_tolerance_ms": 1e12}),
    "neuralynx": Reader("neuralynx"),
    "plexon2": Reader("plexon2", package="zugbruecke", left_out=frozenset({"AI", "AIF"}), copies={"SPKC": "WB"}),
    "spikegadgets": Reader("spikegadgets"),
    "biocam": Reader("biocam"),
    "mcsraw": Reader("mcsraw"),
    "spike2": Reader("spike2"),
    "ced": Reader("ced", package="sonpy"),
    "edf": Reader("edf", package="pyedflib", pip_name="pyEDFlib"),
    "neuroscope": Reader("neuroscope"),
    # neo (up to 0.14.6) states 1 microvolt for whatever was stored (NeuralEnsemble/python-neo#1369).
    "tdt": Reader("tdt", gains="none"),
    "open_ephys_legacy": Reader("openephyslegacy", left_out=frozenset({"AUX", "ADC"})),
    # neo (up to 0.14.6) divides the amplification by the bit's voltage, in place of the bit's voltage by it.
    "alphaomega": Reader(
        "alphaomega", left_out=frozenset({"ACC", "AI", "UD"}), copies={"SPK": "RAW"}, gains="inverted"
    ),
    "axona": Reader("axona"),
    "neuronexus": Reader("neuronexus", left_out=frozenset({"din", "dout", "aux"})),
    "nix": Reader("nix", package="nixio"),
    "mearec": Reader("mearec", package="MEArec"),
}
"""By the name of the format."""


def _row(
    name: str,
    description: str,
    may_be_file: Callable[[str, Set[str]], bool],
    may_be_folder: Callable[[str, Set[str]], bool],
    recognises: Callable[[Path], bool],
) -> RecordingFormat:
    streams, opened = partial(_call, "makers_streams", name), partial(_call, "open_makers", name)
    return RecordingFormat(name, description, may_be_file, may_be_folder, recognises, streams, opened)


def _call(function: str, *arguments: Any) -> Any:
    return getattr(import_module("sort_assets.recordings.formats.makers_readers"), function)(*arguments)


def _call_plexon(function: str, *arguments: Any) -> Any:
    return getattr(import_module("sort_assets.recordings.formats.plexon"), function)(*arguments)


_NSX = tuple(f".ns{number}" for number in range(1, 7))
_FAST_NSX = (".ns4", ".ns5", ".ns6")


def _is_fastest_nsx(name: str, beside: Set[str]) -> bool:
    """Field potentials (.ns1 to .ns3) beside a faster file are a part of that one's session."""
    return name.lower().endswith(_FAST_NSX) or not beside_it(name, beside, *_FAST_NSX)


def _has_xml(name: str, beside: Set[str]) -> bool:
    return beside_it(name, beside, ".xml")


def _has_neuroscope_xml(path: Path) -> bool:
    xml = path.with_suffix(".xml")
    return path.suffix.lower() == ".dat" and begins_with_text((".xml",), b"<acquisitionSystem")(xml)


def _has_set(name: str, beside: Set[str]) -> bool:
    return beside_it(name, beside, ".set")


def _has_axona_set(path: Path) -> bool:
    return path.with_suffix(".set").is_file() and begins_with((".bin",), b"ADU", foreign=True)(path)


MAKERS = (
    _row(
        "blackrock",
        "Blackrock and Ripple (.ns1 to .ns6)",
        ending(*_NSX, also=_is_fastest_nsx),
        never,
        begins_with(_NSX, b"NEURALSG", b"NEURALCD", b"BRSMPGRP"),
    ),
    _row("neuralynx", "Neuralynx (folder with .ncs)", never, holding(".ncs"), holds_file((".ncs",), b"####")),
    RecordingFormat(
        "plexon",
        "Plexon (.plx)",
        ending(".plx"),
        never,
        begins_with((".plx",), b"PLEX"),
        partial(_call_plexon, "plexon_streams"),
        partial(_call_plexon, "open_plexon"),
    ),
    _row("plexon2", "Plexon (.pl2)", ending(".pl2"), never, begins_with((".pl2",))),
    _row(
        "spikegadgets",
        "SpikeGadgets Trodes (.rec)",
        ending(".rec"),
        never,
        begins_with((".rec",), b"<?xml", b"<Configuration", foreign=True),
    ),
    _row(
        "biocam",
        "3Brain BrainWave (.brw)",
        ending(".brw"),
        never,
        has_groups((".brw",), ("3BRecInfo",), ("ExperimentSettings",), ("ExperimentInfo",)),
    ),
    _row(
        "mcsraw",
        "Multi Channel Systems, MC_DataTool (.raw)",
        ending(".raw"),
        never,
        begins_with((".raw",), b"MCS MC_DataTool", foreign=True),
    ),
    _row(
        "mcsh5",
        "Multi Channel Systems, DataManager (.h5)",
        ending(".h5"),
        never,
        has_groups((".h5",), ("Data/Recording_0/AnalogStream",)),
    ),
    _row("spike2", "CED Spike2 (.smr)", ending(".smr"), never, begins_with((".smr",), b"(C) CED", at=2)),
    _row("ced", "CED Spike2 (.smrx)", ending(".smrx"), never, begins_with((".smrx",))),
    _row("edf", "European Data Format (.edf)", ending(".edf"), never, begins_with((".edf",), b"0   ", foreign=True)),
    _row("neuroscope", "Neuroscope (.dat with .xml)", ending(".dat", also=_has_xml), never, _has_neuroscope_xml),
    _row("tdt", "Tucker-Davis block (folder with .tsq)", never, holding(".tsq"), holds_file((".tsq",))),
    _row(
        "open_ephys_legacy",
        "Open Ephys before 0.6 (folder with .continuous)",
        never,
        holding(".continuous"),
        holds_file((".continuous",), b"header.format"),
    ),
    _row("alphaomega", "Alpha Omega (folder with .mpx)", never, holding(".mpx"), holds_file((".mpx",))),
    _row("axona", "Axona raw data (.bin with .set)", ending(".bin", also=_has_set), never, _has_axona_set),
    _row("neuronexus", "NeuroNexus Allego (_data.xdat)", ending("_data.xdat"), never, begins_with(("_data.xdat",))),
    _row("nix", "NIX (.nix)", ending(".nix"), never, has_groups((".nix",), ("format", "data"))),
    _row(
        "mearec",
        "MEArec simulation (.h5)",
        ending(".h5"),
        never,
        has_groups((".h5",), ("info", "recordings", "channel_positions")),
    ),
)
"""Rows of the table of formats."""
