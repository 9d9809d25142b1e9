"""SpikeGLX runs of Neuropixels probes. A stream is the action potential band of one probe: "imec0.ap".

A recording is the folder of a run and gate (`run_g0`), with a folder for each probe (`run_g0_imec0`) or all files in
it, or the folder of one probe. Triggers (`t0`, `t1`) are segments. Samples may be compressed by mtscomp (`.cbin`), and
names carry identifiers, as in the archive of the International Brain Laboratory.

SpikeInterface's reader (neo, up to 0.14.6) opens all files below a folder at once: a probe that lacks a trigger or a
leftover file of another run prevents the others from opening, the original triggers follow CatGT's `tcat`, the
gains of a saved subset are those of the probe's first channels, and a file without the sync channel has no gain on
its last channel. Here only the files of the stream are read, and probeinterface reads the probe; where its table of
part numbers lacks the probe, the file's own statement of its sites (`snsGeomMap`) does.

Layout: https://billkarsh.github.io/SpikeGLX/Sgl_help/UserManual.html#output-file-format-and-tools and
https://billkarsh.github.io/SpikeGLX/Sgl_help/Metadata_30.html.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sort_assets.config import RecordingConfig
from sort_assets.errors import IncompatibleFilesError, UnreadableRecordingError
from sort_assets.recordings.clock_doubts import annotate_clock_doubts
from sort_assets.recordings.completeness import Missing
from sort_assets.recordings.formats.mtscomp_recording import MtscompRecording, count_compressed_samples
from sort_assets.recordings.formats.reading import (
    COPY_AGAIN,
    NOTHING_RECORDED,
    choose_stream,
    count_samples,
    natural_order,
    read_first_and_last_sample,
    readable,
)
from sort_assets.recordings.formats.spikeglx_clock import trigger_starts
from sort_assets.recordings.formats.spikeglx_files import Trigger, find_triggers, may_be_spikeglx_folder
from sort_assets.recordings.formats.spikeglx_other_bands import refuse_run_without_spikes
from sort_assets.recordings.formats.spikeglx_probe import (
    PUT_BACK,
    gains_uv,
    num_electrodes,
    read_meta,
    read_probe,
    saved_channels,
    were_aligned,
)
from sort_assets.recordings.formats.spikeglx_runs import run_rank
from sort_assets.recordings.formats.stated_numbers import stated_count, stated_rate
from sort_assets.recordings.probes import attach_neuropixels

if TYPE_CHECKING:
    from probeinterface import Probe
    from spikeinterface.core import BaseRecording

_SAME_IN_ALL_TRIGGERS = ("imSampRate", "nSavedChans", "snsSaveChanSubset", "imroTbl", "imDatPrb_pn", "imDatPrb_sn")


def is_spikeglx(path: Path) -> bool:
    """Whether a path is a folder of one run, or of one probe, that holds files of the action potential band.

    Raises
    ------
    UnreadableRecordingError
        When it only holds other bands.
    """
    if not path.is_dir() or not may_be_spikeglx_folder(path.name, {entry.name for entry in path.iterdir()}):
        return False
    if find_triggers(path)[0]:
        return True
    refuse_run_without_spikes(path)
    return False


def spikeglx_streams(path: Path) -> tuple[str, ...]:
    """Names of the probes' action potential bands, "imec0.ap" for example.

    Raises
    ------
    IncompatibleFilesError
        When the files of several runs, or two copies of the same, lie in one folder.
    """
    return tuple(_streams(path))


def spikeglx_left_out(path: Path) -> tuple[str, ...]:
    """Sentences about files of the run that are not read, since others hold the same samples."""
    inside = [entry.name for entry in path.iterdir() if run_rank(entry.name) and entry.is_dir()]
    return (
        *find_triggers(path)[1],
        *(f"'{name}' in it, which CatGT made, is not read: move it beside the run." for name in sorted(inside)),
    )


def open_spikeglx(path: Path, stream: str | None, config: RecordingConfig) -> BaseRecording:
    """Open the action potential band of one probe.

    Returns
    -------
    BaseRecording
        int16 counts with a segment for each trigger, without the sync channel. Channels are named as SpikeInterface
        names them ("imec0.ap#AP5"); `inter_sample_shift` is set where the probe's converters are known (0 where CatGT
        has aligned the channels), and `group` is
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
    broken = [name for name, found in streams.items() if not any(one.is_readable for one in found)]
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
        recording = _open(name, triggers, metas, sizes, starts_s, probe, config)
    annotate_clock_doubts(recording, doubts)
    read_first_and_last_sample(recording, path)
    missing.annotate(recording)
    return recording


