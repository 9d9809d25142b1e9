from pathlib import Path

import numpy as np
import pytest
import spikeinterface.core as si
from matplotlib.axes import Axes

from sort_assets.figures.saving import save
from sort_assets.figures.style import BLUE, VERMILLION
from sort_assets.figures.templates import draw_templates


def waveform_lines(panel: Axes) -> list:
    return [line for line in panel.lines if line.get_gid() != "scale bars"]


@pytest.mark.parametrize(
    ("name", "units", "sparse"),
    [("single_contact", 3, False), ("column", 1, True), ("column", 8, False), ("column", 40, True)],
)
def test_sparse_and_dense_analyzers_of_any_size_give_a_picture(
    name: str, units: int, sparse: bool, analyzer_of, tmp_path: Path, check_png, request
) -> None:
    analyzer = analyzer_of(request.getfixturevalue(name), units, sparse=sparse)

    check_png(save(draw_templates(analyzer), tmp_path / "templates.png"))


def test_a_probe_with_384_channels_shows_a_few_around_each_unit(
    neuropixels, analyzer_of, tmp_path: Path, check_png
) -> None:
    analyzer = analyzer_of(neuropixels, 8, sparse=True)

    figure = draw_templates(analyzer)

    panels = figure.axes
    assert len(panels) == 8
    assert all(1 < len(waveform_lines(panel)) <= 9 for panel in panels)
    check_png(save(figure, tmp_path / "templates.png"))


def test_titles_of_24_panels_stay_inside_their_panels(neuropixels, analyzer_of) -> None:
    figure = draw_templates(analyzer_of(neuropixels, 24, sparse=True))

    figure.draw_without_rendering()
    for panel in figure.axes:
        *_, title = [child for child in panel.get_children() if getattr(child, "get_text", str)().startswith("Unit")]
        assert title.get_window_extent().x1 - panel.bbox.x0 <= 160


def test_units_that_are_not_shown_are_counted_and_have_the_fewest_spikes(column, analyzer_of) -> None:
    analyzer = analyzer_of(column, 8, sparse=True)
    spikes = analyzer.sorting.count_num_spikes_per_unit(outputs="array")

    figure = draw_templates(analyzer, max_units=5)

    assert figure.get_suptitle() == "Average waveforms of the 5 of 8 units with the most spikes"
    shown = [panel.get_title(loc="left").split(",")[0] for panel in figure.axes if panel.get_visible()]
    expected = analyzer.unit_ids[np.sort(np.argsort(-spikes, kind="stable")[:5])]
    assert shown == [f"Unit {unit_id}" for unit_id in expected]


def test_the_main_channel_is_blue_and_its_waveform_is_the_template(column, analyzer_of) -> None:
    analyzer = analyzer_of(column, 2, sparse=False)

    panel = draw_templates(analyzer).axes[0]

    main = analyzer.get_main_channels(outputs="index", with_dict=False)[0]
    template = analyzer.get_extension("templates").get_templates()[0][:, main]
    (blue,) = [line for line in waveform_lines(panel) if line.get_color() == BLUE]
    assert np.corrcoef(blue.get_ydata(), template)[0, 1] == pytest.approx(1)


def test_the_scale_bars_measure_microvolts_and_milliseconds(single_contact, analyzer_of) -> None:
    analyzer = analyzer_of(single_contact, 1, sparse=False)

    panel = draw_templates(analyzer).axes[0]

    (waveform,) = waveform_lines(panel)
    (bars,) = [line for line in panel.lines if line.get_gid() == "scale bars"]
    amplitude_uv, time_ms = (float(part.split()[0]) for part in panel.texts[0].get_text().split(", "))
    template = analyzer.get_extension("templates").get_templates()[0][:, 0]
    assert np.ptp(waveform.get_ydata()) / np.ptp(bars.get_ydata()) == pytest.approx(np.ptp(template) / amplitude_uv)
    duration_ms = len(template) / 20_000 * 1000
    assert np.ptp(waveform.get_xdata()) / np.ptp(bars.get_xdata()) == pytest.approx(duration_ms / time_ms, rel=0.02)
    assert "µV" in panel.texts[0].get_text()


def test_a_sparse_unit_shows_only_its_own_channels(column, analyzer_of) -> None:
    analyzer = analyzer_of(column, 4, sparse=True)
    mask = np.zeros_like(analyzer.sparsity.mask)
    main = analyzer.get_main_channels(outputs="index", with_dict=False)
    mask[np.arange(4), main] = True
    analyzer.sparsity.mask[:] = mask

    panels = draw_templates(analyzer).axes

    assert [len(waveform_lines(panel)) for panel in panels] == [1, 1, 1, 1]


def test_an_analyzer_without_units_says_so(column, tmp_path: Path, check_png) -> None:
    recording, _ = si.generate_ground_truth_recording(durations=[1.0], probe=column, num_units=1, seed=0)
    sorting = si.NumpySorting.from_unit_dict({}, recording.sampling_frequency)
    analyzer = si.create_sorting_analyzer(sorting, recording, sparse=False)

    figure = draw_templates(analyzer)

    assert "No units found" in [text.get_text() for text in figure.texts]
    check_png(save(draw_templates(analyzer), tmp_path / "templates.png"))


def test_a_unit_without_spikes_is_flat(column, tmp_path: Path, check_png) -> None:
    recording, _ = si.generate_ground_truth_recording(durations=[1.0], probe=column, num_units=1, seed=0)
    sorting = si.NumpySorting.from_unit_dict({"silent": np.array([], dtype=int)}, recording.sampling_frequency)
    analyzer = si.create_sorting_analyzer(sorting, recording, sparse=False, main_channel_indices=np.array([4]))
    analyzer.compute(["random_spikes", "templates"], n_jobs=1, progress_bar=False)

    check_png(save(draw_templates(analyzer), tmp_path / "templates.png"))


def test_an_analyzer_without_templates_is_refused(column) -> None:
    recording, sorting = si.generate_ground_truth_recording(durations=[1.0], probe=column, num_units=1, seed=0)
    analyzer = si.create_sorting_analyzer(sorting, recording, sparse=False)

    with pytest.raises(ValueError, match="templates"):
        draw_templates(analyzer)


def test_some_units_can_be_chosen_and_named_in_the_title(column, analyzer_of) -> None:
    analyzer = analyzer_of(column, 6, sparse=True)
    chosen = [str(unit_id) for unit_id in analyzer.unit_ids[[1, 3, 4]]]

    figure = draw_templates(analyzer, unit_ids=chosen, kind="rejected", colour=VERMILLION)

    assert figure.get_suptitle() == "Average waveforms of 3 rejected units"
    shown = [panel.get_title(loc="left").split(",")[0] for panel in figure.axes if panel.get_visible()]
    assert shown == [f"Unit {unit_id}" for unit_id in chosen]
    assert sum(line.get_color() == VERMILLION for line in waveform_lines(figure.axes[0])) == 1


def test_no_chosen_units_are_said(column, analyzer_of) -> None:
    figure = draw_templates(analyzer_of(column, 1, sparse=True), unit_ids=[], kind="rejected")

    assert "No rejected units" in [text.get_text() for text in figure.texts]
