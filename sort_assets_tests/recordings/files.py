"""Damage done to files, and the same change to every format's file."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from probeinterface import Probe, ProbeGroup
from spikeinterface.core import BaseRecording, NumpyRecording


def cut_second_half(path: Path) -> None:
    """Lose the last half of the bytes, as an interrupted copy does."""
    os.truncate(path, path.stat().st_size // 2)


def tetrodes_at_one_place(recording: BaseRecording) -> BaseRecording:
    """The recording with its channels on tetrodes whose positions are counted within each, so that they coincide."""
    tetrodes = recording_of(recording.get_traces(), recording)
    probegroup = ProbeGroup()
    for first in range(0, recording.get_num_channels(), 4):
        probe = Probe(ndim=2)
        probe.set_contacts([[0, 0], [0, 20], [20, 0], [20, 20]], shapes="circle", shape_params={"radius": 6})
        probe.set_device_channel_indices(np.arange(first, first + 4))
        probegroup.add_probe(probe)
    tetrodes.set_probegroup(probegroup, check_overlap=False)
    return tetrodes


def recording_of(traces: np.ndarray, like: BaseRecording, *, gain_to_uv: float | None = 0.195) -> BaseRecording:
    """A recording with other samples on the same probe."""
    recording = NumpyRecording([traces], like.sampling_frequency, channel_ids=like.channel_ids)
    recording.set_probegroup(like.get_probegroup())
    if gain_to_uv is not None:
        recording.set_channel_gains(gain_to_uv)
        recording.set_channel_offsets(0.0)
    return recording


@contextmanager
def without_rights() -> Iterator[Path]:
    """A folder that everybody may read, and a process that has no more rights than others: root may read everything."""
    nobody = 65534
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        was = os.geteuid()
        if was == 0:
            os.chown(folder, nobody, nobody)
            os.seteuid(nobody)
        try:
            yield Path(folder)
        finally:
            for path in Path(folder).rglob("*"):
                path.chmod(0o755)
            os.seteuid(was)
