"""What a run's steps ask for, with everything looked up."""

from typing import Any

import dagster as dg
import pytest

from sort_assets.definitions import defs
from sort_assets.errors import MEMORY_LIMIT_GB, HostOutOfMemoryError
from sort_assets.platform.pipeline.catalog import PIPELINE
from sort_assets.platform.pipeline.run_requests import RunRequests
from sort_assets.platform.store.failures import record_failure
from sort_assets_tests.fixtures.home import Home
from sort_assets_tests.fixtures.ready import Ready


def _run(instance: dg.DagsterInstance, key: str, config: dict[str, Any] | None = None) -> dg.DagsterRun:
    job = defs.resolve_job_def("sort_recording")
    return instance.create_run_for_job(
        job,
        run_config={"resources": {"backend": {"config": config or {}}}},
        tags={"dagster/partition": key},
    )


def test_rules_and_the_run_say_what_its_steps_ask_for(ready: Ready) -> None:
    home = ready.home
    (home.roots.recordings / "sort_assets.yaml").write_text(
        "rules: [{match: '*.nwb', resources: {sorting: {memory_gb: 50, time_limit_h: 6}}}]", encoding="utf-8"
    )

    with home.instance() as instance:
        needs = RunRequests(instance, _run(instance, ready.key, {"resources": {"sorting": {"cpus": 2}}})).of_step(
            "sorting"
        )

    assert (needs.memory_gb, needs.time_limit_h, needs.cpus, needs.gpus) == (50, 6, 2, 1)
    assert needs.why["cpus"] == "run config"
    assert needs.why["memory_gb"].startswith("sort_assets.yaml, line 1")


def test_the_shape_of_the_recording_is_that_of_its_dat(ready: Ready) -> None:
    with ready.home.instance() as instance:
        needs = RunRequests(instance, _run(instance, ready.key)).of_step("sorting")

    # Of a recording of seconds, far less than is declared; with the places of its channels, the GPU's memory is known.
    assert needs.memory_gb < 8
    assert needs.gpu_memory_gb == 1


def test_before_there_is_a_dat_the_header_counts(home: Home, nwb_file: Any) -> None:
    key = home.register(home.link(nwb_file, "day.nwb"))

    with home.instance() as instance:
        requests = RunRequests(instance, _run(instance, key))
        needs = requests.of_run()

    assert requests.assets == PIPELINE
    assert needs.memory_gb < 16
    assert needs.gpu_memory_gb is None


def test_a_step_that_ran_out_of_memory_asks_for_more(ready: Ready) -> None:
    store = ready.home.store
    with ready.home.instance() as instance:
        run = _run(instance, ready.key)
        before = RunRequests(instance, run).of_step("sorting").memory_gb
        record_failure(
            *(store, ready.key, "sorting"),
            version="20260101T000000000-x",
            run_id="another run",
            attempt=1,
            error=HostOutOfMemoryError("Killed.", remedy="Launch it again.", **{MEMORY_LIMIT_GB: before}),
            scaled={},
            logs=[],
            retried=False,
        )

        asked = RunRequests(instance, run).of_step("sorting")

    assert asked.memory_gb == 2 * before
    assert asked.why["memory_gb"] == f"{before:g} GB were too little"


@pytest.mark.parametrize("wrong", [{"preset": "kilosort4", "sorter": {"device": "nowhere"}}])
def test_settings_that_are_wrong_leave_what_is_declared(ready: Ready, wrong: dict[str, Any]) -> None:
    with ready.home.instance() as instance:
        run = _run(instance, ready.key).with_tags({"dagster/partition": ready.key})
        needs = RunRequests(instance, run._replace(run_config={"resources": {"backend": {"config": wrong}}})).of_step(
            "sorting"
        )

    assert needs.gpus == 1


def test_a_step_of_no_recording_asks_for_little(home: Home) -> None:
    with home.instance() as instance:
        run = instance.create_run_for_job(defs.resolve_job_def("summarize_units"))
        needs = RunRequests(instance, run).of_step("units_across_recordings")

    assert (needs.cpus, needs.gpus) == (1, 0)
