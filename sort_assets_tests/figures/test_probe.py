from pathlib import Path

import numpy as np
import probeinterface
import pytest
import spikeinterface.core as si
from matplotlib.figure import Figure

from sort_assets.figures.probe import draw_probe
from sort_assets.figures.saving import save


def legend_texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("name", ["column", "single_contact", "neuropixels", "four_shanks", "maxwell"])
def test_probes_of_every_shape_fit_the_page(name: str, tmp_path: Path, check_png, request) -> None:
    probe = request.getfixturevalue(name)

    path = save(draw_probe(probe, removed_channels={}), tmp_path / "probe.png")

    assert path == tmp_path / "probe.png"
    check_png(path)


def test_every_contact_is_drawn_once_and_removed_ones_by_reason(neuropixels: probeinterface.Probe) -> None:
    removed = {"0": "dead", "100": "dead", "101": "noise", "380": "out"}

    figure = draw_probe(neuropixels, removed_channels=removed)

    kept, dead, noise, out = figure.axes[0].collections
    assert [len(points.get_offsets()) for points in (kept, dead, noise, out)] == [380, 2, 1, 1]
    assert legend_texts(figure) == [
        "kept (380)",
        "removed, dead (2): 0, 100",
        "removed, noise (1): 101",
        "removed, out (1): 380",
    ]
    colours = {tuple(points.get_facecolor()[0]) for points in (kept, dead, noise, out)}
    markers = {points.get_paths()[0].vertices.tobytes() for points in (kept, dead, noise, out)}
    assert len(colours) == len(markers) == 4


def test_a_tall_probe_lies_down_and_says_that_it_is_stretched(neuropixels: probeinterface.Probe) -> None:
    figure = draw_probe(neuropixels, removed_channels={})

    axes = figure.axes[0]
    assert axes.get_xlabel() == "Along the probe, y (µm)"
    assert "stretched 13 times" in axes.get_ylabel()
    assert axes.get_aspect() == 13


def test_a_single_column_lies_down_at_equal_scale(column: probeinterface.Probe) -> None:
    axes = draw_probe(column, removed_channels={}).axes[0]

    assert axes.get_xlabel() == "Along the probe, y (µm)"
    assert axes.get_ylabel() == "Across, x (µm)"
    assert axes.get_aspect() == 1


@pytest.mark.parametrize("name", ["four_shanks", "maxwell"])
def test_a_wide_probe_stands_at_equal_scale(name: str, request) -> None:
    probe = request.getfixturevalue(name)

    axes = draw_probe(probe, removed_channels={}).axes[0]

    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_aspect()) == ("x (µm)", "y (µm)", 1)
    np.testing.assert_allclose(axes.collections[0].get_offsets(), probe.contact_positions)


def test_a_contact_without_neighbours_across_is_not_lost_among_ten_millimetres(tmp_path: Path, check_png) -> None:
    probe = probeinterface.generate_multi_columns_probe(num_columns=2, num_contact_per_column=480, xpitch=32, ypitch=20)

    axes = draw_probe(probe, removed_channels={}).axes[0]
    check_png(save(draw_probe(probe, removed_channels={"3": "dead"}), tmp_path / "probe.png"))

    axes.figure.draw_without_rendering()
    pixels = axes.transData.transform(axes.collections[0].get_offsets())
    assert np.ptp(pixels[:, 0]) > 480
    assert np.ptp(pixels[:, 1]) > 60


def test_the_channels_of_a_recording_keep_their_places(four_shanks: probeinterface.Probe) -> None:
    # Channel 0 of the recording is the last contact of the probe.
    four_shanks.set_device_channel_indices(np.arange(384)[::-1])
    ids = [f"AP{index}" for index in range(384)]
    recording = si.NumpyRecording([np.zeros((10, 384), dtype="int16")], 30_000.0, channel_ids=ids)
    recording.set_probe(four_shanks)

    figure = draw_probe(recording, removed_channels={"AP0": "dead"})

    dead = figure.axes[0].collections[1]
    np.testing.assert_allclose(dead.get_offsets(), four_shanks.contact_positions[[-1]])
    assert legend_texts(figure) == ["kept (383)", "removed, dead (1): AP0"]


def test_integer_ids_and_unknown_reasons_are_marked(column: probeinterface.Probe) -> None:
    recording = si.NumpyRecording([np.zeros((10, 16), dtype="int16")], 30_000.0, channel_ids=np.arange(16))
    recording.set_probe(column)

    figure = draw_probe(recording, removed_channels={"3": "listed", "4": "broken"})

    assert legend_texts(figure) == ["kept (14)", "removed, broken (1): 4", "removed, listed (1): 3"]


def test_a_legend_names_only_the_first_of_many_channels(neuropixels: probeinterface.Probe) -> None:
    removed = {str(index): "noise" for index in range(50)}

    figure = draw_probe(neuropixels, removed_channels=removed)

    assert legend_texts(figure)[1] == "removed, noise (50): 0, 1, 2, 3, 4, 5, …"


def test_a_legend_with_long_ids_fits_the_width(column: probeinterface.Probe) -> None:
    ids = [f"imec0.ap#AP{index}" for index in range(16)]
    recording = si.NumpyRecording([np.zeros((10, 16), dtype="int16")], 30_000.0, channel_ids=ids)
    recording.set_probe(column)

    figure = draw_probe(recording, removed_channels=dict.fromkeys(ids, "noise"))

    assert legend_texts(figure)[1] == "removed, noise (16): imec0.ap#AP0, imec0.ap#AP1, imec0.ap#AP2, …"
    assert figure.legends[0].get_window_extent().x1 <= 660


@pytest.mark.parametrize("name", ["column", "neuropixels", "four_shanks", "maxwell"])
def test_labels_and_legend_lie_close_to_the_plot_and_inside_the_picture(name: str, request) -> None:
    figure = draw_probe(request.getfixturevalue(name), removed_channels={"3": "dead", "5": "noise"})

    figure.draw_without_rendering()
    axes_box, legend_box = figure.axes[0].get_tightbbox(), figure.legends[0].get_window_extent()
    assert 0 <= axes_box.x0 < axes_box.x1 <= 660
    assert legend_box.y0 >= 0
    assert 0 < axes_box.y0 - legend_box.y1 < 25
    assert 0 < figure.bbox.y1 - axes_box.y1 < 25


def test_all_channels_removed_can_be_drawn(column: probeinterface.Probe, tmp_path: Path, check_png) -> None:
    removed = {str(index): "dead" for index in range(16)}

    check_png(save(draw_probe(column, removed_channels=removed), tmp_path / "probe.png"))


def test_the_probes_of_a_group_share_one_picture(column: probeinterface.Probe) -> None:
    second = column.copy()
    second.move([500, 0])
    group = probeinterface.ProbeGroup()
    group.add_probe(column)
    group.add_probe(second)

    axes = draw_probe(group, removed_channels={}).axes[0]

    assert len(axes.collections[0].get_offsets()) == 32


def test_a_recording_without_a_probe_is_refused() -> None:
    recording = si.NumpyRecording([np.zeros((10, 2), dtype="int16")], 30_000.0)

    with pytest.raises(ValueError, match="probe"):
        draw_probe(recording, removed_channels={})
