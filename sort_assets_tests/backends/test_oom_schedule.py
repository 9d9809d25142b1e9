"""What gives when memory runs out: stage by stage, down to a floor, and never the thresholds."""

from typing import Any

import pytest

from sort_assets.backends.kilosort4 import Kilosort4Backend
from sort_assets.backends.kilosort4.stages import (
    DETECTION,
    DRIFT,
    FINAL_CLUSTERING,
    FIRST_CLUSTERING,
    MATCHING,
    MERGING,
    SAVING,
)
from sort_assets.backends.oom_schedule import changed_fields
from sort_assets.backends.spikeinterface_sorters import MountainSort5Backend
from sort_assets.config import SortingPipelineConfig
from sort_assets.errors import DeviceOutOfMemoryError, HostOutOfMemoryError, SortAssetsError


def kilosort4(**params: Any) -> Kilosort4Backend:
    return Kilosort4Backend(SortingPipelineConfig.model_validate({"sorter": {"name": "kilosort4", "params": params}}))


def out_of_memory(
    stage: str | None, kind: type[SortAssetsError] = DeviceOutOfMemoryError, **known: Any
) -> SortAssetsError:
    return kind("Memory ran out.", remedy="Buy more.", stage=stage, **known)


def steps(backend: Kilosort4Backend, failure: SortAssetsError) -> list[dict[str, Any]]:
    """The parameters after each retry, until nothing gives."""
    found = []
    while backend.scale_oom_params(0.5, failure=failure):
        found.append(dict(backend.config.sorter.params))
        assert len(found) < 20
    return found


@pytest.mark.parametrize("stage", [None, DRIFT, DETECTION])
def test_detection_takes_smaller_batches_down_to_half_a_second(stage: str | None) -> None:
    at_20_khz = out_of_memory(stage, sampling_frequency=20000.0)

    assert steps(kilosort4(), at_20_khz) == [{"batch_size": 30000}, {"batch_size": 15000}, {"batch_size": 10000}]


def test_retries_go_down_from_what_the_shape_had_chosen() -> None:
    short = out_of_memory(DETECTION, sampling_frequency=30000.0, **{"sorter.params.batch_size": 22_500})

    assert steps(kilosort4(), short) == [{"batch_size": 15000}]
    assert steps(kilosort4(batch_size=40000), short) == [{"batch_size": 20000}, {"batch_size": 15000}]


def test_retries_raise_nothing_that_the_shape_had_lowered() -> None:
    of_a_tetrode = out_of_memory(
        DETECTION, HostOutOfMemoryError, device="cuda", bytes_asked=2**34, **{"sorter.params.nearest_chans": 4}
    )

    assert steps(kilosort4(), of_a_tetrode) == []


@pytest.mark.parametrize("stage", [FIRST_CLUSTERING, FINAL_CLUSTERING])
def test_clustering_neither_touches_the_batch_nor_compares_with_fewer_spikes(stage: str) -> None:
    taken = steps(kilosort4(), out_of_memory(stage, sampling_frequency=30000.0))

    assert taken == [{"clear_cache": True}]


def test_clustering_goes_back_to_kilosorts_own_subset_first_where_more_was_asked_for() -> None:
    backend = kilosort4(clear_cache=True, cluster_downsampling=1, max_cluster_subset=None)

    first, *_ = steps(backend, out_of_memory(FINAL_CLUSTERING))

    assert first == {"clear_cache": True, "cluster_downsampling": 20, "max_cluster_subset": 25000}


def test_clustering_on_the_cpu_has_no_cache_to_empty() -> None:
    assert steps(kilosort4(), out_of_memory(FINAL_CLUSTERING, device="cpu")) == []


def test_clustering_of_a_wide_array_takes_more_centres_across_it() -> None:
    of_an_array = out_of_memory(FIRST_CLUSTERING, probe_width_um=2000.0)

    first, second, *_ = steps(kilosort4(), of_an_array)

    assert (first, second) == ({"clear_cache": True}, {"clear_cache": True, "x_centers": 8})


