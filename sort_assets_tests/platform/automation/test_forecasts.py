"""What sorting will take, said from the manifests of what was sorted: by command, in the queue, in a sort's log."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from sort_assets.config import SortingPipelineConfig
from sort_assets.definitions import defs
from sort_assets.platform.automation.digest import next_digest
from sort_assets.platform.pipeline.catalog import PIPELINE
from sort_assets.platform.pipeline.disk_outlook import disk_outlook
from sort_assets.platform.pipeline.recording_forecast import duration, tag_queued_runs, time_of_sort
from sort_assets.platform.pipeline.step_history import cost_history, past_step, settings_of
from sort_assets.platform.store.layout import CURRENT
from sort_assets_tests.fixtures.home import Home
from sort_assets_tests.platform.past_costs import GPU, cost, publish_all

SORTED = [f"day{number}.nwb" for number in range(6)]


@pytest.fixture(scope="module")
def lab(module_home: Home, small_file: Path) -> Home:
    """Six recordings that are sorted, and one that is registered."""
    for key in SORTED:
        module_home.add_partition(key)
        publish_all(module_home.store, key)
    module_home.register(module_home.link(small_file, "new.nwb"))
    return module_home


def _queue(instance: dg.DagsterInstance, key: str) -> str:
    run = instance.create_run_for_job(
        defs.resolve_job_def("sort_recording"),
        tags={"dagster/partition": key},
        status=dg.DagsterRunStatus.QUEUED,
        remote_job_origin=RemoteJobOrigin(
            RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("sort_assets"), "__repository__"), "sort_recording"
        ),
    )
    return run.run_id


def test_a_recording_that_waits_is_forecast_by_those_that_were_sorted(lab: Home) -> None:
    found = json.loads(lab.invoke("forecast", "--json").stdout)

    assert found["unsorted"] == ["new.nwb"]
    assert found["recordings"] == 1
    # 4 channels for half a second, of what took 100 s for 16 channels and 10 s.
    assert 0 < found["gpu_s"]["p10"] < found["gpu_s"]["p50"] < found["gpu_s"]["p90"] < 90 * len(PIPELINE)
    assert found["disk"]["free_bytes"] > 0


def test_a_run_in_the_queue_is_said_to_take_so_long(lab: Home, small_file: Path) -> None:
    key = lab.register(lab.link(small_file, "queued.nwb"))
    with lab.instance() as instance:
        run_id = _queue(instance, key)

        assert tag_queued_runs(instance, lab.store) == 1
        assert tag_queued_runs(instance, lab.store) == 0  # once is enough

        run = instance.get_run_by_id(run_id)
    assert run is not None
    assert run.tags["sort_assets/forecast"].startswith("about ")
    backlog = json.loads(lab.invoke("forecast", "--json").stdout)
    assert (backlog["queued"], backlog["unsorted"]) == ([key], ["new.nwb"])
    shown = lab.invoke("status").stdout
    assert f"queued, {run.tags['sort_assets/forecast']}" in shown
    assert "Disk of the store: " in shown
    statuses = {one["recording"]: one for one in json.loads(lab.invoke("status", "--json").stdout)}
    assert statuses["new.nwb"]["estimate"] is None
    assert statuses[key]["estimate"] == run.tags["sort_assets/forecast"]


def test_without_a_history_that_is_said(home: Home, small_file: Path) -> None:
    key = home.register(home.link(small_file, "new.nwb"))
    with home.instance() as instance:
        run_id = _queue(instance, key)
        tag_queued_runs(instance, home.store)
        run = instance.get_run_by_id(run_id)

    by_step, backlog = home.invoke("forecast", key), home.invoke("forecast")

    assert run is not None
    assert run.tags["sort_assets/forecast"] == "no history yet"
    assert "no history: 0 runs of at least 5" in by_step.stdout
    assert "No forecast: no history of at least five runs" in backlog.stdout
    assert "no history yet of how fast it fills" in backlog.stdout


def test_each_step_of_a_named_recording_says_by_what_it_is_forecast(lab: Home) -> None:
    told = lab.invoke("forecast", "new.nwb")

    assert told.status == 0
    lines = {line.split("  ")[0]: line for line in told.stdout.splitlines()}
    assert {*PIPELINE, "time", "GPU time", "disk"} <= set(lines)
    assert f"6 runs on {GPU}" in lines["sorting"]


def test_another_device_has_no_history(lab: Home) -> None:
    told = json.loads(lab.invoke("forecast", "new.nwb", "--device", "RTX A4000", "--json").stdout)

    assert told["new.nwb"]["steps"]["sorting"]["by"] == (
        "no history: 0 runs on RTX A4000 of at least 5 (with kilosort4)"
    )
    assert "wall_s" in told["new.nwb"]["steps"]["waveforms"]


def test_a_name_that_is_no_recording_is_said_and_the_others_go_on(lab: Home) -> None:
    told = lab.invoke("forecast", "nobody.nwb", "new.nwb")

    assert told.status == 1
    assert "nobody.nwb" in told.stderr
    assert "sorting" in told.stdout


def test_a_sort_says_how_long_it_takes(lab: Home) -> None:
    binary_dat = lab.store.artefact("day0.nwb", "binary_dat").manifest

    assert time_of_sort(lab.store, binary_dat, SortingPipelineConfig(), GPU).startswith("about 1.7 min")
    assert time_of_sort(lab.store, binary_dat, SortingPipelineConfig(), "RTX A4000") == ""


def test_results_of_versions_that_recorded_no_cost_are_no_history(home: Home) -> None:
    made = publish_all(home.store, "old.nwb", with_cost=False)
    manifest = json.loads((made["sorting"].path / "manifest.json").read_text())
    del manifest["cost"]  # as they stand in such a store

    assert past_step(manifest) is None
    assert made["sorting"].manifest.model_validate(manifest).cost is None


@pytest.mark.parametrize(
    "damage", [{"config": {}}, {"created": "yesterday"}, {"cost": {"wall_s": "long"}}, {"files": 3}]
)
def test_a_damaged_manifest_is_no_history(home: Home, damage: dict[str, Any]) -> None:
    made = publish_all(home.store, "day.nwb")["sorting"].manifest

    assert past_step(made.model_dump(mode="json")) is not None
    assert past_step({**made.model_dump(mode="json"), **damage}) is None


def test_waiting_for_a_device_is_not_what_a_step_takes(home: Home) -> None:
    made = publish_all(home.store, "day.nwb", step_cost=cost(wall_s=1000.0, waited_s=900.0))["sorting"].manifest

    step = past_step(made.model_dump(mode="json"))

    assert step is not None
    assert step.costs["wall_s"] == 100.0


def test_the_device_and_the_part_of_a_recording_are_no_other_settings() -> None:
    usual = settings_of("sorting", SortingPipelineConfig().model_dump(mode="json"))

    def of(asset: str = "sorting", **sections: Any) -> str:
        return settings_of(asset, SortingPipelineConfig.model_validate(sections).model_dump(mode="json"))

    assert of(sorter={"device": "cuda"}) == usual
    assert of(curation={"min_snr": 9.0}) == usual
    assert of(sorter={"params": {"Th_universal": 8}}) != usual
    assert of("binary_dat", recording={"start_s": 5.0}) == of("binary_dat")
    assert of("binary_dat", recording={"freq_min": 250.0}) != of("binary_dat")
    assert of("sorting_report", curation={"min_snr": 9.0}) != of("sorting_report")


def test_the_history_is_the_same_from_summaries_and_from_manifests(lab: Home) -> None:
    with lab.environment():
        from_summaries = cost_history(lab.store)._past["sorting", "kilosort4"]

    assert len(from_summaries) == len(SORTED)
    manifest = lab.store.summary("day5.nwb", "sorting")
    assert manifest is not None
    assert past_step(manifest) in from_summaries


def test_the_disk_fills_as_fast_as_recordings_came(home: Home) -> None:
    for days_ago in range(14):
        key = f"day{days_ago}.nwb"
        publish_all(home.store, key)
        for asset in PIPELINE:
            _made_days_ago(home.store.asset_folder(key, asset), days_ago + 0.5)

    with home.environment():
        outlook = disk_outlook(home.roots)

    assert outlook.daily_bytes == pytest.approx(1000 * len(PIPELINE), rel=0.1)
    assert outlook.days_until_full is not None
    assert outlook.days_until_full.p50 == pytest.approx(outlook.free_bytes / outlook.daily_bytes, rel=0.1)
    assert "full in about" in outlook.words


def test_the_digest_says_how_long_the_disk_lasts(home: Home) -> None:
    with home.instance() as instance:
        digest = next_digest(instance, home.store)

    assert "Disk of the store: " in digest.message.text
    assert digest.nothing_happened


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0.4 s"), (40, "40 s"), (1500, "25 min"), (12600, "3.5 h"), (3 * 86400, "3 days"), (1e7, "116 days")],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def _made_days_ago(folder: Path, days: float) -> None:
    """Give the only version of an asset another time."""
    version = (folder / CURRENT).resolve()
    at = datetime.now(UTC) - timedelta(days=days)
    moved = version.with_name(f"{at:%Y%m%dT%H%M%S}000-{version.name.rpartition('-')[2]}")
    version.rename(moved)
    (folder / CURRENT).unlink()
    (folder / CURRENT).symlink_to(moved.name)
