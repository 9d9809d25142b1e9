"""Every backend passes the kit, with the real sorter. Kilosort4 does so in test_kilosort4.py, with more tests of it."""

from pathlib import Path
from typing import Any

import pytest

from sort_assets.backends import SorterBackend
from sort_assets.config import SortingPipelineConfig
from sort_assets.errors import SorterFailedError
from sort_assets.testing import SorterBackendConformance, make_sort_input
from sort_assets_tests.backends.threshold_sorter import ThresholdBackend

GroundTruth = tuple[Any, Any]


@pytest.mark.slow
@pytest.mark.xdist_group("TestSpykingCircus2")
class TestSpykingCircus2(SorterBackendConformance):
    backend_name = "spykingcircus2"


@pytest.mark.release
@pytest.mark.xdist_group("TestTridesclous2")
class TestTridesclous2(SorterBackendConformance):
    backend_name = "tridesclous2"


@pytest.mark.release
@pytest.mark.xdist_group("TestLupin")
class TestLupin(SorterBackendConformance):
    backend_name = "lupin"


@pytest.mark.xdist_group("TestMountainSort5")
class TestMountainSort5(SorterBackendConformance):
    backend_name = "mountainsort5"

    def test_a_failure_names_its_cause_and_leaves_no_copy_of_the_recording(
        self, short: GroundTruth, tmp_path: Path
    ) -> None:
        backend = self.make_backend(self.make_config(sorter={"params": {"scheme": "9"}}))
        recording, dat_path = make_sort_input(backend, short[0], tmp_path)

        with pytest.raises(SorterFailedError, match="Invalid scheme: 9 given") as failure:
            backend.sort(recording, None, dat_path, tmp_path / "sorter")

        assert "mountainsort5.py" in failure.value.log_excerpt
        assert not (tmp_path / "sorter" / "sorter_output" / "recording").exists()


@pytest.mark.xdist_group("TestAnotherLabsBackend")
class TestAnotherLabsBackend(SorterBackendConformance):
    backend_name = "threshold"
    needs_probe = False
    checks_params = False

    @classmethod
    def make_backend(cls, config: SortingPipelineConfig) -> SorterBackend:
        return ThresholdBackend(config)
