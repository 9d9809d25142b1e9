"""Few spikes around one place of the probe are divided into units, and it is known which were not."""

from pathlib import Path

import numpy as np
import pytest

from sort_assets.backends.kilosort4 import Kilosort4Backend
from sort_assets.backends.kilosort4.backend import UNDIVIDED_PLACES
from sort_assets.backends.kilosort4.few_spikes import few_spikes_divided, undivided_places
from sort_assets.config import SortingPipelineConfig
from sort_assets.testing import make_sort_input
from sort_assets.testing.comparison import unit_accuracies
from sort_assets.testing.shapes import make_shape


def at_the_only_place(num_spikes: int) -> tuple[np.ndarray, np.ndarray]:
    """Features and numbers of the spikes that Kilosort is about to cluster: one contact, one feature."""
    import torch
    from kilosort import clustering_qr

    features = torch.arange(num_spikes, dtype=torch.float32).reshape(num_spikes, 1, 1)
    place, contact, templates = torch.zeros((2, 1)), torch.zeros((1, 1), dtype=torch.int64), np.zeros(num_spikes, int)
    template = torch.tensor([True])
    found, spikes, _ = clustering_qr.get_data_cpu({}, place, contact, templates, features, 0, 0, ix=template)
    return found.numpy(), spikes.numpy()


@pytest.mark.parametrize(("spikes", "given"), [(49, 49), (50, 1000), (300, 1200), (999, 1998), (1000, 1000)])
def test_few_spikes_are_given_as_often_as_it_takes(spikes: int, given: int) -> None:
    with few_spikes_divided():
        features, numbers = at_the_only_place(spikes)

    assert len(features) == len(numbers) == given
    assert np.array_equal(features[:, 0], numbers)
    assert len(np.unique(numbers)) == spikes


def test_afterwards_kilosort_is_as_it_was() -> None:
    with pytest.raises(RuntimeError), few_spikes_divided():
        raise RuntimeError

    features, _ = at_the_only_place(300)

    assert len(features) == 300


def test_what_stayed_one_unit_is_read_from_the_last_clustering(tmp_path: Path) -> None:
    line = "2026-01-01 10:00:00,000 kilosort.clustering_qr DEBUG Center {} | Xd shape: torch.Size([{}, 24]) | ntemp: 1"
    places = [line.format(number, spikes) for number, spikes in enumerate((19, 20, 999, 1000))]
    log_path = tmp_path / "kilosort4.log"
    log_path.write_text("\n".join(["First clustering", line.format(0, 500), "Final clustering", *places]))

    assert undivided_places(log_path) == [20, 999]
    assert undivided_places(tmp_path / "none.log") == []


@pytest.mark.slow
@pytest.mark.release
@pytest.mark.xdist_group("few_spikes")
@pytest.mark.parametrize(("divide", "found", "undivided"), [(True, 3, False), (False, 0, True)])
def test_three_cells_with_260_spikes_together_are_three_units(
    divide: bool, found: int, undivided: bool, tmp_path: Path
) -> None:
    raw, known = make_shape("tetrode", 20.0, seed=1, firing_rates_hz=(3.5, 4.5))
    sorter = {"name": "kilosort4", "device": "cpu", "divide_few_spikes": divide}
    backend = Kilosort4Backend(SortingPipelineConfig.model_validate({"sorter": sorter}))
    recording, dat_path = make_sort_input(backend, raw, tmp_path)

    sorting = backend.sort(recording, None, dat_path, tmp_path / "sorter")

    assert known.to_spike_vector().size < 300
    assert np.count_nonzero(unit_accuracies(known, sorting) >= 0.8) == found
    assert bool(sorting.get_annotation(UNDIVIDED_PLACES)) == undivided
    assert bool(backend.doubts(recording, sorting)) == undivided
