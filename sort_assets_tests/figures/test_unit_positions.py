from pathlib import Path

import numpy as np
import probeinterface
import pytest
from matplotlib.figure import Figure

from sort_assets.figures.saving import save
from sort_assets.figures.unit_positions import draw_unit_positions


def legend_texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize(("name", "units"), [("single_contact", 1), ("neuropixels", 500), ("maxwell", 300)])
def test_probes_and_units_of_every_number_fit_the_page(
    name: str, units: int, tmp_path: Path, check_png, request
) -> None:
    contacts_um = request.getfixturevalue(name).contact_positions
    rng = np.random.default_rng(0)
    units_um = contacts_um[rng.integers(0, len(contacts_um), units)] + rng.normal(0, 20, (units, 2))

    path = save(
        draw_unit_positions(
            contacts_um,
            units_um,
            verdicts=rng.choice(["kept", "rejected"], units).tolist(),
            sizes=rng.lognormal(0, 1, units),
        ),
        tmp_path / "positions.png",
    )

    assert path == tmp_path / "positions.png"
    check_png(path)


def test_units_lie_at_their_places_told_apart_by_colour_and_marker(four_shanks: probeinterface.Probe) -> None:
    units_um = np.array([[0.0, 10.0], [250.0, 40.0], [500.0, 100.0], [750.0, 200.0]])

    figure = draw_unit_positions(
        four_shanks.contact_positions, units_um, verdicts=["rejected", "kept", "duplicate", "kept"]
    )

    contacts, kept, rejected, duplicate = figure.axes[0].collections
    assert len(contacts.get_offsets()) == 384
    np.testing.assert_allclose(kept.get_offsets(), units_um[[1, 3]])
    np.testing.assert_allclose(rejected.get_offsets(), units_um[[0]])
    np.testing.assert_allclose(duplicate.get_offsets(), units_um[[2]])
    assert len({tuple(points.get_facecolor()[0]) for points in (kept, rejected, duplicate)}) == 3
    assert len({points.get_paths()[0].vertices.tobytes() for points in (kept, rejected, duplicate)}) == 3
    assert kept.get_zorder() > rejected.get_zorder()
    assert legend_texts(figure) == ["contacts (384)", "kept (2)", "rejected (1)", "duplicate (1)"]


def test_a_tall_probe_lies_down_with_its_units(neuropixels: probeinterface.Probe) -> None:
    figure = draw_unit_positions(neuropixels.contact_positions, np.array([[24.0, 1000.0]]), verdicts=["kept"])

    axes = figure.axes[0]
    np.testing.assert_allclose(axes.collections[1].get_offsets(), [[1000.0, 24.0]])
    assert axes.get_xlabel() == "Along the probe, y (µm)"
    assert axes.get_title(loc="left") == "Positions of 1 unit"


def test_marks_grow_with_the_firing_rate_as_the_legend_says(column: probeinterface.Probe) -> None:
    units_um = np.c_[np.zeros(3), [20.0, 40.0, 60.0]]

    figure = draw_unit_positions(
        column.contact_positions, units_um, verdicts=["kept"] * 3, sizes=np.array([0.0, 5.0, 20.0])
    )

    small, middle, large = figure.axes[0].collections[1].get_sizes()
    assert small < middle < large
    assert legend_texts(figure)[-1] == "Firing rate: 0.5, 2.5, 10 Hz"


def test_estimates_far_from_the_probe_are_drawn_at_a_limit_and_counted(column: probeinterface.Probe) -> None:
    units_um = np.array([[0.0, 100.0], [900.0, -500.0]])

    figure = draw_unit_positions(column.contact_positions, units_um, verdicts=["kept", "kept"])

    drawn = figure.axes[0].collections[1].get_offsets()
    np.testing.assert_allclose(drawn, [[100.0, 0.0], [-100.0, 100.0]])
    assert legend_texts(figure)[-1] == "1 farther than 100 µm from the contacts, drawn at that distance"


def test_units_without_a_position_are_counted(column: probeinterface.Probe) -> None:
    units_um = np.array([[0.0, 100.0], [np.nan, np.nan]])

    figure = draw_unit_positions(column.contact_positions, units_um)

    assert figure.axes[0].get_title(loc="left") == "Positions of 1 of 2 units, the others' are not known"


@pytest.mark.parametrize(
    ("units_um", "message"),
    [(np.empty((0, 2)), "No units found"), (np.full((3, 2), np.nan), "No positions of the units were computed")],
)
def test_nothing_to_draw_is_said(units_um: np.ndarray, message: str, column: probeinterface.Probe) -> None:
    figure = draw_unit_positions(column.contact_positions, units_um)

    assert message in [text.get_text() for text in figure.texts]
    assert figure.axes == []


def test_lengths_that_differ_are_refused(column: probeinterface.Probe) -> None:
    with pytest.raises(ValueError, match="3 units"):
        draw_unit_positions(column.contact_positions, np.zeros((3, 2)), verdicts=["kept"])
