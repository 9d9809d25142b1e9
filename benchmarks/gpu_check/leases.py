"""Which device a lease names for each `CUDA_VISIBLE_DEVICES`, and what torch sees in a process started under it."""

import os
import subprocess
import sys

from sort_assets.errors import SortAssetsError
from sort_assets.machine.gpus import find_gpus
from sort_assets.platform.execution.leases import device_lease

VISIBLE = "CUDA_VISIBLE_DEVICES"
SEES = "import torch; print(torch.cuda.device_count(), 'GPU, available:', torch.cuda.is_available())"


def seen_by_a_child() -> str:
    """How many GPUs torch sees in a new process."""
    return subprocess.run([sys.executable, "-c", SEES], capture_output=True, text=True).stdout.strip()


def main() -> None:
    """Print it, for what schedulers and people write."""
    gpus = find_gpus()
    uuid = gpus[0].uuid if gpus else "GPU-none"
    asked = (None, "0", uuid, uuid[:12], "", "-1", "NoDevFiles", "5") if gpus else (None, "")
    for value in asked:
        os.environ.pop(VISIBLE, None)
        if value is not None:
            os.environ[VISIBLE] = value
        try:
            with device_lease(print) as lease:
                child = seen_by_a_child() if value in (None, uuid) else "not asked"
                print(f"{VISIBLE}={value!r}: lease {lease.device[:12]} {lease.name}; a child sees {child}")
        except SortAssetsError as error:
            print(f"{VISIBLE}={value!r}: {type(error).__name__}: {error}")
    os.environ.pop(VISIBLE, None)
    with device_lease(print, gpu=False) as lease:
        print(f"lease of the CPU: {lease.device}; a child sees {seen_by_a_child()}", flush=True)


if __name__ == "__main__":
    main()