def _streams(path: Path) -> dict[str, list[Trigger]]:
    """Stream name to triggers in the order in which they were recorded."""
    found, _ = find_triggers(path)
    runs = sorted({trigger.run for triggers in found.values() for trigger in triggers}, key=natural_order)
    if len(runs) > 1:
        raise IncompatibleFilesError(
            f"'{path}' holds files of {len(runs)} SpikeGLX runs: {', '.join(runs)}.",
            remedy="Move each run into a folder of its own.",
        )
    return {f"{probe}.ap": found[probe] for probe in sorted(found, key=natural_order)}


def _read_triggers(
    path: Path, name: str, triggers: Sequence[Trigger], missing: Missing
) -> tuple[list[Trigger], list[dict[str, str]]]:
    """The triggers of a probe, and the descriptions of their samples; without those of which a half is missing."""
    pairs = [
        (one.folder / one.stem, other.folder / other.stem)
        for one, other in pairwise(triggers)
        if (one.gate, one.trigger) == (other.gate, other.trigger)
    ] + [(copies[0], copies[1]) for one in triggers for copies in one.files.values() if len(copies) > 1]
    if pairs:
        raise IncompatibleFilesError(
            f"'{path}' holds the same gate and trigger twice: '{pairs[0][0]}' and '{pairs[0][1]}'.",
            remedy="Move one of the two copies out of the folder.",
        )
    whole = [trigger for trigger in triggers if _has_both_halves(trigger, missing)]
    if not whole:
        raise UnreadableRecordingError(f"'{path}' holds no samples of {name}.", remedy=NOTHING_RECORDED)
    return whole, [_read_meta(trigger) for trigger in whole]


def _has_both_halves(trigger: Trigger, missing: Missing) -> bool:
    if not trigger.has_samples:
        missing.note(f"'{next(iter(trigger.files.values()))[0]}' has no .bin beside it.")
        return False
    if "meta" not in trigger.files:
        missing.note(
            f"'{trigger.samples_path}' has no .meta beside it, which says how many channels there are.",
        )
        return False
    if "bin" not in trigger.files and "ch" not in trigger.files:
        missing.note(f"'{trigger.samples_path}' has no .ch beside it, which says how it was compressed.")
        return False
    return True


def _read_meta(trigger: Trigger) -> dict[str, str]:
    """The description of a trigger's samples, as texts."""
    with readable(trigger.meta_path):
        meta = read_meta(trigger.meta_path)
    missing = {"imSampRate", "nSavedChans", "snsApLfSy", "snsSaveChanSubset", "imAiRangeMax"} - set(meta)
    if missing:
        raise UnreadableRecordingError(
            f"'{trigger.meta_path}' is damaged or incomplete: it lacks {', '.join(sorted(missing))}.",
            remedy=COPY_AGAIN,
        )
    _check_numbers(meta, trigger.meta_path)
    return meta


def _check_numbers(meta: Mapping[str, str], meta_path: Path) -> None:
    """Check the fields that say which sample is which, so that all that follows can take them for numbers."""
    stated_rate(meta["imSampRate"], "imSampRate", meta_path)
    num_saved = stated_count(meta["nSavedChans"], "nSavedChans", meta_path, remedy=PUT_BACK, least=1)
    for field in ("fileSizeBytes", "firstSample"):
        if field in meta:
            stated_count(meta[field], field, meta_path, remedy=PUT_BACK)
    by_band = [stated_count(part, "snsApLfSy", meta_path, remedy=PUT_BACK) for part in meta["snsApLfSy"].split(",")]
    num_listed = len(saved_channels(meta, meta_path))
    if by_band[0] < 1 or sum(by_band) != num_saved or num_listed != num_saved:
        raise UnreadableRecordingError(
            f"'{meta_path}' contradicts itself: {num_saved} channels are saved (nSavedChans), {num_listed} are listed "
            f"(snsSaveChanSubset), and of {sum(by_band)} (snsApLfSy) {by_band[0]} are electrodes.",
            remedy=PUT_BACK,
        )


