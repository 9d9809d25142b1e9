"""What is stale after rules, files or code have changed: Dagster's UI and the sensor say the same."""

import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from sort_assets.platform.arrivals.header_reader import HeaderReader
from sort_assets.platform.automation.stale_results.event_cache import FILE_NAME
from sort_assets.platform.automation.stale_results.staleness import CODE, StalenessReader
from sort_assets.testing.ground_truth import make_ground_truth
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.fixtures.home import Home
from sort_assets_tests.platform.arrivals.lab import QUIET_S, Lab
from sort_assets_tests.platform.automation.results import CODE_VERSIONS, report_results, statuses

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("staleness")]

RULES = """\
rules:
  - match: a.nwb
    preset: mountainsort5
    recording: {freq_min: 250, probe_file: probes/four.json}
    sorter: {params: {scheme: "1"}}
"""
FIRST, SECOND = "a.nwb", "b.nwb"
SIDECAR, PROBE = "b.nwb.sort_assets.yaml", "probes/four.json"


@pytest.fixture(scope="module")
def shared_lab(module_home: Home, reader: HeaderReader, small_file: Path) -> Iterator[Lab]:
    """Two recordings; a rule is about the first one."""
    for name in (FIRST, SECOND):
        shutil.copy(small_file, module_home.roots.recordings / name)
    _write_probe(module_home.roots.recordings / PROBE, pitch_um=20.0)
    with module_home.instance() as instance:
        lab = Lab(module_home, instance, reader)
        lab.rules(RULES)
        lab.arrive()
        yield lab


@pytest.fixture
def lab(shared_lab: Lab) -> Lab:
    """Everything as it was at first, and results of both recordings that were just made."""
    shared_lab.rules(RULES)
    (shared_lab.root / SIDECAR).unlink(missing_ok=True)
    shared_lab.scan(QUIET_S)
    for key in (FIRST, SECOND):
        report_results(shared_lab.instance, key)
    return shared_lab


def _write_probe(path: Path, pitch_um: float) -> None:
    from probeinterface import generate_linear_probe, write_probeinterface

    probe = generate_linear_probe(num_elec=4, ypitch=pitch_um)
    probe.set_device_channel_indices(range(4))
    path.parent.mkdir(exist_ok=True)
    write_probeinterface(path, probe)


def _stale(lab: Lab) -> dict[str, dict[str, tuple[str, ...]]]:
    """The causes by stale result, by recording; the UI says the same of every result."""
    found = StalenessReader().read(lab.instance, seconds=60.0)
    causes = {one.key: dict(one.causes) for one in found.stale}
    for key in (FIRST, SECOND):
        in_ui = {asset for asset, status in statuses(lab.instance, key).items() if status == "stale"}
        assert causes.get(key, {}).keys() == in_ui
    assert found.unread == 0
    return causes


def test_nothing_is_stale_when_it_was_just_made(lab: Lab) -> None:
    lab.scan(QUIET_S)

    assert _stale(lab) == {}


@pytest.mark.parametrize(
    ("before", "after", "stale"),
    [
        ("freq_min: 250", "freq_min: 260", {"preprocessed_recording": ("recording_settings",)}),
        ('scheme: "1"', 'scheme: "2"', {"sorting": ("sorter_settings",)}),
        ("sorter:", "waveform: {ms_before: 1.5}\n    sorter:", {"waveforms": ("waveform_settings",)}),
        (
            "sorter:",
            "curation: {min_snr: 4}\n    sorter:",
            {"unit_metrics": ("curation_settings",), "curated_units": ("curation_settings",)},
        ),
        ("sorter:", "delivery: {formats: [mat]}\n    sorter:", {"spike_data": ("delivery_settings",)}),
    ],
    ids=["recording", "sorter", "waveform", "curation", "delivery"],
)
def test_an_edited_rule_makes_stale_what_it_is_about(
    lab: Lab, before: str, after: str, stale: dict[str, tuple[str, ...]]
) -> None:
    assert before in RULES

    lab.rules(RULES.replace(before, after))
    look = lab.scan(1)

    assert look.warnings == []
    assert _stale(lab) == {FIRST: stale}


def test_what_changes_no_result_makes_nothing_stale_and_facts_only_the_delivery(lab: Lab) -> None:
    text = RULES.replace("{freq_min: 250,", "{  # the probe of 2024\n      freq_min: 250.0,")
    text += "    execution: {n_jobs: 2}\n    session: {lab: Doe lab}\n"
    text += "  - match: another.nwb\n    recording: {freq_min: 100}\n    sorter: {params: {scheme: '3'}}\n"

    lab.rules(text)
    look = lab.scan(1)

    assert look.warnings == []
    assert lab.observed(FIRST, "delivery_settings")[0].metadata["settings"].value["session"] == {"lab": "Doe lab"}
    assert _stale(lab) == {FIRST: {"spike_data": ("delivery_settings",)}}


@pytest.mark.release
def test_an_edit_that_is_taken_back_makes_nothing_stale(lab: Lab) -> None:
    lab.rules(RULES.replace("freq_min: 250", "freq_min: 260"))
    lab.scan(1)
    assert FIRST in _stale(lab)

    lab.rules(RULES)
    lab.scan(1)

    assert _stale(lab) == {}


def test_a_sidecar_makes_stale_its_own_recording(lab: Lab) -> None:
    (lab.root / SIDECAR).write_text("recording: {freq_max: 5000}\n", encoding="utf-8")

    look = lab.scan(1)

    assert look.warnings == []
    assert _stale(lab) == {SECOND: {"preprocessed_recording": ("recording_settings",)}}


