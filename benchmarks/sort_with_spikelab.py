"""SpikeLab's `sort_recording` on one NWB file, as its users call it: what `against_spikelab.py` measures.

Runs in an environment with SpikeLab. Arguments: NWB file, folder, parameters of Kilosort 4, and workers (both JSON).
The units that it keeps are written into the folder, as times in seconds.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from spikelab.spike_sorting.config import KILOSORT4
from spikelab.spike_sorting.pipeline import sort_recording


def sort(nwb: Path, folder: Path, params: dict[str, Any], jobs: int) -> None:
    """Sort it, with SpikeLab's defaults for all that is not Kilosort's."""
    torch.set_num_threads(jobs)
    # Without a GPU, the watchdog of its memory has nothing to watch, and 20 GB of free disk are asked for by default.
    config = KILOSORT4.override(
        kilosort_params=params, n_jobs=jobs, gpu_watchdog=torch.cuda.is_available(), preflight_min_free_inter_gb=1.0
    )
    (found,) = sort_recording(
        [str(nwb)],
        config=config,
        intermediate_folders=[str(folder / "intermediate")],
        results_folders=[str(folder / "results")],
    )
    times_s = [np.asarray(train) / 1000 for train in found.train]  # it has milliseconds
    units = np.concatenate([np.full(len(train), unit) for unit, train in enumerate(times_s)] or [np.empty(0, int)])
    np.savez(folder / "units.npz", times_s=np.concatenate(times_s or [np.empty(0)]), units=units)


if __name__ == "__main__":
    sort(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]), json.loads(sys.argv[4]))
