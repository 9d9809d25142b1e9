"""A plain binary whose number of channels is stated wrongly, and divides its size evenly."""

from pathlib import Path

import numpy as np
import pytest
from spikeinterface.core import BaseRecording

from sort_assets.config import BinaryConfig, RecordingConfig
from sort_assets.recordings.channel_count import inspect_channel_count


def _described(channels: int) -> RecordingConfig:
    return RecordingConfig(binary=BinaryConfig(sampling_hz=30_000, channels=channels, dtype="int16"), gain_to_uv=0.195)


@pytest.fixture
def with_fields(short: BaseRecording, tmp_path: Path) -> Path:
    """Sixteen channels with slow fields of their own beside noise and spikes."""
    steps = np.random.default_rng(0).normal(0, 20, (len(short.get_traces()), 16))
    fields = np.cumsum(steps, axis=0) - np.linspace(0, 1, len(steps))[:, None] * steps.sum(axis=0)
    path = tmp_path / "day.dat"
    (short.get_traces() + fields).clip(-30_000, 30_000).astype("int16").tofile(path)
    return path


@pytest.mark.parametrize("stated", [8, 12, 15, 20, 24])
def test_another_number_of_channels_is_told(stated: int, with_fields: Path) -> None:
    (result,) = inspect_channel_count(with_fields, _described(stated))

    assert not result.passed
    assert f"recording.binary.channels is {stated}" in result.description
    assert "alike every 16 values" in result.description


@pytest.mark.parametrize("stated", [16, 32])  # of two samples nothing is said: they are alike, too
def test_nothing_is_said_of_the_right_number(stated: int, with_fields: Path) -> None:
    assert inspect_channel_count(with_fields, _described(stated)) == []


@pytest.mark.parametrize("stated", [8, 16])
def test_nothing_is_said_where_nothing_is_alike(stated: int, short: BaseRecording, tmp_path: Path) -> None:
    short.get_traces().tofile(tmp_path / "day.dat")

    assert inspect_channel_count(tmp_path / "day.dat", _described(stated)) == []


def test_the_first_of_several_files_is_looked_at(with_fields: Path) -> None:
    with_fields.with_name("day_2.dat").write_bytes(b"")

    assert len(inspect_channel_count(with_fields.parent, _described(8))) == 1


def test_other_formats_are_not_asked(tmp_path: Path) -> None:
    assert inspect_channel_count(tmp_path / "day.nwb", RecordingConfig()) == []
