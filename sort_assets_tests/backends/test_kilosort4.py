from pathlib import Path
from typing import Any

import numpy as np
import pytest
from spikeinterface.comparison import compare_two_sorters
from spikeinterface.core import BaseRecording, BaseSorting, NumpySorting, generate_recording
from spikeinterface.sorters import get_default_sorter_params, run_sorter

from sort_assets.backends.kilosort4 import Kilosort4Backend
from sort_assets.backends.kilosort4.backend import DIVIDE_FEW_SPIKES, UNDIVIDED_PLACES
from sort_assets.backends.shape import values
from sort_assets.backends.spikeinterface_backend import compute_threads
from sort_assets.config import PRESETS, SortingPipelineConfig
from sort_assets.errors import BadChannelsError, ConfigError, TooFewChannelsError
from sort_assets.recordings.dat_file import read_dat
from sort_assets.testing import SorterBackendConformance, SortRun
from sort_assets.testing.shapes import SHAPES, make_groups

FEW_CHANNELS = PRESETS["kilosort4_few_channels"]["sorter"]["params"]


def silent(shape: str, seconds: float) -> BaseRecording:
    """A recording of that shape and length; nothing is computed."""
    recording = generate_recording(SHAPES[shape].num_channels, 30_000, [seconds], set_probe=False)
    recording.set_probe(SHAPES[shape].probe())
    return recording


@pytest.mark.xdist_group("TestKilosort4")
class TestKilosort4(SorterBackendConformance):
    backend_name = "kilosort4"
    params = FEW_CHANNELS

    @pytest.fixture(scope="class")
    @classmethod
    def sorted_directly(cls, sort_run: SortRun, tmp_path_factory: pytest.TempPathFactory) -> BaseSorting:
        """What SpikeInterface alone makes of the same `.dat`."""
        assert sort_run.dat_path is not None
        with compute_threads(1):
            return run_sorter(
                "kilosort4",
                read_dat(sort_run.dat_path),
                folder=tmp_path_factory.mktemp("direct") / "sorter",
                torch_device="cpu",
                **cls.params,
            )

    def test_reads_the_dat_in_place(self, sort_run: SortRun) -> None:
        assert sort_run.dat_path is not None
        size = sort_run.dat_path.stat().st_size

        written = [path for path in sort_run.output_folder.rglob("*") if path.is_file()]

        assert written
        assert max(path.stat().st_size for path in written) < size
        assert "recording.dat" not in {path.name for path in written}

    @pytest.mark.release
    def test_finds_what_spikeinterface_alone_finds(self, sort_run: SortRun, sorted_directly: BaseSorting) -> None:
        comparison = compare_two_sorters(sorted_directly, sort_run.sorting)

        matched = sum(
            comparison.match_event_count.at[direct, ours]
            for direct, ours in comparison.hungarian_match_12.items()
            if ours != -1
        )

        most = max(len(sorted_directly.to_spike_vector()), len(sort_run.sorting.to_spike_vector()))
        assert matched >= 0.99 * most


@pytest.mark.parametrize(("misspelt", "right"), [("batchsize", "batch_size"), ("Th_universl", "Th_universal")])
def test_a_misspelt_parameter_is_refused_with_the_right_name(misspelt: str, right: str) -> None:
    config = SortingPipelineConfig.model_validate({"sorter": {"name": "kilosort4", "params": {misspelt: 1}}})

    with pytest.raises(ConfigError, match=f"Did you mean .*{right}"):
        Kilosort4Backend(config).check_ready()


@pytest.mark.slow
def test_knows_the_parameters_that_spikeinterface_knows() -> None:
    assert Kilosort4Backend(SortingPipelineConfig()).default_params() == get_default_sorter_params("kilosort4")


@pytest.mark.parametrize(("params", "batch_samples"), [({}, 60_000), ({"batch_size": 30_000}, 30_000)])
def test_a_batch_is_what_was_configured_or_kilosorts_default(params: dict[str, int], batch_samples: int) -> None:
    config = SortingPipelineConfig.model_validate({"sorter": {"name": "kilosort4", "params": params}})

    assert Kilosort4Backend(config).batch_samples == batch_samples


OF_FEW = {"templates_from_data": False, DIVIDE_FEW_SPIKES: True}
FEW = {"do_CAR": False, "nblocks": 0, **OF_FEW}


