"""Device leases: one holder per device, freed by the kernel.

There is no GPU here: the devices are named by hand, and their processes, locks and signals are real.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sort_assets.errors import InstanceError
from sort_assets.machine.gpus import Gpu, select_visible
from sort_assets.platform.execution.gpu_choice import lock_file
from sort_assets.platform.execution.leases import device_lease
from sort_assets.platform.store.locks import is_locked

GPUS = [Gpu("GPU-aaaa", "first", 1), Gpu("GPU-bbbb", "second", 1)]
HOLDER = """
import os, sys, time
from pathlib import Path
from sort_assets.machine.gpus import Gpu
from sort_assets.platform.execution.gpu_choice import lock_file
from sort_assets.platform.execution.leases import device_lease
from sort_assets.platform.store.locks import is_locked
with device_lease(print, gpus=[Gpu("GPU-aaaa", "first", 1)], folder=Path(sys.argv[1])):
    print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
    time.sleep(600)
"""

# After the imports, because another user need not be able to read this Python.
STRANGER = HOLDER.replace("with ", "os.setgroups([]); os.setgid(65534); os.setuid(65534)\nwith ")


def _ignore(line: str) -> None:
    pass


def test_each_holder_has_a_device_of_its_own(tmp_path: Path) -> None:
    with (
        device_lease(_ignore, gpus=GPUS, folder=tmp_path) as first,
        device_lease(_ignore, gpus=GPUS, folder=tmp_path) as second,
    ):
        assert {first.device, second.device} == {"GPU-aaaa", "GPU-bbbb"}


def test_only_the_leased_device_is_visible_to_the_holder_and_its_children(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with device_lease(_ignore, gpus=GPUS, folder=tmp_path):
        code = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"
        child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert child.stdout.strip() == "GPU-aaaa"

    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_a_lease_on_the_cpu_hides_the_gpus_on_which_others_sort(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-aaaa")

    with device_lease(_ignore, gpu=False, gpus=GPUS, folder=tmp_path) as lease:
        assert lease.device == "cpu"
        assert os.environ["CUDA_VISIBLE_DEVICES"] == ""

    assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-aaaa"


def test_without_a_gpu_one_sorter_runs_at_a_time(tmp_path: Path) -> None:
    order: list[str] = []
    waiting: list[str] = []

    def second() -> None:
        with device_lease(waiting.append, gpus=[], folder=tmp_path) as lease:
            order.append(f"second on {lease.device}")

    with device_lease(_ignore, gpus=[], folder=tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(1.5)
        order.append("first done")
    thread.join(timeout=10)

    assert order == ["first done", "second on cpu"]
    assert waiting == ["Waiting for a free device: CPU in use by another sort."]


@pytest.mark.parametrize(
    "variables",
    [{"DAGSTER_RUN_STEP_KEY": "sorting"}, {"SORT_ASSETS_ENGINE": "slurm", "SLURM_JOB_ID": "7"}],
    ids=["a step that an engine started", "a run in a job of Slurm"],
)
def test_sorters_with_cores_of_their_own_do_not_take_turns(
    variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with (
        device_lease(_ignore, gpus=[], folder=tmp_path) as first,
        device_lease(_ignore, gpus=[], folder=tmp_path) as second,
    ):
        assert first.device == second.device == "cpu"
    with device_lease(_ignore, gpus=GPUS[:1], folder=tmp_path) as on_gpu:
        assert on_gpu.device == "GPU-aaaa"
        assert is_locked(lock_file(tmp_path, "GPU-aaaa"))


def test_a_killed_holder_frees_its_device(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline().strip() == "GPU-aaaa"
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()

    with device_lease(_ignore, gpus=GPUS[:1], folder=tmp_path) as lease:
        assert lease.device == "GPU-aaaa"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users may enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory(prefix="sort_assets-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.skipif(os.getuid() != 0, reason="NOT TESTED: only root can start a process of another user")
def test_users_of_one_machine_take_turns(open_folder: Path) -> None:
    leases = open_folder / "leases"
    with device_lease(_ignore, gpus=GPUS[:1], folder=leases):
        pass
    stranger = subprocess.Popen([sys.executable, "-c", STRANGER, str(leases)], stdout=subprocess.PIPE, text=True)
    assert stranger.stdout is not None
    assert stranger.stdout.readline().strip() == "GPU-aaaa"

    with device_lease(_ignore, gpus=GPUS, folder=leases) as lease:
        assert lease.device == "GPU-bbbb"

    stranger.kill()
    stranger.communicate()
    with device_lease(_ignore, gpus=GPUS, folder=leases) as lease:
        assert lease.device == "GPU-aaaa"


@pytest.mark.skipif(os.getuid() != 0, reason="NOT TESTED: only root can start a process of another user")
def test_a_folder_that_others_closed_is_an_error_with_a_remedy(open_folder: Path) -> None:
    words = [sys.executable, "-c", STRANGER, str(open_folder / "leases")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)

    assert "InstanceError: The folder" in done.stderr
    assert "Set SORT_ASSETS_LEASES to" in done.stderr


def test_a_file_in_place_of_the_folder_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "leases").touch()

    with (
        pytest.raises(InstanceError, match="SORT_ASSETS_LEASES"),
        device_lease(_ignore, gpus=GPUS, folder=tmp_path / "leases"),
    ):
        pass


def test_a_mig_slice_is_leased_by_the_name_that_cuda_takes(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (mig,) = select_visible(GPUS, "MIG-GPU-aaaa/7/0")

    with device_lease(_ignore, gpus=[mig], folder=tmp_path) as lease:
        assert lease.device == os.environ["CUDA_VISIBLE_DEVICES"] == "MIG-GPU-aaaa/7/0"


def test_visible_devices_limit_the_choice_as_in_cuda() -> None:
    assert select_visible(GPUS, "1") == [GPUS[1]]
    assert select_visible(GPUS, "GPU-bb,0") == [GPUS[1], GPUS[0]]
    assert select_visible(GPUS, "0,7,1") == [GPUS[0]]
    assert select_visible(GPUS, "") == []
