from pathlib import Path

import numpy as np
import pytest
import spikeinterface.core as si

from sort_assets.figures.amplitudes import draw_amplitudes
from sort_assets.figures.saving import save
from sort_assets.figures.style import BLUE, VERMILLION


def two_units() -> tuple[si.BaseSorting, np.ndarray]:
    """Unit a has three spikes, of -100, -90 and -80 µV; unit b has one, of +50 µV."""
    sorting = si.NumpySorting.from_unit_dict(
        {"a": np.array([30_000, 60_000, 90_000]), "b": np.array([75_000])}, 30_000.0
    )
    return sorting, np.array([-100.0, -90.0, 50.0, -80.0])


def many_spikes(units: int, spikes: int, duration_s: float) -> tuple[si.BaseSorting, np.ndarray]:
    rng = np.random.default_rng(0)
    samples = np.sort(rng.integers(0, int(duration_s * 30_000), spikes))
    sorting = si.NumpySorting.from_samples_and_labels([samples], [rng.integers(0, units, spikes)], 30_000.0)
    return sorting, -rng.normal(100, 10, spikes)


def test_every_amplitude_is_drawn_at_its_time_in_the_panel_of_its_unit_with_the_peak_upward() -> None:
    sorting, amplitudes = two_units()

    figure = draw_amplitudes(sorting, amplitudes, duration_s=4.0)

    panel_a, _, panel_b, _ = figure.axes
    np.testing.assert_allclose(panel_a.lines[0].get_xydata(), [[1, 100], [2, 90], [3, 80]])
    np.testing.assert_allclose(panel_b.lines[0].get_xydata(), [[2.5, 50]])
    assert panel_a.get_title(loc="left") == "Unit a, 3 spikes"
    assert panel_b.get_title(loc="left") == "Unit b, 1 spike"
    assert panel_a.get_xlim() == (0, 4)
    assert figure.get_suptitle() == "Spike amplitudes of 2 units"
    assert "(µV)" in figure.get_supylabel()
    assert "Time (s)" in figure.get_supxlabel()


def test_the_narrow_panel_counts_the_spikes_of_its_unit() -> None:
    sorting, amplitudes = two_units()

    figure = draw_amplitudes(sorting, amplitudes, duration_s=4.0)

    side = figure.axes[1]
    counts, edges, _ = side.patches[0].get_data()
    assert counts.sum() == 3
    assert edges[0] == side.get_ylim()[0] == 0


def test_many_spikes_become_a_density_that_counts_them_all(tmp_path: Path, check_png) -> None:
    sorting, amplitudes = many_spikes(2, 60_000, 600.0)

    figure = draw_amplitudes(sorting, amplitudes, duration_s=600.0)

    density = figure.axes[0].images[0]
    spikes = sorting.count_num_spikes_per_unit(outputs="array")[0]
    # But for the outermost thousandth of amplitudes.
    assert density.get_array().sum() == pytest.approx(spikes, rel=0.003)
    assert density.get_extent()[:2] == [0, 600]
    assert figure.axes[0].lines[:] == []
    check_png(save(draw_amplitudes(sorting, amplitudes, duration_s=600.0), tmp_path / "amplitudes.png"))


def test_the_units_with_the_most_spikes_are_chosen_among_those_named() -> None:
    sorting, amplitudes = many_spikes(6, 600, 60.0)
    spikes = sorting.count_num_spikes_per_unit(outputs="dict")
    wanted = ["0", "2", "4", "5"]
    most = sorted(sorted(wanted, key=lambda unit: -spikes[int(unit)])[:2])

    figure = draw_amplitudes(sorting, amplitudes, duration_s=60.0, max_units=2, unit_ids=wanted, kind="kept")

    titles = [axes.get_title(loc="left").split(",")[0] for axes in figure.axes[::2]]
    assert titles == [f"Unit {unit}" for unit in most]
    assert figure.get_suptitle() == "Spike amplitudes of the 2 of 4 kept units with the most spikes"


def test_a_verdict_gives_the_colour_and_is_named() -> None:
    sorting, amplitudes = two_units()

    figure = draw_amplitudes(sorting, amplitudes, duration_s=4.0, verdicts={"a": "kept", "b": "rejected"})

    assert [axes.lines[0].get_color() for axes in figure.axes[::2]] == [BLUE, VERMILLION]
    assert figure.axes[2].get_title(loc="left") == "Unit b, rejected, 1 spike"


def test_a_unit_without_spikes_keeps_its_panel(tmp_path: Path, check_png) -> None:
    sorting = si.NumpySorting.from_unit_dict({"silent": np.array([], dtype=int)}, 30_000.0)

    check_png(save(draw_amplitudes(sorting, np.empty(0), duration_s=1.0), tmp_path / "amplitudes.png"))


@pytest.mark.parametrize(
    ("unit_ids", "amplitudes", "kind", "message"),
    [
        (None, None, "", "Spike amplitudes were not computed"),
        ([], np.zeros(4), "rejected", "No rejected units"),
    ],
)
def test_nothing_to_draw_is_said(
    unit_ids: list[str] | None, amplitudes: np.ndarray | None, kind: str, message: str
) -> None:
    sorting, _ = two_units()

    figure = draw_amplitudes(sorting, amplitudes, duration_s=4.0, unit_ids=unit_ids, kind=kind)

    assert message in [text.get_text() for text in figure.texts]


def test_a_wrong_number_of_amplitudes_is_refused() -> None:
    sorting, amplitudes = two_units()

    with pytest.raises(ValueError, match="4 spikes"):
        draw_amplitudes(sorting, amplitudes[:3], duration_s=4.0)