def _check_same(first: Trigger, first_meta: Mapping[str, str], other: Trigger, meta: Mapping[str, str]) -> None:
    for field in _SAME_IN_ALL_TRIGGERS:
        if meta.get(field) != first_meta.get(field):
            raise IncompatibleFilesError(
                f"'{other.meta_path}' can't be put behind '{first.meta_path.name}': {field} differs.",
                remedy="Move the files that were recorded with other settings into a folder of their own.",
            )


def _count(trigger: Trigger, meta: Mapping[str, str], missing: Missing) -> int:
    """Samples of a trigger, by the size of its file, with which its description has to agree."""
    # SpikeGLX adds the size when it closes the file; after a crash it is missing.
    stated = int(meta["fileSizeBytes"]) if "fileSizeBytes" in meta else None
    num_channels = int(meta["nSavedChans"])
    if "bin" in trigger.files:
        num_samples = count_samples(trigger.samples_path, num_channels, missing=missing)
        num_bytes = trigger.samples_path.stat().st_size
    else:
        whole = Missing(missing.accepted)
        num_samples = count_compressed_samples(trigger.samples_path, trigger.files["ch"][0], num_channels, whole)
        num_bytes = num_samples * num_channels * 2
        if whole.parts:
            missing.note(whole.parts[0])
            return num_samples
    if stated is not None and stated != num_bytes:
        what = "is truncated: it" if num_bytes < stated else "does not belong to its .meta: it"
        missing.note(f"'{trigger.samples_path}' {what} has {num_bytes} bytes, and its .meta says {stated}.")
    return num_samples


def _open(
    name: str,
    triggers: Sequence[Trigger],
    metas: Sequence[Mapping[str, str]],
    sizes: Sequence[int],
    starts_s: Sequence[float],
    probe: Probe | None,
    config: RecordingConfig,
) -> BaseRecording:
    meta = metas[0]
    rate_hz = float(meta["imSampRate"])
    num_saved = int(meta["nSavedChans"])
    num_ap = num_electrodes(meta)
    labels = [f"AP{channel}" for channel in saved_channels(meta, triggers[0].meta_path)[:num_ap]]
    channel_ids = [f"{name}#{label}" for label in labels]
    all_ids = channel_ids + [f"{name}#{index}" for index in range(num_ap, num_saved)]
    recording = _samples(triggers, sizes, starts_s, rate_hz, all_ids).select_channels(channel_ids)
    recording.set_channel_gains(gains_uv(triggers[0].meta_path, meta, probe, config))
    recording.set_channel_offsets(0.0)
    recording.set_property("channel_name", np.asarray(labels))
    if probe is not None:
        attach_neuropixels(recording, probe)
        if were_aligned(meta) and recording.get_property("inter_sample_shift") is not None:
            recording.set_property("inter_sample_shift", np.zeros(num_ap))
    return recording


def _samples(
    triggers: Sequence[Trigger],
    sizes: Sequence[int],
    starts_s: Sequence[float],
    rate_hz: float,
    channel_ids: Sequence[str],
) -> BaseRecording:
    """The samples of all channels in the files, a segment for each trigger."""
    from spikeinterface.core import BinaryRecordingExtractor, append_recordings

    if all("bin" in trigger.files for trigger in triggers):
        return BinaryRecordingExtractor(
            file_paths=[trigger.samples_path for trigger in triggers],
            sampling_frequency=rate_hz,
            num_channels=len(channel_ids),
            dtype="int16",
            t_starts=list(starts_s),
            channel_ids=list(channel_ids),
        )
    if any("bin" in trigger.files for trigger in triggers):
        parts = [
            _samples([trigger], [size], [start], rate_hz, channel_ids)
            for trigger, size, start in zip(triggers, sizes, starts_s, strict=True)
        ]
        return append_recordings(parts)
    return MtscompRecording(
        file_paths=[trigger.samples_path for trigger in triggers],
        header_paths=[trigger.files["ch"][0] for trigger in triggers],
        num_samples=sizes,
        sampling_frequency=rate_hz,
        channel_ids=channel_ids,
        t_starts=starts_s,
    )
