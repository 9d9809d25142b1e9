"""What the machine's GPUs say of themselves, and whether CUDA starts on them."""

from pathlib import Path

import pynvml

from sort_assets.errors import SortAssetsError
from sort_assets.machine import gpu_sensors
from sort_assets.machine.cuda_check import check_gpu, start_on
from sort_assets.machine.gpus import Gpu, list_gpus
from sort_assets.machine.pid_namespace import sees_host_pids


def describe(gpu: Gpu) -> None:
    """Print what one GPU says."""
    print(gpu)
    sensors = gpu_sensors.open_gpu(gpu.uuid)
    print("memory", sensors.memory_bytes(), "temperature", sensors.temperature_c(), "programs", sensors.programs())
    try:
        pynvml.nvmlDeviceGetProcessUtilization(sensors._handle, 0)
        print("process utilisation: supported")
    except pynvml.NVMLError as error:
        print("process utilisation:", type(error).__name__, error, "(NotFound: supported, and nobody computes)")
    print("CUDA, started by a child:", start_on(gpu))
    reason = check_gpu(gpu, anew=True)
    print("usable for sorting:", "yes" if reason is None else f"{type(reason).__name__}: {reason}")


def main() -> None:
    """Print it for each GPU."""
    print("pids of the host seen:", sees_host_pids(), Path("/proc/self/ns/pid").readlink())
    try:
        gpus = list_gpus()
    except SortAssetsError as error:
        print(type(error).__name__, error)
        return
    print(f"{len(gpus)} GPUs")
    for gpu in gpus:
        describe(gpu)


if __name__ == "__main__":
    main()