def test_an_edited_probe_file_makes_stale_what_uses_it(lab: Lab) -> None:
    _write_probe(lab.root / PROBE, pitch_um=25.0)

    lab.scan(QUIET_S)

    assert _stale(lab) == {FIRST: {"preprocessed_recording": ("recording_settings",)}}


def test_a_changed_file_makes_stale_what_was_made_of_it(lab: Lab) -> None:
    recording, _ = make_ground_truth(duration_s=1.0, num_channels=4, num_units=2, seed=1)
    (lab.root / SECOND).unlink()
    write_nwb(recording, lab.root / SECOND)

    lab.arrive()

    assert _stale(lab) == {SECOND: {"preprocessed_recording": ("raw_recording",)}}


def test_a_new_result_makes_stale_what_comes_after_it(lab: Lab) -> None:
    report_results(lab.instance, FIRST, "binary_dat", version="second")
    report_results(lab.instance, SECOND, "binary_dat")

    assert _stale(lab) == {FIRST: {"sorting": ("binary_dat",)}}


def test_other_code_makes_stale_what_it_made(lab: Lab) -> None:
    report_results(lab.instance, FIRST, code_versions={"sorting": "0"})

    assert _stale(lab) == {FIRST: {"sorting": (CODE,)}}


@pytest.mark.release
def test_a_result_that_somebody_reported_by_hand_is_stale_when_what_it_is_made_from_is_newer(lab: Lab) -> None:
    lab.instance.report_runless_asset_event(dg.AssetMaterialization("sorting", partition=FIRST))
    assert _stale(lab) == {FIRST: {"waveforms": ("sorting",)}}

    report_results(lab.instance, FIRST, "binary_dat")

    assert _stale(lab) == {FIRST: {"sorting": ("binary_dat",), "waveforms": ("sorting",)}}


@pytest.mark.release
def test_a_recording_without_results_has_none_that_are_stale(lab: Lab, small_file: Path) -> None:
    shutil.copy(small_file, lab.root / "c.nwb")
    lab.arrive()
    lab.rules(RULES.replace("a.nwb", "'*'"))
    lab.scan(1)

    assert set(statuses(lab.instance, "c.nwb").values()) == {"missing"}
    assert _stale(lab).keys() == {SECOND}


@pytest.mark.release
def test_results_that_were_made_before_anything_was_observed_count_as_fresh(lab: Lab) -> None:
    key = lab.home.add_partition("early.nwb")
    report_results(lab.instance, key)
    for asset in ("raw_recording", "recording_settings", "sorter_settings", "waveform_settings"):
        for version in ("1", "2"):
            lab.instance.report_runless_asset_event(
                dg.AssetObservation(asset, partition=key, tags={"dagster/data_version": version})
            )

    assert set(statuses(lab.instance, key).values()) == {"fresh"}
    assert _stale(lab) == {}


def test_a_real_run_reports_what_it_was_made_from(lab: Lab) -> None:
    run = lab.home.materialize(SECOND, "preprocessed_recording")
    assert run.success
    assert statuses(lab.instance, SECOND)["preprocessed_recording"] == "fresh"

    lab.rules(RULES.replace("a.nwb", "'*'"))
    lab.scan(1)

    assert _stale(lab)[SECOND]["preprocessed_recording"] == ("recording_settings",)


def test_what_there_was_no_time_for_is_looked_at_in_the_next_look(lab: Lab) -> None:
    reader, instance = StalenessReader(), lab.instance
    (lab.home.folder / "dagster" / FILE_NAME).unlink(missing_ok=True)

    first, second = reader.read(instance, seconds=-1.0), reader.read(instance, seconds=60.0)

    assert (first.unread, first.stale) == (first.sorted, [])
    assert (first.unread > 0, second.unread) == (True, 0)


def test_the_next_process_does_not_read_everything_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    StalenessReader().read(lab.instance, seconds=60.0)
    fetched: Counter[dg.AssetKey] = Counter()
    original = dg.DagsterInstance.fetch_materializations

    def fetch(instance: dg.DagsterInstance, wanted: dg.AssetRecordsFilter, **named: Any) -> Any:
        fetched[wanted.asset_key] += len(wanted.storage_ids or ())
        return original(instance, wanted, **named)

    monkeypatch.setattr(dg.DagsterInstance, "fetch_materializations", fetch)
    found = StalenessReader().read(lab.instance, seconds=-1.0)

    assert (found.sorted > 0, found.unread) == (True, 0)
    assert max(fetched.values()) == 1  # of each asset, to see whether the file is of this instance


@pytest.mark.parametrize("content", [b"no database", b"of another instance"])
def test_a_memory_that_is_damaged_or_of_another_instance_is_not_trusted(content: bytes, lab: Lab) -> None:
    file = lab.home.folder / "dagster" / FILE_NAME
    expected = StalenessReader().read(lab.instance, seconds=60.0)
    if content == b"no database":
        file.write_bytes(content)
    else:
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute("UPDATE events SET event = json_set(event, '$.time', 1.0, '$.version', 'other')")

    assert StalenessReader().read(lab.instance, seconds=60.0) == expected


def test_everything_that_is_made_is_judged() -> None:
    from sort_assets.platform.pipeline.catalog import PIPELINE

    assert tuple(CODE_VERSIONS) == PIPELINE