@pytest.mark.parametrize(
    ("shape", "seconds", "chosen"),
    [
        ("wire", 20.0, {**FEW, "nearest_chans": 1}),
        ("tetrode", 60.0, {**FEW, "nearest_chans": 4}),
        ("stereotrode", 20.0, {**FEW, "nearest_chans": 2}),
        ("shank of 8", 20.0, {**FEW, "nearest_chans": 8}),
        ("eight wires", 20.0, {"nblocks": 0, "nearest_chans": 8, **OF_FEW}),
        ("16 contacts", 20.0, {"nblocks": 0}),
        ("32 contacts", 20.0, {}),
        ("32 contacts", 3.0, {"batch_size": 22_500}),
        ("32 contacts", 1.0, {"batch_size": 15_000}),
    ],
)
def test_the_shape_decides_what_nobody_chose(shape: str, seconds: float, chosen: dict[str, Any]) -> None:
    recording = silent(shape, seconds)
    backend = Kilosort4Backend(SortingPipelineConfig())

    params = backend.sorter_params(recording)

    assert values(backend.shape_choices(recording)) == chosen
    assert params.items() >= {name: value for name, value in chosen.items() if name != DIVIDE_FEW_SPIKES}.items()
    assert all(choice.reason.endswith(".") for choice in backend.shape_choices(recording).values())
    assert backend.batch_samples_for(recording) == chosen.get("batch_size", 60_000)


def test_many_tetrodes_have_too_few_depths_for_drift() -> None:
    recording, _ = make_groups("tetrode", 8, 0.5)

    choices = Kilosort4Backend(SortingPipelineConfig()).shape_choices(recording)

    assert choices["nblocks"].value == 0
    assert choices["nblocks"].reason.startswith("The contacts of a shank (or tetrode) are at 2 depths at most")


def test_what_somebody_chose_wins_over_the_shape() -> None:
    recording = silent("tetrode", 60.0)
    params = {"do_CAR": True, "nearest_chans": 3}
    backend = Kilosort4Backend(SortingPipelineConfig.model_validate({"sorter": {"params": params}}))

    assert set(backend.shape_choices(recording)) == {"nblocks", *OF_FEW}
    assert backend.sorter_params(recording).items() >= {**params, "nblocks": 0}.items()


def test_bad_channels_that_leave_none_are_refused() -> None:
    recording = silent("tetrode", 1.0)
    all_bad = SortingPipelineConfig.model_validate({"sorter": {"params": {"bad_channels": [0, 1, 2, 3]}}})
    one_left = SortingPipelineConfig.model_validate({"sorter": {"params": {"bad_channels": [0, 1, 2]}}})

    Kilosort4Backend(one_left).check_recording(recording, Path("tetrode.nwb"))
    with pytest.raises(BadChannelsError, match=r"sorter\.params\.bad_channels"):
        Kilosort4Backend(all_bad).check_recording(recording, Path("tetrode.nwb"))


def test_a_common_reference_of_one_channel_is_refused() -> None:
    recording = silent("wire", 1.0)
    chosen = SortingPipelineConfig.model_validate({"sorter": {"params": {"do_CAR": True}}})

    Kilosort4Backend(SortingPipelineConfig()).check_recording(recording, Path("wire.nwb"))
    with pytest.raises(TooFewChannelsError, match=r"sorter\.params\.do_CAR is true"):
        Kilosort4Backend(chosen).check_recording(recording, Path("wire.nwb"))


@pytest.mark.parametrize("sorter", [{"divide_few_spikes": False}, {"params": {"cluster_downsampling": 5}}])
def test_few_spikes_stay_as_kilosort_has_them_where_somebody_chose_so(sorter: dict[str, Any]) -> None:
    chosen = SortingPipelineConfig.model_validate({"sorter": sorter})

    assert DIVIDE_FEW_SPIKES not in Kilosort4Backend(chosen).shape_choices(silent("tetrode", 60.0))


@pytest.mark.parametrize(
    ("shape", "undivided", "doubts"), [("tetrode", [30, 45], 1), ("tetrode", [], 0), ("64 contacts", [30], 0)]
)
def test_few_spikes_that_stayed_one_unit_may_be_several_cells(shape: str, undivided: list[int], doubts: int) -> None:
    found = NumpySorting.from_unit_dict([{0: np.arange(5000)}], 30_000)
    found.annotate(**{UNDIVIDED_PLACES: undivided})

    said = Kilosort4Backend(SortingPipelineConfig()).doubts(silent(shape, 1.0), found)

    assert len(said) == doubts
    assert all("2 places among 4 channels" in doubt and "(30, 45)" in doubt for doubt in said)


def test_where_few_spikes_are_not_to_be_divided_the_doubt_names_the_setting() -> None:
    found = NumpySorting.from_unit_dict([{0: np.arange(797)}], 30_000)
    found.annotate(**{UNDIVIDED_PLACES: [797]})
    off = SortingPipelineConfig.model_validate({"sorter": {"divide_few_spikes": False}})

    (doubt,) = Kilosort4Backend(off).doubts(silent("tetrode", 60.0), found)

    assert "(797)" in doubt
    assert "sorter.divide_few_spikes" in doubt


@pytest.mark.parametrize("size", [None, 0, 1.5, "large"])
def test_a_batch_that_is_no_number_of_samples_is_refused(size: object) -> None:
    config = SortingPipelineConfig.model_validate({"sorter": {"name": "kilosort4", "params": {"batch_size": size}}})

    with pytest.raises(ConfigError, match=r"sorter\.params\.batch_size is "):
        _ = Kilosort4Backend(config).batch_samples
