"""Compile beforehand all that numba compiles, so that no run of a fresh installation has to.

    python -m sort_assets.curation.compile_ahead

`make install` does it. It takes half a minute of a core; where all is compiled and kept already (`keep_compiled`), a
few seconds.
"""

import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np


def compile_all() -> None:
    """Filter a few samples, and go once through waveforms, further extensions, metrics and curation of a few spikes."""
    from spikeinterface.core import NumpyRecording, NumpySorting, load_sorting_analyzer

    from sort_assets.config import SortingPipelineConfig
    from sort_assets.curation.curate import curate
    from sort_assets.metrics.analyzers import create_analyzer, cut_waveforms
    from sort_assets.metrics.extensions import complete_analyzer
    from sort_assets.metrics.unit_metrics import compute_unit_metrics
    from sort_assets.recordings.block_passes import compile_kernels

    compile_kernels()
    job_kwargs: dict[str, Any] = {"n_jobs": 1, "progress_bar": False}
    config = SortingPipelineConfig()
    noise = np.random.default_rng(0).normal(0, 10, (60_000, 4))
    # Units with whole numbers for names, as Kilosort's: some loops are compiled anew for other names.
    trains = {0: np.arange(300, 59_000, 500), 1: np.arange(320, 59_000, 500), 2: np.arange(430, 59_000, 410)}
    for channel, train in trains.items():
        noise[train[:, None] + np.arange(-5, 6), channel] -= 100 * np.hanning(11)
    for dtype in ("int16", "float32"):
        recording = NumpyRecording([noise.astype(dtype)], 30_000.0)
        recording.set_channel_gains(1.0)
        recording.set_channel_offsets(0.0)
        recording.set_dummy_probe_from_locations(np.arange(4)[:, None] * [0.0, 20.0])
        sorting = NumpySorting.from_unit_dict(trains, 30_000.0)
        with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Of so short a recording, about everything.
            analyzer = create_analyzer(sorting, recording, Path(temporary) / "analyzer", job_kwargs=job_kwargs, seed=0)
            cut_waveforms(analyzer, max_spikes_per_unit=50, ms_before=1.0, ms_after=2.0, seed=0, job_kwargs=job_kwargs)
            if dtype == "int16":
                complete_analyzer(analyzer, job_kwargs=job_kwargs)
                # The step after loads it; for arrays that can't be written to, loops are compiled anew.
                analyzer = load_sorting_analyzer(Path(temporary) / "analyzer")
                metrics = compute_unit_metrics(analyzer, config.metrics, job_kwargs=job_kwargs)
                everything: dict[str, Any] = {"thresholds": {}, "reject_bombcell": []}
                curate(analyzer, metrics, config.curation.model_copy(update=everything), job_kwargs=job_kwargs)


if __name__ == "__main__":
    compile_all()
