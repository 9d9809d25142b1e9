"""Few channels are sorted with the waveforms that come with Kilosort, which are taken from its package."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sort_assets.backends.kilosort4 import Kilosort4Backend
from sort_assets.backends.kilosort4.built_in_waveforms import LEARNING, waveforms_in_package, waveforms_of_package
from sort_assets.backends.shape import values
from sort_assets.config import SortingPipelineConfig
from sort_assets.testing import make_sort_input
from sort_assets.testing.comparison import unit_accuracies
from sort_assets.testing.shapes import make_shape


def chosen(shape: str, params: dict[str, Any]) -> dict[str, Any]:
    recording, _ = make_shape(shape, 1.0)
    config = SortingPipelineConfig.model_validate({"sorter": {"params": params}})
    return values(Kilosort4Backend(config).shape_choices(recording))


def test_few_channels_take_the_built_in_waveforms_and_many_learn_theirs() -> None:
    assert chosen("tetrode", {})["templates_from_data"] is False
    assert "templates_from_data" not in chosen("16 contacts", {})


@pytest.mark.parametrize("params", [{"nt": 41}, {"n_pcs": 3}, {"Th_single_ch": 4}, {"templates_from_data": True}])
def test_who_chose_how_to_learn_is_let_learn(params: dict[str, Any]) -> None:
    assert "templates_from_data" not in chosen("tetrode", params)


def test_the_waveforms_are_those_of_the_package_and_of_the_sizes_that_kilosort_expects() -> None:
    from kilosort import spikedetect

    before = spikedetect.template_path

    with waveforms_of_package():
        path = Path(spikedetect.template_path())

    assert path == waveforms_in_package()
    with np.load(path) as built_in:
        assert built_in["wTEMP"].shape == (LEARNING["n_templates"], LEARNING["nt"])
        assert built_in["wPCA"].shape == (LEARNING["n_pcs"], LEARNING["nt"])
    assert spikedetect.template_path is before


@pytest.mark.slow
@pytest.mark.release
@pytest.mark.parametrize("seed", [0, 8])
def test_a_tetrode_with_cells_of_1_to_3_hz_is_divided_into_its_cells(seed: int, tmp_path: Path) -> None:
    raw, known = make_shape("tetrode", 60.0, seed=seed, firing_rates_hz=(1.0, 3.0))
    backend = Kilosort4Backend(SortingPipelineConfig.model_validate({"sorter": {"device": "cpu"}}))
    recording, dat_path = make_sort_input(backend, raw, tmp_path)

    sorting = backend.sort(recording, None, dat_path, tmp_path / "sorter")

    assert np.all(unit_accuracies(known, sorting) >= 0.8)
    assert sorting.get_num_units() == known.get_num_units()
