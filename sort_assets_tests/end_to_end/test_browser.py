"""What a person sees and clicks, from a registered recording to its pictures, in a real browser."""

import os
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from sort_assets.config.settings import SCAN_INTERVAL_VARIABLE
from sort_assets.platform.pipeline.partitions import RECORDINGS_PARTITIONS
from sort_assets_tests.fixtures.browser import find_chromium, visitor
from sort_assets_tests.fixtures.home import Home
from sort_assets_tests.fixtures.servers import up

# One thread: two of torch's are many times slower on a busy machine.
RULES = """
arrival: {quiet_s: 2}
rules:
  - match: "*.nwb"
    sort: false
    preset: mountainsort5
    sorter: {params: {scheme: "1", npca_per_channel: 1}}
    execution: {n_jobs: 1}
    session: {session_description: A mouse explores an open field., electrode_location: CA1}
    subject: {subject_id: mouse1, species: Mus musculus, sex: F, age: P90D}
"""
PICTURES = {
    "preprocessed_recording": ("probe", "traces", "noise"),
    "sorting": ("raster",),
    "waveforms": ("templates",),
    "unit_metrics": ("positions",),
    "curated_units": ("kept and rejected", "thresholds"),
    "spike_data": ("kept units",),
    "sorting_report": ("kept_fraction_bar", "raster", "unit_positions", "drift"),
}
TABLES = {
    "unit_metrics": [("unit_id", "firing_rate", "snr")],
    "curated_units": [("unit_id", "label", "reason"), ("unit_id", "isi_violations_percent", "waveform_deviation")],
}


@pytest.fixture
def chromium() -> str:
    """The browser; without one the test is skipped, or fails where everything must run."""
    found = find_chromium()
    if found is None:
        missing = "no chromium: `apt-get install chromium`"
        (pytest.fail if os.environ.get("SORT_ASSETS_REQUIRE_ALL") else pytest.skip)(missing)
    return found


@pytest.mark.slow
def test_a_person_sorts_a_recording_in_the_ui_and_sees_what_came_out(
    chromium: str, home: Home, short_file: Path, tmp_path: Path
) -> None:
    home = replace(home, variables={**home.variables, SCAN_INTERVAL_VARIABLE: "2"})
    (home.roots.recordings / "sort_assets.yaml").write_text(RULES, encoding="utf-8")
    with up(home, tmp_path / "up.log") as (server, _), visitor(chromium, server) as person:
        home.link(short_file, "mouse1/day2.nwb")
        page, key = person.page, _registered_by_the_sensor(home)

        # From the report's page to the job that makes it, with all that it is made from.
        person.open("sorting_report")
        page.get_by_role("link", name="sort_recording").click()
        page.get_by_role("button", name="Materialize all").click()
        person.choose_partition(key)
        person.keep("launch")
        page.get_by_role("button", name="Launch 1 run").click()
        assert person.follow_the_launched_run() == "Success", (tmp_path / "up.log").read_text(encoding="utf-8")[-3000:]
        person.keep("run")

        person.open("units_across_recordings")
        page.get_by_role("button", name=re.compile("Materialize$")).click()
        assert person.follow_the_launched_run() == "Success"
        person.open("units_across_recordings", "events")
        person.assert_pictures("units per recording", "quality over time", "failures by class")
        person.keep("units_across_recordings")

        for asset, titles in PICTURES.items():
            person.open(asset, "partitions", key)
            person.assert_pictures(*titles)
            for columns in TABLES.get(asset, ()):
                assert _rows(person.table(*columns)) >= 6
            person.keep(asset)

        report = page.get_by_role("link", name="Open the report")
        person.errors.clear()
        report.click()
        page.wait_for_url(f"{home.roots.figures_url}/**/report.html")
        person.assert_text("units are kept", "mouse1/day2.nwb")
        widths = page.evaluate("Promise.all([...document.images].map(async i => (await i.decode(), i.naturalWidth)))")
        assert len(widths) >= 8
        assert min(widths) > 0
        assert person.errors == []  # the page's own security policy, say
        person.keep("report")

        person.open("sorting", "checks")
        expect(page.get_by_role("img", name="warning_outline")).to_have_count(0)
        person.choose("preflight")
        person.assert_text("Passed")
        person.choose("spikes_inside_recording")
        person.assert_text("blocking", "The sorter put no spike outside the recording")
        person.keep("checks")

        person.open("curated_units")
        person.assert_text("Of every unit, whether it is kept", "electrophysiology", "pandas", "spike_sorting")
        expect(page.get_by_role("row", name="bombcell_label").first).to_contain_text("good, mua, noise or non_soma")
        expect(page.get_by_role("link", name=re.compile("Open curated_units.py .*in editor"))).to_be_visible()
        person.keep("curated_units-overview")


def _registered_by_the_sensor(home: Home) -> str:
    """The key of the recording that arrived."""
    deadline = time.monotonic() + 120
    with home.instance() as instance:
        while not (keys := instance.get_dynamic_partitions(RECORDINGS_PARTITIONS)):
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.5)
    (key,) = keys
    return key


def _rows(table: Locator) -> int:
    """How many rows of values a table has, once it is there."""
    table.wait_for()
    return table.get_by_role("row").count() - 1
