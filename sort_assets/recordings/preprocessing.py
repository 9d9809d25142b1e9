"""From the raw recording to the one that is sorted: a lazy chain in microvolts.

The order is fixed, and each place has its reason:

1. time range: nothing outside it may influence what follows;
2. gain and offset, then microvolts as float32: from here on, unsigned and signed samples of any gain are alike, and
   no step rounds or overflows;
3. bad channels, detected before any filter: the method reads frequencies that a band-pass takes away, and a common
   reference or a spatial filter must not see the bad ones;
4. a straight line at each join of pieces, in which the signal jumps, so that no filter makes a wave of the step;
5. the steps, with the band-pass first unless a filter stands among them. `phase_shift` may follow the band-pass:
   both are linear and the same at all times, so their order does not matter;
6. the lines are taken out again, or zeros take their place (`recording.gaps: zeros`).
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sort_assets.config import RecordingConfig
from sort_assets.errors import RecordingError, TooShortRecordingError
from sort_assets.recordings.bad_channels import check_channel_ids, detect_bad_channels, remove_channels
from sort_assets.recordings.bridges import add_bridges, annotate_filled, plan_bridges, remove_bridges
from sort_assets.recordings.clock import annotate_clocks, recording_clock
from sort_assets.recordings.clock_doubts import annotate_order_doubts
from sort_assets.recordings.files_in_time import doubts_about_order
from sort_assets.recordings.opening import (
    annotate_boundaries,
    annotate_left_out_of,
    boundaries,
    cut_boundaries,
    join_segments,
)
from sort_assets.recordings.steps import (
    CORRECT_MOTION,
    INTERPOLATE_MOTION,
    apply_steps,
    freeze_band_pass,
    freeze_motion,
    planned_steps,
)

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

LABELS_FILE = "bad_channels.json"
"""File in the folder of `freeze`: why each channel was dropped."""
_FEWEST_SAMPLES = 100
"""Filters, which also look for bad channels, need some tens of samples (scipy's padlen: 33 for the band-pass)."""
LISTED = "listed"
"""Label of a channel that a person listed as bad."""


def prepare(
    recording: BaseRecording, config: RecordingConfig, frozen_folder: Path | None = None, n_jobs: int = 1
) -> BaseRecording:
    """Apply a configuration to a raw recording.

    Lazy, except for what is estimated from the data: bad channels when `config.bad_channels` is "auto", and motion.
    `freeze` makes those estimates once.

    Parameters
    ----------
    recording : BaseRecording
        From `open_recording`, or any other; it is not changed.
    config : RecordingConfig
        What to do.
    frozen_folder : Path or None
        The folder given to `freeze`, wherever it is now, when `config` is what `freeze` returned.
    n_jobs : int
        Threads for what is estimated; they do not change the result.

    Returns
    -------
    BaseRecording
        float32 in microvolts (gain 1, offset 0), single segment, shape (samples, channels) when read. Its annotation
        `removed_channels` maps the ids of dropped channels, as text, to "dead", "noise" or "listed"; `boundaries`
        reads the pieces of which it consists.

    Raises
    ------
    RecordingError
        When the time range lies outside the recording or the gain is not known.
    BadChannelsError
        When a listed channel does not exist, or all are bad.
    ConfigError
        When a step does not exist or can't be built.
    """
    scaled = _to_microvolts(cut_to_range(join_segments(recording), config), config)
    bridges = plan_bridges(scaled, config)
    cleaned = _remove_bad_channels(scaled, _bad_channels(scaled, config, frozen_folder, n_jobs))
    prepared = add_bridges(cleaned, bridges)
    prepared = apply_steps(prepared, planned_steps(config), frozen_folder=frozen_folder, n_jobs=n_jobs)
    prepared = remove_bridges(prepared, bridges, int(scaled.get_num_samples()))
    annotate_filled(prepared, scaled, bridges)
    return _finish(prepared, int(scaled.get_num_samples()) + sum(one.length for one in bridges if one.filled))


def freeze(recording: BaseRecording, config: RecordingConfig, folder: Path, n_jobs: int = 1) -> RecordingConfig:
    """Estimate from the data what a configuration leaves open, and store it.

    Parameters
    ----------
    recording : BaseRecording
        As for `prepare`.
    config : RecordingConfig
        What to do.
    folder : Path
        An existing folder that receives the estimates; it may be moved afterwards.
    n_jobs : int
        As for `prepare`.

    Returns
    -------
    RecordingConfig
        The same with nothing left to estimate: the bad channels are listed, and "correct_motion" is replaced by
        "interpolate_motion". With it, ``prepare(recording, frozen, folder)`` makes the same recording at once.

    Raises
    ------
    RecordingError, ConfigError
        As `prepare` does.
    TooShortRecordingError
        When there are too few samples for any filter.
    """
    _refuse_few_samples(recording, config)
    scaled = _to_microvolts(cut_to_range(join_segments(recording), config), config)
    bridges = plan_bridges(scaled, config)
    labels = _bad_channels(scaled, config, None, n_jobs)
    (folder / LABELS_FILE).write_text(json.dumps(labels, indent=1), encoding="utf-8")
    freeze_band_pass(folder)
    frozen = config
    if config.bad_channels == "auto":
        frozen = _changed(config, bad_channels="list", bad_channel_ids=tuple(labels))
    if CORRECT_MOTION not in config.preprocessing:
        return frozen

    motion_input = add_bridges(_remove_bad_channels(scaled, labels), bridges)
    steps = list(planned_steps(config).items())
    at = [name for name, _ in steps].index(CORRECT_MOTION)
    motion_input = apply_steps(motion_input, dict(steps[:at]), frozen_folder=None, n_jobs=n_jobs)
    _, interpolation = freeze_motion(motion_input, steps[at][1], folder, n_jobs)
    preprocessing = {
        INTERPOLATE_MOTION if name == CORRECT_MOTION else name: interpolation if name == CORRECT_MOTION else params
        for name, params in config.preprocessing.items()
    }
    return _changed(frozen, preprocessing=preprocessing)


def _refuse_few_samples(recording: BaseRecording, config: RecordingConfig) -> None:
    num_samples = int(cut_to_range(join_segments(recording), config).get_num_samples())
    if num_samples < _FEWEST_SAMPLES:
        raise TooShortRecordingError(
            f"The recording has {num_samples} samples of each channel, too few for a filter.",
            remedy="There is nothing to sort in it: leave it alone with a rule.",
            num_samples=num_samples,
        )


def _changed(config: RecordingConfig, **fields: object) -> RecordingConfig:
    return RecordingConfig.model_validate({**config.model_dump(), **fields})


def cut_to_range(recording: BaseRecording, config: RecordingConfig) -> BaseRecording:
    """The part of a recording that is configured to be sorted, with its boundaries and its clock.

    Parameters
    ----------
    recording : BaseRecording
        Of one segment.
    config : RecordingConfig
        Its `start_s`, `end_s` and `first_minutes` are read.

    Raises
    ------
    RecordingError
        When the range is empty, or leads outside the recording.
    """
    rate_hz = recording.sampling_frequency
    num_samples = int(recording.get_num_samples())
    start = round(config.start_s * rate_hz)
    end = num_samples if config.end_s is None else round(config.end_s * rate_hz)
    if start >= num_samples or end > num_samples or start >= end:
        asked = f"{config.start_s:g} s to {'the end' if config.end_s is None else f'{config.end_s:g} s'}"
        raise RecordingError(
            f"The time range from {asked} is empty or leads outside the recording, which lasts "
            f"{num_samples / rate_hz:.3f} s.",
            remedy="Set recording.start_s and recording.end_s within the recording, in seconds from its first sample.",
        )
    if config.first_minutes is not None:
        end = min(end, start + max(1, round(config.first_minutes * 60 * rate_hz)))
    pieces = cut_boundaries(boundaries(recording), start, end, rate_hz)
    # Sliced even when nothing is cut off: what follows annotates a view, not the caller's recording.
    cut = recording.frame_slice(start, end)
    annotate_boundaries(cut, pieces)
    clock = recording_clock(recording)
    annotate_clocks(cut, [clock.cut(start, end)])
    if (start, end) != (0, num_samples):
        annotate_left_out_of(cut, recording, start, end)
        annotate_order_doubts(cut, doubts_about_order(recording, clock, boundaries(recording), (start, end)))
    return cut


def _to_microvolts(recording: BaseRecording, config: RecordingConfig) -> BaseRecording:
    from spikeinterface.preprocessing import scale

    gains, offsets = recording.get_channel_gains(), recording.get_channel_offsets()
    if config.gain_to_uv is not None:
        if gains is not None and offsets is not None:
            # The file's offset is a count, in microvolts by the file's own gain.
            is_usable = np.isfinite(gains) & (gains != 0)
            offsets = offsets * np.divide(config.gain_to_uv, gains, out=np.ones_like(gains), where=is_usable)
        gains = np.full(recording.get_num_channels(), config.gain_to_uv)
    if config.offset_to_uv is not None:
        offsets = np.full(recording.get_num_channels(), config.offset_to_uv)
    if gains is None:
        raise RecordingError(
            "The recording does not say how many microvolts a count is.",
            remedy="Set recording.gain_to_uv, to 1 if the samples already are microvolts.",
        )
    if offsets is None:
        offsets = np.zeros(recording.get_num_channels())
    # float32 holds unsigned counts of up to 24 bits exactly, so that they need not be made signed first.
    scaled = scale(recording, gain=gains, offset=offsets, dtype="float32")
    scaled.set_channel_gains(1.0)
    scaled.set_channel_offsets(0.0)
    return scaled


def _bad_channels(
    scaled: BaseRecording, config: RecordingConfig, frozen_folder: Path | None, n_jobs: int
) -> dict[str, str]:
    """Label of each channel that is to be dropped, by its id as text."""
    if config.bad_channels == "none":
        return {}
    if config.bad_channels == "auto":
        return detect_bad_channels(scaled, config.bad_channel_seed, n_jobs)
    check_channel_ids(scaled, config.bad_channel_ids)
    known: dict[str, str] = {}
    if frozen_folder is not None and (frozen_folder / LABELS_FILE).is_file():
        known = json.loads((frozen_folder / LABELS_FILE).read_text(encoding="utf-8"))
    return {channel_id: known.get(channel_id, LISTED) for channel_id in config.bad_channel_ids}


def _remove_bad_channels(scaled: BaseRecording, labels: dict[str, str]) -> BaseRecording:
    kept = remove_channels(scaled, tuple(labels))
    kept.annotate(removed_channels=labels)
    return kept


def _finish(prepared: BaseRecording, expected_samples: int) -> BaseRecording:
    """Restore what `prepare` promises, whatever the steps did to type, gains and rate."""
    from spikeinterface.preprocessing import astype

    if prepared.dtype != np.float32:
        prepared = astype(prepared, "float32")
    prepared.set_channel_gains(1.0)
    prepared.set_channel_offsets(0.0)
    num_samples = int(prepared.get_num_samples())
    ratio = num_samples / expected_samples
    if ratio != 1:
        pieces = [
            replace(piece, start_sample=round(piece.start_sample * ratio), end_sample=round(piece.end_sample * ratio))
            for piece in boundaries(prepared)
        ]
        annotate_boundaries(prepared, pieces)
        annotate_clocks(prepared, [recording_clock(prepared).resampled(num_samples)])
    return prepared
