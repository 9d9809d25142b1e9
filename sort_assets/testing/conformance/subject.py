"""What the tests of the kit share: the backend, recordings with known spikes, one sort and one set of waveforms."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

from sort_assets.backends import SorterBackend, create_backend
from sort_assets.config import SortingPipelineConfig
from sort_assets.testing.ground_truth import make_ground_truth
from sort_assets.testing.nwb import write_nwb
from sort_assets.testing.sort_run import SortRun, make_sort_input, run_sort

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording, BaseSorting, SortingAnalyzer

SHORT_S = 2.0
"""Length of the recordings in the tests that do not sort."""
_OFFSET_COUNTS = 2000

GroundTruth = tuple["BaseRecording", "BaseSorting"]


class BackendUnderTest:
    """One backend, and what its tests are given.

    Attributes
    ----------
    backend_name, params, device, minimum_accuracy, minimum_recovered, needs_probe, checks_params
        See `SorterBackendConformance`.
    """

    backend_name: ClassVar[str]
    params: ClassVar[Mapping[str, Any]] = {}
    device: ClassVar[str] = "cpu"
    minimum_accuracy: ClassVar[float] = 0.8
    minimum_recovered: ClassVar[float] = 0.75
    needs_probe: ClassVar[bool] = True
    checks_params: ClassVar[bool] = True

    @classmethod
    def make_config(cls, **sections: Mapping[str, Any]) -> SortingPipelineConfig:
        """The configuration of these tests, with what a test wants to be different in a section."""
        values: dict[str, dict[str, Any]] = {
            "recording": {"bad_channels": "none"},
            "sorter": {"name": cls.backend_name, "params": dict(cls.params), "device": cls.device},
            "waveform": {"max_spikes_per_unit": 50},
            "execution": {"n_jobs": 1},
        }
        for section, changes in sections.items():
            values[section] |= changes
        return SortingPipelineConfig.model_validate(values)

    @classmethod
    def make_backend(cls, config: SortingPipelineConfig) -> SorterBackend:
        """The backend under test; override it to test one that is not registered."""
        return create_backend(config)

    @pytest.fixture
    def backend(self) -> SorterBackend:
        """A new backend, for one test."""
        return self.make_backend(self.make_config())

    @pytest.fixture(scope="class")
    @classmethod
    def ground_truth(cls) -> GroundTruth:
        """A recording with a probe and gains, and the spikes in it."""
        return _ground_truth()

    @pytest.fixture(scope="class")
    @classmethod
    def short(cls, ground_truth: GroundTruth) -> GroundTruth:
        """The first seconds of it, with the samples far from zero, as some amplifiers have them."""
        from spikeinterface.preprocessing import scale

        recording, sorting = ground_truth
        end = int(SHORT_S * recording.sampling_frequency)
        shifted = scale(recording.frame_slice(0, end), offset=_OFFSET_COUNTS, dtype="int16")
        return shifted, sorting.frame_slice(0, end)

    @pytest.fixture(scope="class")
    @classmethod
    def recording_file(cls, short: GroundTruth, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """The short recording as a file; override it where the backend reads other formats."""
        return write_nwb(short[0], tmp_path_factory.mktemp("file") / "recording.nwb")

    @pytest.fixture(scope="class")
    @classmethod
    def recording_folder(cls, short: GroundTruth, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """The short recording as a folder of two files."""
        folder = tmp_path_factory.mktemp("session")
        half = short[0].get_num_samples() // 2
        write_nwb(short[0].frame_slice(0, half), folder / "part_1.nwb")
        write_nwb(short[0].frame_slice(half, 2 * half), folder / "part_2.nwb")
        return folder

    @pytest.fixture(scope="class")
    @classmethod
    def sort_input(
        cls, ground_truth: GroundTruth, tmp_path_factory: pytest.TempPathFactory
    ) -> tuple[BaseRecording, Path | None]:
        """What the platform would sort: the view of the `.dat`, and its path, or the lazy recording."""
        return make_sort_input(cls.make_backend(cls.make_config()), ground_truth[0], tmp_path_factory.mktemp("dat"))

    @pytest.fixture(scope="class")
    @classmethod
    def sort_run(
        cls,
        sort_input: tuple[BaseRecording, Path | None],
        tmp_path_factory: pytest.TempPathFactory,
    ) -> SortRun:
        """The sort that all tests of the class share."""
        return run_sort(cls.make_backend(cls.make_config()), *sort_input, tmp_path_factory.mktemp("sort"))

    @pytest.fixture(scope="class")
    @classmethod
    def extracted(
        cls,
        ground_truth: GroundTruth,
        sort_input: tuple[BaseRecording, Path | None],
        tmp_path_factory: pytest.TempPathFactory,
    ) -> tuple[SortingAnalyzer, Path, Path]:
        """Waveforms of the known units: the analyzer, its folder and the folder for curation."""
        folder = tmp_path_factory.mktemp("extracted")
        backend = cls.make_backend(cls.make_config())
        analyzer = backend.extract_waveforms(
            sort_input[0], ground_truth[1], folder / "waveforms", folder / "curation", rng=np.random.default_rng(7)
        )
        return analyzer, folder / "waveforms", folder / "curation"


@cache
def _ground_truth() -> GroundTruth:
    return make_ground_truth()
