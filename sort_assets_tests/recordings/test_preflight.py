from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from probeinterface import Probe
from spikeinterface.core import BaseRecording, BinaryRecordingExtractor

from sort_assets.checks.result import CheckResult, ok
from sort_assets.config import RecordingConfig
from sort_assets.errors import (
    MissingProbeError,
    NonFiniteSamplesError,
    SilentRecordingError,
    SortAssetsError,
    TooFewChannelsError,
    TooShortRecordingError,
    UnreadableRecordingError,
)
from sort_assets.recordings import prepare
from sort_assets.recordings.dat_file import read_dat, write_dat
from sort_assets.recordings.opened_check import check_opened
from sort_assets.recordings.preflight import inspect_recording, inspect_reference
from sort_assets.testing.ground_truth import make_ground_truth
from sort_assets_tests.recordings.files import recording_of, tetrodes_at_one_place

KEEP_ALL = RecordingConfig(bad_channels="none")


@pytest.fixture(scope="module")
def good() -> BaseRecording:
    """16 channels, 3 s at 30 kHz, int16, in memory."""
    recording, _ = make_ground_truth(duration_s=3.0)
    return recording


def _changed(good: BaseRecording, change: Callable[[np.ndarray], None], dtype: str = "int16") -> BaseRecording:
    traces = good.get_traces().astype(dtype)
    change(traces)
    return recording_of(traces, good)


def _found(results: list[CheckResult], subject: str) -> CheckResult:
    (found,) = [result for result in results if result.name == subject]
    return found


def _only_error(results: list[CheckResult]) -> SortAssetsError:
    (error,) = [result.error for result in results if result.level == "error"]
    assert error is not None
    return error


def test_nothing_is_wrong_with_a_good_recording(good: BaseRecording) -> None:
    filtered = prepare(good, RecordingConfig())

    results = inspect_recording(filtered, raw=good, batch_samples=3000, minimum_channels=16)

    assert {result.level for result in results} == {"ok"}


def test_a_good_dat_is_found_whole(good: BaseRecording, tmp_path: Path) -> None:
    write_dat(prepare(good, KEEP_ALL), tmp_path / "traces.dat")

    results = inspect_recording(read_dat(tmp_path / "traces.dat"))

    assert {result.level for result in results} == {"ok"}
    assert _found(results, "file").description == "0.00288 GB, a whole number of samples of all channels"


@pytest.mark.parametrize("batch_samples", [90_000, 90_001])
def test_not_more_than_one_batch_is_too_short(batch_samples: int, good: BaseRecording) -> None:
    error = _only_error(inspect_recording(good, batch_samples=batch_samples))

    assert isinstance(error, TooShortRecordingError)
    assert error.diagnostics == {"num_samples": 90_000, "batch_samples": batch_samples}


@pytest.mark.parametrize(("batch_samples", "level"), [(89_999, "warning"), (3601, "warning"), (3600, "ok")])
def test_fewer_than_25_batches_are_warned_of(batch_samples: int, level: str, good: BaseRecording) -> None:
    results = inspect_recording(good, batch_samples=batch_samples)

    assert _found(results, "duration").level == level


def test_a_sorter_without_batches_takes_any_duration(good: BaseRecording) -> None:
    results = inspect_recording(good)

    assert _found(results, "duration") == ok("duration", "3 s")


def test_a_truncated_flat_file_is_an_error(good: BaseRecording, tmp_path: Path) -> None:
    path = tmp_path / "raw.bin"
    path.write_bytes(good.get_traces().tobytes()[:-3])
    truncated = BinaryRecordingExtractor([path], 30000.0, "int16", 16, gain_to_uV=0.195, offset_to_uV=0.0)
    truncated.set_probe(good.get_probe())

    assert isinstance(_only_error(inspect_recording(truncated)), UnreadableRecordingError)


def test_nan_is_named_where_it_is_and_not_where_a_filter_spreads_it(good: BaseRecording) -> None:
    def break_one(traces: np.ndarray) -> None:
        traces[40_000, 5] = np.nan

    raw = _changed(good, break_one, "float32").frame_slice(0, 60_000)

    error = _only_error(inspect_recording(prepare(raw, KEEP_ALL), raw=raw))

    assert isinstance(error, NonFiniteSamplesError)
    assert error.diagnostics["channel"] == "5"
    assert error.diagnostics["time_s"] == pytest.approx(40_000 / 30_000)


def test_some_constant_channels_are_named(good: BaseRecording) -> None:
    def still(traces: np.ndarray) -> None:
        traces[:, [3, 9]] = 77

    found = _found(inspect_recording(_changed(good, still)), "constant channels")

    assert found.level == "warning"
    assert found.description == "2 of 16 never change: 3, 9"


@pytest.mark.parametrize("value", [0, -512])
def test_a_recording_in_which_nothing_changes_is_silent(value: int, good: BaseRecording) -> None:
    silent = _changed(good, lambda traces: traces.fill(value))
    filtered = prepare(silent, KEEP_ALL)

    for results in (inspect_recording(filtered), inspect_recording(filtered, raw=silent)):
        assert isinstance(_only_error(results), SilentRecordingError)
        assert {result.level for result in results if result.level != "error"} == {"ok"}


