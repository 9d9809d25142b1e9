"""Kilosort's torch asks for segments that can grow, where the driver has them and nobody chose otherwise."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sort_assets.backends.kilosort4 import Kilosort4Backend
from sort_assets.backends.kilosort4.expandable_segments import SETTING
from sort_assets.backends.sorter_run import SPIKEINTERFACE_FOLDER
from sort_assets.config import SortingPipelineConfig
from sort_assets.running.job import OUTPUT_FILE

ASK = f"""
import os
from sort_assets.backends.kilosort4.expandable_segments import use_expandable_segments
use_expandable_segments()
print("torch reads", os.environ.get("{SETTING}"))
"""


def asked(driver: Path | None, **environment: str) -> list[str]:
    libraries = {"LD_LIBRARY_PATH": str(driver)} if driver else {}
    unset = (SETTING, "PYTORCH_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF")
    inherited = {name: value for name, value in os.environ.items() if name not in unset}
    command = [sys.executable, "-c", ASK]
    done = subprocess.run(
        command, env=inherited | libraries | environment, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.splitlines()


def test_a_driver_that_maps_memory_is_asked_for_expandable_segments(built_driver: Path) -> None:
    assert asked(built_driver, FAKE_CUDA_MAPS_MEMORY="1") == [
        "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True",
        "torch reads expandable_segments:True",
    ]


def test_one_that_does_not_is_left_as_torch_has_it_and_so_is_a_machine_without_a_driver(built_driver: Path) -> None:
    assert asked(built_driver, FAKE_CUDA_MAPS_MEMORY="0") == ["torch reads None"]
    assert asked(None) == ["torch reads None"] or Path("/dev/nvidiactl").exists()


@pytest.mark.parametrize(("name", "read"), [(SETTING, "max_split_size_mb:64"), ("PYTORCH_ALLOC_CONF", "None")])
def test_what_somebody_has_set_stays_and_is_said(name: str, read: str, built_driver: Path) -> None:
    said = asked(built_driver, FAKE_CUDA_MAPS_MEMORY="1", **{name: "max_split_size_mb:64"})

    assert said == [f"{name}=max_split_size_mb:64", f"torch reads {read}"]


def test_it_stands_among_the_effective_parameters(tmp_path: Path) -> None:
    (tmp_path / SPIKEINTERFACE_FOLDER).mkdir()
    noted = tmp_path / SPIKEINTERFACE_FOLDER / "spikeinterface_params.json"
    noted.write_text(json.dumps({"sorter_params": {"nblocks": 1}}))
    (tmp_path / OUTPUT_FILE).write_text(f"{SETTING}=expandable_segments:True\nkilosort: hello\n")

    effective = Kilosort4Backend(SortingPipelineConfig()).effective_params(tmp_path)

    assert effective == {"nblocks": 1, SETTING: "expandable_segments:True"}
