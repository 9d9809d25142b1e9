"""Damage done to files, and the same change to every format's file."""

import os
from pathlib import Path

import numpy as np
from spikeinterface.core import BaseRecording, NumpyRecording


def cut_second_half(path: Path) -> None:
    """Lose the last half of the bytes, as an interrupted copy does."""
    os.truncate(path, path.stat().st_size // 2)


def recording_of(traces: np.ndarray, like: BaseRecording, *, gain_to_uv: float | None = 0.195) -> BaseRecording:
    """A recording with other samples on the same probe."""
    recording = NumpyRecording([traces], like.sampling_frequency, channel_ids=like.channel_ids)
    recording.set_probegroup(like.get_probegroup())
    if gain_to_uv is not None:
        recording.set_channel_gains(gain_to_uv)
        recording.set_channel_offsets(0.0)
    return recording