def test_saturated_channels_are_seen_behind_the_filter(good: BaseRecording) -> None:
    def clip(traces: np.ndarray) -> None:
        np.clip(traces[:, 7], -100, 60, out=traces[:, 7])

    raw = _changed(good, clip)

    found = _found(inspect_recording(prepare(raw, KEEP_ALL), raw=raw), "saturated channels")

    assert found.level == "warning"
    assert found.description.startswith("1 of 16 are at the end of their range for up to ")
    assert found.description.endswith(" of the time: 7")


def test_channels_that_were_dropped_are_no_longer_judged(good: BaseRecording) -> None:
    def spoil(traces: np.ndarray) -> None:
        traces[:, 3] = 77
        np.clip(traces[:, 7], -100, 60, out=traces[:, 7])

    raw = _changed(good, spoil)
    filtered = prepare(raw, RecordingConfig(bad_channels="list", bad_channel_ids=("3", "7")))

    results = inspect_recording(filtered, raw=raw)

    assert {result.level for result in results} == {"ok"}


@pytest.mark.parametrize(("gain_to_uv", "level"), [(0.195e-6, "warning"), (0.195, "ok"), (19.5, "warning")])
def test_an_implausible_scale_is_warned_of(gain_to_uv: float, level: str, good: BaseRecording) -> None:
    results = inspect_recording(recording_of(good.get_traces(), good, gain_to_uv=gain_to_uv))

    noise = _found(results, "noise")
    assert noise.level == level
    assert ("recording.gain_to_uv" in noise.remedy) == (level == "warning")


def test_a_huge_artefact_is_warned_of_with_its_channels(good: BaseRecording) -> None:
    def jump(traces: np.ndarray) -> None:
        traces[30_000:60_000, [2, 4]] = 32_767 * np.sign(traces[30_000:60_000, [2, 4]])

    peaks = _found(inspect_recording(recording_of(_changed(good, jump).get_traces(), good, gain_to_uv=0.5)), "peaks")

    assert peaks.level == "warning"
    assert peaks.description == "up to 16384 microvolts, more than 6400 on 2 of 16: 2, 4"


def test_a_missing_probe_is_an_error_only_where_it_is_needed(good: BaseRecording) -> None:
    nowhere = recording_of(good.get_traces(), good)
    nowhere.remove_probe()

    assert isinstance(_only_error(inspect_recording(nowhere)), MissingProbeError)
    assert {result.level for result in inspect_recording(nowhere, needs_probe=False)} == {"ok"}


def test_channels_at_one_place_are_an_error_unless_they_are_sorted_apart(good: BaseRecording) -> None:
    tetrodes = tetrodes_at_one_place(good)

    assert isinstance(_only_error(inspect_recording(tetrodes)), MissingProbeError)
    assert {result.level for result in inspect_recording(tetrodes, split_by="group")} == {"ok"}


def test_a_probe_in_space_is_warned_of(good: BaseRecording) -> None:
    in_space = recording_of(good.get_traces(), good)
    probe = Probe(ndim=3)
    positions = np.column_stack([good.get_channel_locations(), np.arange(16) ** 2])
    probe.set_contacts(positions, plane_axes=np.tile(np.eye(3)[:2], (16, 1, 1)))
    probe.set_device_channel_indices(np.arange(16))
    in_space.set_probe(probe)
    check_opened(in_space, Path("tetrodes.nwb"), RecordingConfig())

    assert in_space.get_probe().ndim == 2
    assert _found(inspect_recording(in_space), "channels").level == "warning"


@pytest.mark.parametrize("factor", [1e-6, 1e12])
def test_positions_in_another_unit_are_warned_of(factor: float, good: BaseRecording) -> None:
    placed = recording_of(good.get_traces(), good)
    placed.set_dummy_probe_from_locations(factor * good.get_channel_locations(), axes="xy")

    result = _found(inspect_recording(placed), "channels")

    assert result.level == "warning"
    assert "no probe" in result.description


def test_too_few_channels_are_counted_in_each_group(good: BaseRecording) -> None:
    groups = recording_of(good.get_traces(), good)
    groups.set_channel_groups(np.array([0] * 15 + [1]))

    results = inspect_recording(groups, split_by="group", minimum_channels=2)

    error = _only_error(results)
    assert isinstance(error, TooFewChannelsError)
    assert "Group 1 has 1 channel; the sorter needs at least 2." in str(error)
    assert _found(results, "channels, group 0").level == "ok"


@pytest.mark.parametrize(
    ("channels", "params", "warned"),
    [
        (4, {}, True),
        (15, {"operator": "average"}, True),
        (16, {}, False),
        (16, {"groups": [["0", "1", "2", "3"], ["4", "5", "6", "7"]]}, True),
        (4, {"reference": "single", "ref_channel_ids": ["0"]}, False),
    ],
)
def test_a_common_reference_of_few_channels_is_warned_of(
    channels: int, params: dict[str, object], warned: bool, good: BaseRecording
) -> None:
    recording = good.select_channels(good.channel_ids[:channels])

    results = inspect_reference(recording, RecordingConfig(preprocessing={"common_reference": params}))

    assert [result.level for result in results] == ["warning"] * warned
    assert inspect_reference(recording, RecordingConfig()) == []
