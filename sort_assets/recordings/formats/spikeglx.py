"""SpikeGLX runs of Neuropixels probes. A stream is the action potential band of one probe: "imec0.ap".

A recording is the folder of a run and gate (`run_g0`), with a folder for each probe (`run_g0_imec0`) or all files in
it, or the folder of one probe. Triggers (`t0`, `t1`) are segments.

SpikeInterface's reader (neo, up to 0.14.6) opens all files below a folder at once: a probe that lacks a trigger or a
leftover file of another run prevents the others from opening, the original triggers follow CatGT's `tcat`, the
gains of a saved subset are those of the probe's first channels, and a file without the sync channel has no gain on
its last channel. Here only the files of the stream are read, and probeinterface reads the probe; where its table of
part numbers lacks the probe, the file's own statement of its sites (`snsGeomMap`) does.

Layout: https://billkarsh.github.io/SpikeGLX/Sgl_help/UserManual.html#output-file-format-and-tools and
https://billkarsh.github.io/SpikeGLX/Sgl_help/Metadata_30.html.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sort_assets.config import RecordingConfig
from sort_assets.errors import IncompatibleFilesError, UnreadableRecordingError
from sort_assets.recordings.clock_doubts import annotate_clock_doubts
from sort_assets.recordings.completeness import Missing
from sort_assets.recordings.formats.reading import (
    COPY_AGAIN,
    NOTHING_RECORDED,
    check_rate,
    choose_stream,
    count_samples,
    natural_order,
    read_first_and_last_sample,
    readable,
)
from sort_assets.recordings.formats.spikeglx_clock import trigger_starts
from sort_assets.recordings.formats.spikeglx_probe import gains_uv, num_electrodes, read_probe
from sort_assets.recordings.probes import attach_neuropixels

if TYPE_CHECKING:
    from probeinterface import Probe
    from spikeinterface.core import BaseRecording

_AP_FILE = re.compile(
    r"(?!\.)(?P<run>.+?)(_g(?P<gate>\d+)_t(?P<trigger>\d+|cat))?\.(?P<probe>imec\d*)\.ap\.(?P<kind>bin|meta|cbin)"
)
_PROBE_FOLDER = re.compile(r"(?!\.)(?P<run>.+_g\d+)_imec\d*")
_RUN_FOLDER = re.compile(r"(?!\.|catgt_|supercat_).+_g\d+")
_CONCATENATED = -1
"""The number of a trigger for files in which CatGT concatenated all of them."""
_SAME_IN_ALL_TRIGGERS = ("imSampRate", "nSavedChans", "snsSaveChanSubset", "imroTbl", "imDatPrb_pn", "imDatPrb_sn")


@dataclass(frozen=True)
class _Trigger:
    """The files of one probe and one trigger.

    Attributes
    ----------
    run : str
    gate, trigger : int
    stem : Path
        Name of the files without their last suffix.
    kinds : frozenset of str
        Last suffixes of the files that are there.
    """

    run: str
    gate: int
    trigger: int
    stem: Path
    kinds: frozenset[str]

    @property
    def meta_path(self) -> Path:
        return self.stem.with_name(f"{self.stem.name}.meta")

    @property
    def bin_path(self) -> Path:
        return self.stem.with_name(f"{self.stem.name}.bin")


def may_be_spikeglx_folder(name: str, entries: Set[str]) -> bool:  # noqa: ARG001
    """Whether a folder with these entries looks like one run and gate, or one probe of it; not like several runs."""
    if any(_RUN_FOLDER.fullmatch(entry) for entry in entries):
        return False
    runs = {match["run"] for entry in entries if (match := _PROBE_FOLDER.fullmatch(entry))}
    return len(runs) == 1 or (not runs and any(_AP_FILE.fullmatch(entry) for entry in entries))


def is_spikeglx(path: Path) -> bool:
    """Whether a path is a folder of one run, or of one probe, that holds files of the action potential band."""
    if not path.is_dir() or not may_be_spikeglx_folder(path.name, {entry.name for entry in path.iterdir()}):
        return False
    return bool(_triggers(path))


def spikeglx_streams(path: Path) -> tuple[str, ...]:
    """Names of the probes' action potential bands, "imec0.ap" for example.

    Raises
    ------
    IncompatibleFilesError
        When the files of several runs, or two copies of the same, lie in one folder.
    """
    return tuple(_streams(path))


def open_spikeglx(path: Path, stream: str | None, config: RecordingConfig) -> BaseRecording:
    """Open the action potential band of one probe.

    Returns
    -------
    BaseRecording
        int16 counts with a segment for each trigger, without the sync channel. Channels are named as SpikeInterface
        names them ("imec0.ap#AP5"); `inter_sample_shift` is set where the probe's converters are known, and `group` is
        the shank on probes with several.

    Raises
    ------
    StreamError
        When the probe does not exist or must be named.
    UnreadableRecordingError
        When a file is missing, compressed, truncated or damaged.
    IncompatibleFilesError
        When triggers differ in channels, rate or probe, or the files of several runs lie in one folder.
    MissingProbeError
        When the probe is one that probeinterface does not know, and the files do not say where its sites are.
    RecordingError
        When nothing says how many microvolts a count is.
    """
    streams = _streams(path)
    broken = [name for name, found in streams.items() if not any({"meta", "bin"} <= one.kinds for one in found)]
    name = choose_stream(path, stream, tuple(streams), broken)
    missing = Missing(config.accept_incomplete)
    triggers, metas = _read_triggers(path, name, streams[name], missing)
    for trigger, meta in zip(triggers[1:], metas[1:], strict=True):
        _check_same(triggers[0], metas[0], trigger, meta)
    sizes = [_count(trigger, meta, missing) for trigger, meta in zip(triggers, metas, strict=True)]
    if missing.accepted and any(sizes):
        triggers = [trigger for trigger, size in zip(triggers, sizes, strict=True) if size]
        metas = [meta for meta, size in zip(metas, sizes, strict=True) if size]
        sizes = [size for size in sizes if size]
    probe = read_probe(triggers[0].meta_path, metas[0], config)
    with readable(triggers[0].meta_path):
        starts_s, doubts = trigger_starts(metas, sizes, float(metas[0]["imSampRate"]))
        recording = _open(name, triggers, metas, starts_s, probe, config)
    annotate_clock_doubts(recording, doubts)
    read_first_and_last_sample(recording, path)
    missing.annotate(recording)
    return recording


def _streams(path: Path) -> dict[str, list[_Trigger]]:
    """Stream name to triggers in the order in which they were recorded."""
    found = _triggers(path)
    runs = sorted({trigger.run for triggers in found.values() for trigger in triggers}, key=natural_order)
    if len(runs) > 1:
        raise IncompatibleFilesError(
            f"'{path}' holds files of {len(runs)} SpikeGLX runs: {', '.join(runs)}.",
            remedy="Move each run into a folder of its own.",
        )
    streams = {}
    for probe in sorted(found, key=natural_order):
        triggers = sorted(found[probe], key=lambda trigger: (trigger.gate, trigger.trigger))
        concatenated = [trigger for trigger in triggers if trigger.trigger == _CONCATENATED]
        streams[f"{probe}.ap"] = concatenated or triggers
    return streams


def _triggers(path: Path) -> dict[str, list[_Trigger]]:
    """Probe name to its triggers, of the files directly in the folder and in the folders of its probes."""
    entries = list(path.iterdir())
    files = entries + [
        file
        for folder in entries
        if _PROBE_FOLDER.fullmatch(folder.name) and folder.is_dir()
        for file in folder.iterdir()
    ]
    kinds: dict[Path, set[str]] = {}
    for file in files:
        if (match := _AP_FILE.fullmatch(file.name)) is not None:
            kinds.setdefault(file.with_name(file.name.removesuffix(f".{match['kind']}")), set()).add(match["kind"])
    found: dict[str, list[_Trigger]] = {}
    for stem, its_kinds in kinds.items():
        match = _AP_FILE.fullmatch(f"{stem.name}.bin")
        assert match is not None
        trigger = _CONCATENATED if match["trigger"] == "cat" else int(match["trigger"] or 0)
        found.setdefault(match["probe"], []).append(
            _Trigger(match["run"], int(match["gate"] or 0), trigger, stem, frozenset(its_kinds))
        )
    return {probe: triggers for probe, triggers in found.items() if not _is_in_shanks(probe, triggers, found)}


def _is_in_shanks(probe: str, triggers: Sequence[_Trigger], found: Mapping[str, object]) -> bool:
    """Whether a probe only has descriptions, and its samples are in a file for each shank: imec1020 to imec1023 of
    imec2 ("Write separate shanks").
    """
    number = probe.removeprefix("imec")
    only_described = all(trigger.kinds == {"meta"} for trigger in triggers)
    return (
        only_described and number.isdecimal() and any(f"imec{1000 + 10 * int(number) + n}" in found for n in range(4))
    )


def _read_triggers(
    path: Path, name: str, triggers: Sequence[_Trigger], missing: Missing
) -> tuple[list[_Trigger], list[dict[str, str]]]:
    """The triggers of a probe, and the descriptions of their samples; without those of which a half is missing."""
    for one, other in pairwise(triggers):
        if (one.gate, one.trigger) == (other.gate, other.trigger):
            raise IncompatibleFilesError(
                f"'{path}' holds the same gate and trigger twice: '{one.bin_path}' and '{other.bin_path}'.",
                remedy="Move one of the two copies out of the folder.",
            )
    whole = [trigger for trigger in triggers if _has_both_halves(trigger, missing)]
    if not whole:
        raise UnreadableRecordingError(f"'{path}' holds no samples of {name}.", remedy=NOTHING_RECORDED)
    return whole, [_read_meta(trigger) for trigger in whole]


def _has_both_halves(trigger: _Trigger, missing: Missing) -> bool:
    if "bin" not in trigger.kinds and "cbin" in trigger.kinds:
        raise UnreadableRecordingError(
            f"'{trigger.stem.name}.cbin' in '{trigger.stem.parent}' is compressed, and only the .bin can be read.",
            remedy="Decompress it with mtscomp (pip install mtscomp; mtsdecomp FILE.cbin -o FILE.bin; it needs the "
            ".ch beside it).",
        )
    if "bin" not in trigger.kinds:
        missing.note(f"'{trigger.meta_path}' has no .bin beside it.")
        return False
    if "meta" not in trigger.kinds:
        missing.note(
            f"'{trigger.bin_path}' has no .meta beside it, which says how many channels there are.",
        )
        return False
    return True


def _read_meta(trigger: _Trigger) -> dict[str, str]:
    """The description of a trigger's samples, as texts."""
    from probeinterface.neuropixels_tools import parse_spikeglx_meta

    with readable(trigger.meta_path):
        meta: dict[str, str] = parse_spikeglx_meta(trigger.meta_path)
        missing = {"imSampRate", "nSavedChans", "snsApLfSy", "snsSaveChanSubset", "imAiRangeMax"} - set(meta)
        if missing:
            raise UnreadableRecordingError(
                f"'{trigger.meta_path}' is damaged or incomplete: it lacks {', '.join(sorted(missing))}.",
                remedy=COPY_AGAIN,
            )
        check_rate(float(meta["imSampRate"]), trigger.meta_path)
    return meta


