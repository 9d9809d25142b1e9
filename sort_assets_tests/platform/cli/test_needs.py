"""`sort-assets needs`: what the steps of a recording will ask for."""

import json

from sort_assets.platform.pipeline.catalog import PIPELINE
from sort_assets_tests.fixtures.ready import Ready


def test_every_step_and_the_run_are_listed_with_who_decided(ready: Ready) -> None:
    rules = "rules: [{match: '*.nwb', preset: kilosort4, resources: {sorting: {time_limit_h: 6}}}]"
    (ready.home.roots.recordings / "sort_assets.yaml").write_text(rules, encoding="utf-8")

    told = ready.home.invoke("needs", ready.key)

    assert told.status == 0
    lines = {line.split("  ")[0]: line for line in told.stdout.splitlines()}
    assert {*PIPELINE, "whole run"} <= set(lines)
    assert "6 h" in lines["sorting"]
    assert "memory: estimate of kilosort4 for this shape" in lines["sorting"]
    assert "limit: sort_assets.yaml, line 1" in lines["sorting"]
    assert "memory: the recording's size" in lines["waveforms"]


def test_as_json_they_can_be_read_by_programs(ready: Ready) -> None:
    told = json.loads(ready.home.invoke("needs", ready.key, "--json").stdout)

    assert told[ready.key]["sorting"]["gpus"] == 1
    assert told[ready.key]["whole run"]["cpus"] == 4


def test_a_recording_that_is_not_there_is_said(ready: Ready) -> None:
    told = ready.home.invoke("needs", "nobody.nwb")

    assert told.status == 1
    assert "nobody.nwb" in told.stderr
