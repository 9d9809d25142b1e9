from pathlib import Path

import numpy as np
import pytest
import spikeinterface.core as si
from spikeinterface.preprocessing import bandpass_filter

from sort_assets.figures.saving import save
from sort_assets.figures.style import BLUE, VERMILLION
from sort_assets.figures.traces import draw_traces


@pytest.mark.parametrize("name", ["single_contact", "column", "neuropixels"])
def test_recordings_of_any_size_give_a_picture(
    name: str, integer_recording, tmp_path: Path, check_png, request
) -> None:
    raw = integer_recording(request.getfixturevalue(name))
    filtered = bandpass_filter(raw, dtype="float32")

    check_png(save(draw_traces(raw, filtered, start_s=0.05), tmp_path / "traces.png"))


def test_at_most_the_wanted_channels_are_drawn_from_bottom_to_top(neuropixels, integer_recording) -> None:
    raw = integer_recording(neuropixels)

    figure = draw_traces(raw, raw, start_s=0.0, max_channels=5)

    raw_axes, filtered_axes = figure.axes[:2]
    assert raw_axes.get_title(loc="left") == "Raw, 5 of 384 channels"
    # Five rows and the scale bar.
    assert len(raw_axes.lines) == len(filtered_axes.lines) == 6
    depths = dict(zip(raw.channel_ids, raw.get_channel_locations()[:, 1], strict=True))
    shown = [depths[label.get_text()] for label in raw_axes.get_yticklabels()]
    assert shown == sorted(shown)
    assert (shown[0], shown[-1]) == (0, 3820)


def test_integers_are_drawn_in_microvolts(column, integer_recording) -> None:
    raw = integer_recording(column)

    raw_axes = draw_traces(raw, raw, start_s=0.0).axes[0]

    bar = raw_axes.lines[-1].get_ydata()
    uv_per_row = 50 / (bar[1] - bar[0])
    lowest_row_uv = raw_axes.lines[0].get_ydata() * uv_per_row
    assert raw_axes.texts[-1].get_text() == "50 µV"
    assert np.std(lowest_row_uv) == pytest.approx(10, rel=0.1)


def test_time_is_in_milliseconds_from_the_chosen_moment(column, integer_recording) -> None:
    raw = integer_recording(column)

    figure = draw_traces(raw, raw, start_s=0.1, duration_s=0.02)

    times_ms = figure.axes[0].lines[0].get_xdata()
    assert (times_ms[0], len(times_ms)) == (0, 600)
    assert times_ms[-1] == pytest.approx(20, abs=0.1)
    assert figure.get_supxlabel() == "Time (ms), beginning 0.1 s into the recording"


@pytest.mark.parametrize(("start_s", "duration_s", "begin"), [(5.0, 0.05, "0.15"), (-1.0, 0.05, "0"), (0.1, 9.0, "0")])
def test_a_moment_outside_the_recording_is_moved_into_it(
    start_s: float, duration_s: float, begin: str, column, integer_recording
) -> None:
    raw = integer_recording(column)

    figure = draw_traces(raw, raw, start_s=start_s, duration_s=duration_s)

    assert figure.get_supxlabel() == f"Time (ms), beginning {begin} s into the recording"


def test_removed_channels_keep_their_row_in_another_colour(column, integer_recording) -> None:
    raw = integer_recording(column)
    filtered = raw.remove_channels(["AP3", "AP9"])

    raw_axes, filtered_axes = draw_traces(raw, filtered, start_s=0.0).axes[:2]

    colours = [line.get_color() for line in raw_axes.lines[:-1]]
    assert [row for row, colour in enumerate(colours) if colour == VERMILLION] == [3, 9]
    assert colours.count(BLUE) == 14
    assert len(filtered_axes.lines) == 15
    removed_notes = [text for text in filtered_axes.texts if text.get_text().strip() == "removed"]
    assert [text.get_position()[1] for text in removed_notes] == [3, 9]


def test_a_loud_removed_channel_is_cut_and_the_picture_says_so(column, integer_recording) -> None:
    raw = integer_recording(column)
    traces = raw.get_traces().copy()
    traces[:, 9] = np.random.default_rng(0).integers(-30_000, 30_000, len(traces))
    loud = si.NumpyRecording([traces], 30_000.0, channel_ids=raw.channel_ids)
    loud.set_channel_gains(0.195)
    loud.set_channel_offsets(0.0)
    loud.set_probe(column)

    raw_axes = draw_traces(loud, loud.remove_channels(["AP9"]), start_s=0.0).axes[0]

    assert np.ptp(raw_axes.lines[9].get_ydata()) <= 1
    assert raw_axes.texts[-1].get_text() == "50 µV, peaks cut"


def test_no_drawn_channel_may_be_left_after_filtering(column, integer_recording, tmp_path: Path, check_png) -> None:
    raw = integer_recording(column)
    filtered = raw.select_channels(["AP5"])

    path = save(draw_traces(raw, filtered, start_s=0.0, max_channels=2), tmp_path / "traces.png")

    check_png(path)


def test_flat_recordings_do_not_crash(column, integer_recording, tmp_path: Path, check_png) -> None:
    raw = integer_recording(column, flat=True)

    check_png(save(draw_traces(raw, bandpass_filter(raw, dtype="float32"), start_s=0.0), tmp_path / "traces.png"))


def test_what_a_filter_leaves_of_a_constant_is_not_drawn_as_a_signal(column) -> None:
    constant = si.NumpyRecording([np.full((6000, 16), -512, dtype="int16")], 30_000.0)
    constant.set_channel_gains(0.195)
    constant.set_channel_offsets(0.0)
    constant.set_probe(column)
    filtered = bandpass_filter(constant, dtype="float32")

    filtered_axes = draw_traces(constant, filtered, start_s=0.0).axes[1]

    assert np.abs(filtered.get_traces()).max() > 0
    assert max(np.ptp(line.get_ydata()) for line in filtered_axes.lines[:16]) < 1e-6
    assert filtered_axes.texts[-1].get_text() == "1 µV"


def test_a_recording_with_missing_values_does_not_crash(column, tmp_path: Path, check_png) -> None:
    traces = np.random.default_rng(0).normal(0, 10, (6000, 16)).astype("float32")
    traces[:, 2] = np.nan
    traces[:50] = np.nan
    recording = si.NumpyRecording([traces], 30_000.0)
    recording.set_channel_gains(1.0)
    recording.set_channel_offsets(0.0)
    recording.set_probe(column)

    check_png(save(draw_traces(recording, recording, start_s=0.0), tmp_path / "traces.png"))


def test_without_gains_and_probe_the_stored_values_are_drawn(tmp_path: Path, check_png) -> None:
    traces = np.random.default_rng(0).integers(-50, 50, (6000, 4)).astype("int16")
    recording = si.NumpyRecording([traces], 30_000.0)

    figure = draw_traces(recording, recording, start_s=0.0)

    assert figure.axes[0].texts[-1].get_text().endswith("stored units")
    check_png(save(draw_traces(recording, recording, start_s=0.0), tmp_path / "traces.png"))