def _check_same(first: _Trigger, first_meta: Mapping[str, str], other: _Trigger, meta: Mapping[str, str]) -> None:
    for field in _SAME_IN_ALL_TRIGGERS:
        if meta.get(field) != first_meta.get(field):
            raise IncompatibleFilesError(
                f"'{other.meta_path}' can't be put behind '{first.meta_path.name}': {field} differs.",
                remedy="Move the files that were recorded with other settings into a folder of their own.",
            )


def _count(trigger: _Trigger, meta: Mapping[str, str], missing: Missing) -> int:
    """Samples of a trigger, by the size of its file, with which its description has to agree."""
    with readable(trigger.meta_path):
        num_channels = int(meta["nSavedChans"])
        # SpikeGLX adds the size when it closes the file; after a crash it is missing.
        stated = int(meta["fileSizeBytes"]) if "fileSizeBytes" in meta else None
        if num_channels < 1:
            raise ValueError(f"nSavedChans is {num_channels}")
    num_samples = count_samples(trigger.bin_path, num_channels, missing=missing)
    num_bytes = trigger.bin_path.stat().st_size
    if stated is not None and stated != num_bytes:
        what = "is truncated: it" if num_bytes < stated else "does not belong to its .meta: it"
        missing.note(f"'{trigger.bin_path}' {what} has {num_bytes} bytes, and its .meta says {stated}.")
    return num_samples


