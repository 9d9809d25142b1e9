from pathlib import Path

import numpy as np
import probeinterface
import pytest
import spikeinterface.core as si

from sort_assets.figures.drift import draw_drift, median_depths_um, row_pitch_um
from sort_assets.figures.saving import save
from sort_assets.figures.style import BLUE


def drifting(
    units: int, spikes: int, *, drift_um: float, duration_s: float = 100.0
) -> tuple[si.BaseSorting, np.ndarray, np.ndarray]:
    """Units at 100 µm, 120 µm, … that all move by so much; with the depth and the amplitude of each spike."""
    rng = np.random.default_rng(0)
    samples = np.sort(rng.integers(0, int(duration_s * 30_000), spikes))
    sorting = si.NumpySorting.from_samples_and_labels([samples], [rng.integers(0, units, spikes)], 30_000.0)
    spike_vector = sorting.to_spike_vector()
    times_s = spike_vector["sample_index"] / 30_000.0
    depths_um = 100.0 + 20.0 * spike_vector["unit_index"] + drift_um * times_s / duration_s + rng.normal(0, 1, spikes)
    return sorting, depths_um, -rng.normal(80, 5, spikes)


def test_units_that_move_together_give_a_line_as_long_as_the_drift(column: probeinterface.Probe) -> None:
    sorting, depths_um, amplitudes = drifting(5, 20_000, drift_um=30.0)

    figure = draw_drift(
        sorting, depths_um, contacts_um=column.contact_positions, duration_s=100.0, amplitudes=amplitudes
    )

    drift_axes = figure.axes[1]
    (together,) = [line for line in drift_axes.lines if line.get_color() == BLUE]
    moved_um = together.get_ydata()
    # From the middle of the first of 24 parts to the middle of the last.
    assert moved_um[-1] - moved_um[0] == pytest.approx(30 * 23 / 24, abs=1)
    assert drift_axes.get_xlabel() == "Time (s)"
    assert "(µm)" in drift_axes.get_ylabel()


def test_the_contact_pitch_is_marked(column: probeinterface.Probe) -> None:
    sorting, depths_um, _ = drifting(5, 5000, drift_um=0.0)

    figure = draw_drift(sorting, depths_um, contacts_um=column.contact_positions, duration_s=100.0)

    drift_axes = figure.axes[1]
    labels = [text.get_text() for text in drift_axes.get_legend().get_texts()]
    assert labels == ["5 units", "median of 5", "contact pitch, 20 µm"]
    dashed = {line.get_ydata()[0] for line in drift_axes.lines if line.get_linestyle() == "--"}
    assert dashed == {-20.0, 20.0}


def test_a_pixel_is_as_dark_as_its_largest_spike(column: probeinterface.Probe) -> None:
    sorting = si.NumpySorting.from_unit_dict({"a": np.array([0, 100, 2_000_000])}, 30_000.0)
    depths_um = np.array([100.0, 100.0, 200.0])

    figure = draw_drift(
        sorting,
        depths_um,
        contacts_um=column.contact_positions,
        duration_s=100.0,
        amplitudes=np.array([-50.0, -70.0, -60.0]),
    )

    image = figure.axes[0].images[0]
    assert sorted(image.get_array().compressed().tolist()) == [60.0, 70.0]
    assert image.get_extent() == [0, 100, -100, 400]
    assert figure.axes[0].get_title(loc="left") == "Depth of 3 spikes"
    assert "Amplitude (µV)" in [axes.get_ylabel() for axes in figure.axes]


def test_without_amplitudes_pixels_count_spikes(column: probeinterface.Probe) -> None:
    sorting, depths_um, _ = drifting(3, 2000, drift_um=0.0)

    figure = draw_drift(sorting, depths_um, contacts_um=column.contact_positions, duration_s=100.0)

    assert figure.axes[0].images[0].get_array().sum() == 2000
    assert "Spikes per pixel" in [axes.get_ylabel() for axes in figure.axes]


def test_spikes_far_from_the_contacts_are_counted(column: probeinterface.Probe) -> None:
    sorting, depths_um, _ = drifting(3, 2000, drift_um=0.0)
    depths_um[:7] = 5000.0

    figure = draw_drift(sorting, depths_um, contacts_um=column.contact_positions, duration_s=100.0)

    assert figure.axes[0].get_title(loc="right") == "7 spikes beyond 100 µm from the contacts not shown"


def test_many_spikes_on_384_channels_give_a_small_picture(
    neuropixels: probeinterface.Probe, tmp_path: Path, check_png
) -> None:
    sorting, depths_um, amplitudes = drifting(180, 300_000, drift_um=10.0)

    check_png(
        save(
            draw_drift(
                sorting, depths_um, contacts_um=neuropixels.contact_positions, duration_s=100.0, amplitudes=amplitudes
            ),
            tmp_path / "drift.png",
        )
    )


def test_a_single_contact_has_no_pitch(single_contact: probeinterface.Probe, tmp_path: Path, check_png) -> None:
    sorting, _, amplitudes = drifting(1, 50, drift_um=0.0)

    assert row_pitch_um(single_contact.contact_positions) is None
    check_png(
        save(
            draw_drift(
                sorting,
                np.zeros(50),
                contacts_um=single_contact.contact_positions,
                duration_s=100.0,
                amplitudes=amplitudes,
            ),
            tmp_path / "drift.png",
        )
    )


def test_the_pitch_of_staggered_columns_is_that_of_their_rows(neuropixels: probeinterface.Probe) -> None:
    assert row_pitch_um(neuropixels.contact_positions) == 20.0


def test_a_median_of_too_few_spikes_is_not_known() -> None:
    depths_um = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 9.0])
    times_s = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 9.0])

    medians = median_depths_um(np.zeros(6, dtype=int), times_s, depths_um, units=2, duration_s=10.0, bins=2)

    np.testing.assert_array_equal(medians, [[3.0, np.nan], [np.nan, np.nan]])


@pytest.mark.parametrize(
    ("trains", "depths_um", "message"),
    [
        ({}, None, "No units found"),
        ({"a": np.array([], dtype=int)}, None, "No spikes found"),
        ({"a": np.array([30])}, None, "Spike locations were not computed"),
        ({"a": np.array([30])}, np.array([np.nan]), "Spike locations were not computed"),
    ],
)
def test_nothing_to_draw_is_said(
    trains: dict[str, np.ndarray], depths_um: np.ndarray | None, message: str, column: probeinterface.Probe
) -> None:
    sorting = si.NumpySorting.from_unit_dict(trains, 30_000.0)

    figure = draw_drift(sorting, depths_um, contacts_um=column.contact_positions, duration_s=1.0)

    assert message in [text.get_text() for text in figure.texts]


def test_a_wrong_number_of_depths_is_refused(column: probeinterface.Probe) -> None:
    sorting, depths_um, _ = drifting(2, 100, drift_um=0.0)

    with pytest.raises(ValueError, match="100 spikes"):
        draw_drift(sorting, depths_um[:50], contacts_um=column.contact_positions, duration_s=100.0)
