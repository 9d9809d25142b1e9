"""What an attempt runs with: configuration, upstream, earlier failures, device and memory profile, in one result."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sort_assets.config import ResolvedConfig, SortingPipelineConfig
from sort_assets.errors import (
    DeviceOutOfMemoryError,
    GpuMemoryTakenError,
    HostOutOfMemoryError,
    SorterCrashedError,
    SorterEnvironmentError,
)
from sort_assets.platform.execution.leases import CPU, Lease
from sort_assets.platform.pipeline.attempt_settings import decide_settings
from sort_assets.platform.store.manifest import Manifest
from sort_assets.platform.store.memory_profiles import MemoryProfile, Shape

CHUNK, TRAINING = "execution.chunk_duration_s", "sorter.params.scheme2_training_duration_sec"
OUT_OF_MEMORY = DeviceOutOfMemoryError("The GPU's memory is used up.", remedy="Use a larger GPU.")


def resolved(chosen: Mapping[str, str] | None = None, **sections: Mapping[str, Any]) -> ResolvedConfig:
    values = {"sorter": {"name": "mountainsort5"}, "execution": {"n_jobs": 4}, **sections}
    return ResolvedConfig(SortingPipelineConfig.model_validate(values), chosen or {})


def made_with(config: SortingPipelineConfig, asset: str = "sorting", **sources: str) -> Manifest:
    return Manifest(
        asset=asset,
        recording="rec",
        version="v",
        run_id="run",
        created=datetime.now(UTC),
        host="here",
        data_version="d",
        config=config.model_dump(mode="json"),
        config_sources={name.replace("__", "."): source for name, source in sources.items()},
        packages={},
        inputs={},
        files={},
        details={},
    )


def profile(*failures: DeviceOutOfMemoryError) -> MemoryProfile:
    return MemoryProfile(
        shape=Shape(sorter="mountainsort5", device="CPU", channels=4, sampling_hz=30_000.0),
        failures=[failure.to_dict() for failure in failures],
        params={},
        recording="other",
        version="v",
        run_id="run",
        created=datetime.now(UTC),
        expires=datetime.now(UTC) + timedelta(days=1),
    )


def test_a_first_attempt_runs_with_the_configuration() -> None:
    asked = resolved()

    settings = decide_settings(asked, "sorting")

    assert settings.config == asked.config
    assert (settings.scaled, settings.ignored, settings.profile) == ({}, (), None)


def test_what_ran_out_of_memory_takes_less_and_the_configured_values_stay_known() -> None:
    crash = SorterCrashedError("It got SIGSEGV.", remedy="Look at its log.")

    settings = decide_settings(resolved(), "sorting", failures=[OUT_OF_MEMORY, crash, OUT_OF_MEMORY])

    assert settings.scaled == {CHUNK: [1.0, 0.1], "execution.n_jobs": [4, 2], TRAINING: [None, 150]}
    assert settings.configured.config == resolved().config


def test_nothing_is_lowered_while_it_is_another_program_that_holds_the_memory() -> None:
    taken = GpuMemoryTakenError("Process 4711 holds it.", remedy="Let it end.", gpu_bytes_of_others=17 * 2**30)

    waited = decide_settings(resolved(), "sorting", failures=[taken, taken])
    in_the_end = decide_settings(resolved(), "sorting", failures=[taken, taken, taken])

    assert waited.scaled == {}
    assert in_the_end.scaled == {CHUNK: [1.0, 0.1]}


@pytest.mark.parametrize("asset", ["binary_dat", "waveforms", "unit_metrics"])
@pytest.mark.parametrize("sorter", ["kilosort4", "mountainsort5"])
def test_beside_the_sort_chunks_shrink_and_then_workers_go(asset: str, sorter: str) -> None:
    asked = resolved(sorter={"name": sorter})
    failure = HostOutOfMemoryError("Memory is used up.", remedy="Buy some.", stage=asset)
    taken = []
    settings = decide_settings(asked, asset)

    while settings.reduced_after(failure) is not None:
        settings = decide_settings(asked, asset, failures=[failure] * (len(taken) + 1))
        taken.append((settings.config.execution.chunk_duration_s, settings.config.execution.n_jobs))

    assert taken == [(0.1, 4), (0.1, 2), (0.1, 1)]
    assert settings.config.sorter == asked.config.sorter


def test_the_upstreams_sections_stay_and_the_run_is_told_what_it_asks_for_in_vain() -> None:
    sorter = {"name": "mountainsort5", "params": {"npca_per_channel": 1}}
    earlier = resolved(recording={"freq_min": 450.0}, sorter=sorter)
    asked = resolved(
        {"recording.freq_min": "run config", "sorter.params": "rule 1", "waveform.ms_before": "run config"},
        recording={"freq_min": 300.0},
        waveform={"ms_before": 3.0},
    )

    settings = decide_settings(
        asked, "waveforms", upstream=made_with(earlier.config, recording__freq_min="rule 2", sorter__params="rule 3")
    )

    assert settings.config.recording.freq_min == 450.0
    assert settings.config.sorter.params == {"npca_per_channel": 1}
    assert settings.config.waveform.ms_before == 3.0
    assert settings.ignored == ("recording.freq_min",)
    assert settings.configured.chosen == {
        "recording.freq_min": "rule 2",
        "sorter.params": "rule 3",
        "waveform.ms_before": "run config",
    }


def test_the_form_of_the_dat_is_decided_where_it_is_written() -> None:
    upstream = made_with(resolved().config, "preprocessed_recording")
    asked = resolved(recording={"dat_dtype": "float32", "freq_min": 450.0})

    settings = decide_settings(asked, "binary_dat", upstream=upstream)

    assert settings.config.recording.dat_dtype == "float32"
    assert settings.config.recording.freq_min == resolved().config.recording.freq_min


def test_the_device_that_is_held_takes_the_place_of_auto() -> None:
    cpu, cuda = Lease(CPU, "CPU"), resolved(sorter={"name": "mountainsort5", "device": "cuda"})

    settings = decide_settings(resolved(), "sorting", device=cpu)

    assert settings.config.sorter.device == "cpu"
    assert settings.scaled == {}
    with pytest.raises(SorterEnvironmentError, match="no GPU"):
        decide_settings(cuda, "sorting", device=cpu)


def test_a_memory_profile_lowers_what_the_configuration_leaves_higher() -> None:
    known = profile(OUT_OF_MEMORY)
    low = resolved(
        sorter={"name": "mountainsort5", "params": {"scheme2_training_duration_sec": 60}},
        execution={"n_jobs": 1, "chunk_duration_s": 0.1},
    )

    lowered, as_low = (decide_settings(asked, "sorting", profile=known) for asked in (resolved(), low))

    assert (lowered.scaled, lowered.profile) == ({CHUNK: [1.0, 0.1]}, known)
    assert (as_low.scaled, as_low.profile) == ({}, None)