def _open(
    name: str,
    triggers: Sequence[_Trigger],
    metas: Sequence[Mapping[str, str]],
    starts_s: Sequence[float],
    probe: Probe | None,
    config: RecordingConfig,
) -> BaseRecording:
    from probeinterface.neuropixels_tools import get_saved_channel_indices_from_spikeglx_meta
    from spikeinterface.core import BinaryRecordingExtractor

    meta = metas[0]
    rate_hz = float(meta["imSampRate"])
    num_saved = int(meta["nSavedChans"])
    num_ap = num_electrodes(meta)
    saved = get_saved_channel_indices_from_spikeglx_meta(triggers[0].meta_path)
    if not 0 < num_ap <= num_saved or len(saved) != num_saved:
        raise UnreadableRecordingError(
            f"'{triggers[0].meta_path}' contradicts itself: {num_saved} channels are saved, {len(saved)} are listed, "
            f"and {num_ap} are electrodes.",
            remedy="Put back the .meta that SpikeGLX wrote beside this .bin: it was edited, or is of another file.",
        )
    labels = [f"AP{channel}" for channel in saved[:num_ap]]
    channel_ids = [f"{name}#{label}" for label in labels]
    recording = BinaryRecordingExtractor(
        file_paths=[trigger.bin_path for trigger in triggers],
        sampling_frequency=rate_hz,
        num_channels=num_saved,
        dtype="int16",
        t_starts=list(starts_s),
        channel_ids=channel_ids + [f"{name}#{index}" for index in range(num_ap, num_saved)],
    ).select_channels(channel_ids)
    recording.set_channel_gains(gains_uv(triggers[0].meta_path, meta, probe, config))
    recording.set_channel_offsets(0.0)
    recording.set_property("channel_name", np.asarray(labels))
    if probe is not None:
        attach_neuropixels(recording, probe)
    return recording