def test_centres_that_somebody_placed_are_left_where_they_are() -> None:
    backend = kilosort4(x_centers=[100.0, 300.0])

    taken = steps(backend, out_of_memory(FIRST_CLUSTERING, probe_width_um=2000.0))

    assert {tuple(params["x_centers"]) for params in taken} == {(100.0, 300.0)}


def test_matching_undoes_over_splitting_before_it_takes_smaller_batches() -> None:
    taken = steps(kilosort4(cluster_downsampling=1), out_of_memory(MATCHING, sampling_frequency=30000.0))

    assert taken == [
        {"cluster_downsampling": 20},
        {"cluster_downsampling": 20, "batch_size": 30000},
        {"cluster_downsampling": 20, "batch_size": 15000},
    ]


@pytest.mark.parametrize("stage", [MERGING])
def test_merging_has_nothing_to_give_when_kilosorts_own_subset_is_used(stage: str) -> None:
    assert steps(kilosort4(), out_of_memory(stage)) == []


def test_saving_empties_the_cache() -> None:
    assert steps(kilosort4(), out_of_memory(SAVING)) == [{"clear_cache": True}]


@pytest.mark.parametrize("stage", [DETECTION, FINAL_CLUSTERING])
def test_an_array_that_the_host_could_not_hold_is_not_answered_with_smaller_batches(stage: str) -> None:
    on_a_gpu = out_of_memory(stage, HostOutOfMemoryError, device="cuda", bytes_asked=2**34)

    assert steps(kilosort4(), on_a_gpu) == [{"nearest_chans": 5}]


def test_what_was_killed_on_the_cpu_also_follows_the_stage() -> None:
    on_the_cpu = out_of_memory(DETECTION, HostOutOfMemoryError, device="cpu", sampling_frequency=30000.0)

    assert steps(kilosort4(), on_the_cpu) == [
        {"nearest_chans": 5},
        {"nearest_chans": 5, "batch_size": 30000},
        {"nearest_chans": 5, "batch_size": 15000},
    ]


@pytest.mark.parametrize(
    "stage", [None, DRIFT, DETECTION, FIRST_CLUSTERING, MATCHING, FINAL_CLUSTERING, MERGING, SAVING]
)
@pytest.mark.parametrize("kind", [DeviceOutOfMemoryError, HostOutOfMemoryError])
def test_thresholds_are_never_changed(stage: str | None, kind: type[SortAssetsError]) -> None:
    backend = kilosort4(Th_universal=7, Th_learned=6)

    for params in steps(backend, out_of_memory(stage, kind, device="cpu", probe_width_um=3000.0)):
        assert (params["Th_universal"], params["Th_learned"]) == (7, 6)
        assert not {"Th_single_ch", "acg_threshold", "ccg_threshold", "dmin", "dminx"} & set(params)


def test_restoring_puts_everything_back_whatever_was_scaled() -> None:
    backend = kilosort4(nblocks=0)
    before = backend.config
    snapshot = backend.snapshot_oom_params()
    for stage in (DETECTION, FINAL_CLUSTERING, MATCHING):
        assert backend.scale_oom_params(0.5, failure=out_of_memory(stage))

    backend.restore_oom_params(snapshot)

    assert backend.config == before


def test_other_sorters_first_give_up_what_changes_no_result() -> None:
    config = {"sorter": {"name": "mountainsort5"}, "execution": {"n_jobs": 8}}
    backend = MountainSort5Backend(SortingPipelineConfig.model_validate(config))
    configured = backend.config

    assert backend.scale_oom_params(0.5)
    first = changed_fields(configured, backend.config)
    assert backend.scale_oom_params(0.5)
    second = changed_fields(configured, backend.config)

    assert set(first) == {"execution.chunk_duration_s"} <= backend.harmless_fields
    assert second["execution.n_jobs"] == [8, 4]
    assert second["sorter.params.scheme2_training_duration_sec"] == [None, 150]
