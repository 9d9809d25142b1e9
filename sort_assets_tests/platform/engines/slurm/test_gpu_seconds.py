"""The benchmark of GPU-seconds in its smallest size: a run that is a job without a GPU, its sort a job with one."""

import pytest

from benchmarks.slurm_gpu_steps import measure


@pytest.mark.release
@pytest.mark.xdist_group("slurm")
def test_only_the_sort_holds_a_gpu() -> None:
    steps = ("preprocessed_recording", "binary_dat", "sorting")

    measured = measure("runs_and_gpu_steps", recordings=1, sort_seconds=2.0, assets=steps)

    assert set(measured.start_s) == set(steps)
    assert measured.used_s <= measured.held_s < measured.makespan_s
