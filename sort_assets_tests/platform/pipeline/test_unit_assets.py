"""From a known sorting to curated units, their report and their delivery, through the real assets of one recording."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pynwb import NWBHDF5IO
from spikeinterface.core import BaseRecording, BaseSorting, SortingAnalyzer

import sort_assets
from sort_assets.errors import MissingArtefactError
from sort_assets.platform.store.handles import StoredCuration, StoredDelivery, StoredReport
from sort_assets_tests.faults.runs import failures_of
from sort_assets_tests.fixtures.home import Home, cheap
from sort_assets_tests.platform.pipeline.known_accuracy import publish_measurement
from sort_assets_tests.platform.pipeline.known_units import AFTER_THE_SORT, checks_of, prepare, with_planted_units

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("unit_assets")]

PLANTED = ("100", "101", "102")


@dataclass(frozen=True)
class Sorted:
    """A recording with its results, and the run that made them."""

    home: Home
    key: str
    run_id: str
    units: BaseSorting


@pytest.fixture(scope="module")
def done(module_home: Home, short: tuple[BaseRecording, BaseSorting]) -> Iterator[Sorted]:
    recording, truth = short
    units = with_planted_units(truth)
    key = prepare(module_home, {"day 1.nwb": recording}, units)
    publish_measurement(module_home.store, "measured.nwb", 0.9, params=dict(cheap()["sorter"]["params"]))
    formats = {"formats": ["nwb", "npz", "mat", "phy", "pynapple"]}
    run = module_home.materialize(key, *AFTER_THE_SORT, config=cheap(delivery=formats))
    assert run.success, module_home.warnings(run.run_id)
    with module_home.environment():
        yield Sorted(module_home, key, run.run_id, units)


def test_the_defaults_keep_the_well_isolated_units_and_say_why_the_others_are_not(done: Sorted) -> None:
    decisions = StoredCuration(done.home.roots, done.key).decisions()

    kept = set(decisions.index[decisions["kept"].to_numpy(bool)])
    assert kept == {str(unit) for unit in done.units.unit_ids} - set(PLANTED)
    assert "SNR" in decisions.loc["100", "reason"]
    assert decisions.loc["101", "label"] == "duplicate"
    assert "0" in decisions.loc["101", "reason"]
    assert "20" in decisions.loc["102", "reason"]


def test_every_result_loads_as_what_its_library_knows(done: Sorted) -> None:
    units = sort_assets.load(done.key, "curated_units")
    metrics = sort_assets.load("day 1.nwb", "unit_metrics")
    files = sort_assets.load(str(done.home.roots.recordings / "day 1.nwb"), "spike_data")

    assert len(units.unit_ids) == len(done.units.unit_ids) - len(PLANTED)
    for unit in units.unit_ids:
        np.testing.assert_array_equal(units.get_unit_spike_train(unit), done.units.get_unit_spike_train(unit))
    assert set(units.get_property("label")) == {"good"}
    assert isinstance(metrics, pd.DataFrame)
    assert list(metrics.index) == [str(unit) for unit in done.units.unit_ids]
    assert isinstance(sort_assets.load(done.key, "waveforms"), SortingAnalyzer)
    assert {path.suffix for path in files.values() if path.is_file()} == {".nwb", ".npz", ".mat"}
    assert all(path.exists() for path in files.values())


@pytest.mark.parametrize(
    ("recording", "asset", "said"),
    [
        ("day=201.nwb", "curated_unit", "nearest is 'curated_units'"),
        ("day=202.nwb", "sorting", "nearest is 'day=201.nwb'"),
        ("day=201.nwb", "manual_curation", "no result called"),
    ],
)
def test_what_is_misspelt_is_answered_with_what_there_is(done: Sorted, recording: str, asset: str, said: str) -> None:
    with pytest.raises(MissingArtefactError, match=said):
        sort_assets.load(recording, asset)


def test_loading_starts_no_dagster(done: Sorted) -> None:
    code = (
        "import sys, sort_assets\n"
        f"sort_assets.load({done.key!r}, 'unit_metrics')\n"
        "assert not {'dagster', 'torch', 'kilosort'} & set(sys.modules)\n"
    )

    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)

    assert finished.returncode == 0, finished.stderr


def test_the_settings_are_found_in_the_env_file_of_the_project(
    done: Sorted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [f"{name}={value}" for name, value in done.home.variables.items()]
    (tmp_path / ".env").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    for name in done.home.variables:
        monkeypatch.delenv(name)

    metrics = sort_assets.load(done.key, "unit_metrics")

    assert len(metrics) == len(done.units.unit_ids)


def test_the_delivery_holds_the_kept_units_and_says_what_is_absent(done: Sorted) -> None:
    stored = StoredDelivery(done.home.roots, done.key)

    (path,) = [path for path in stored.load().values() if path.suffix == ".nwb"]
    with NWBHDF5IO(path, "r") as file:
        units = file.read().units.to_dataframe()
    assert len(units) == len(done.units.unit_ids) - len(PLANTED)
    for index, unit in enumerate(unit for unit in done.units.unit_ids if str(unit) not in PLANTED):
        times = done.units.get_unit_spike_train(unit) / done.units.sampling_frequency
        np.testing.assert_allclose(units.iloc[index]["spike_times"], times, atol=1e-9)
    assert any("Species" in words for words in stored.details.absent)
    assert "Species" in (path.parent / "README.txt").read_text(encoding="utf-8")


def test_the_report_is_one_page_that_names_every_unit_and_needs_nothing_else(done: Sorted) -> None:
    page = StoredReport(done.home.roots, done.key).load().read_text(encoding="utf-8")

    assert "8 of 11 units are kept" in page
    assert all(f'id="unit-{unit}"' in page for unit in done.units.unit_ids)
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert page.count("data:image/png;base64,") >= 8


def test_the_report_says_how_well_units_like_these_are_found_where_that_was_measured(done: Sorted) -> None:
    page = StoredReport(done.home.roots, done.key).load().read_text(encoding="utf-8")

    assert "How well units like these are found" in page
    assert "Units like this one are found with precision 0.98 and recall 0.90" in page


def test_the_checks_of_a_sound_recording_pass_but_for_the_facts_that_are_absent(done: Sorted) -> None:
    checks = checks_of(done.home, done.run_id)

    assert checks == {
        "all_metrics_computed": (True, "WARN"),
        "refractory_violations": (True, "WARN"),
        "drift_within_pitch": (True, "WARN"),
        "drift_as_usual": (True, "WARN"),
        "units_kept": (True, "WARN"),
        "persons_work_applied": (True, "ERROR"),
        "yield_as_usual": (True, "WARN"),
        "session_and_subject_known": (False, "WARN"),
    }


def test_the_page_of_each_asset_shows_its_pictures_and_a_table(done: Sorted) -> None:
    pictures, tables = {}, {}
    for asset in AFTER_THE_SORT:
        shown = done.home.metadata(done.run_id, asset)
        texts = [str(value.value) for value in shown.values()]
        pictures[asset] = sum(text.startswith("![") for text in texts)
        tables[asset] = [name for name, value in shown.items() if type(value).__name__ == "TableMetadataValue"]

    assert pictures == {"waveforms": 1, "unit_metrics": 1, "curated_units": 2, "sorting_report": 4, "spike_data": 1}
    assert tables["unit_metrics"] == ["metrics"]
    assert tables["curated_units"] == ["decisions", "criteria"]
    assert tables["spike_data"] == ["files"]


def test_other_thresholds_decide_otherwise_on_the_same_metrics(done: Sorted) -> None:
    before = done.home.store.artefact(done.key, "unit_metrics").manifest.version

    run = done.home.materialize(done.key, "curated_units", config=cheap(curation={"min_snr": 1000.0}))

    assert run.success
    assert StoredCuration(done.home.roots, done.key).details.num_kept == 0
    assert done.home.store.artefact(done.key, "unit_metrics").manifest.version == before
    assert checks_of(done.home, run.run_id)["units_kept"] == (False, "WARN")
    history = json.loads((done.home.store.artefact(done.key, "curated_units").path / "history.json").read_text())
    assert history["steps"][0]["made_by"]["thresholds"]["snr"]["greater"] == 1000.0


def test_what_was_decided_before_stays_as_it_was_made_and_a_run_that_asks_otherwise_is_told(done: Sorted) -> None:
    asked = cheap(curation={"min_snr": 4.0}, waveform={"ms_before": 0.5})

    run = done.home.materialize(done.key, "curated_units", config={**asked, "preset": "lupin"})

    assert run.success
    config = done.home.store.artefact(done.key, "curated_units").manifest.config
    assert config["curation"]["min_snr"] == 4.0
    assert config["sorter"]["name"] == "mountainsort5"
    assert config["waveform"]["ms_before"] == 1.0
    (told,) = [words for words in done.home.warnings(run.run_id) if "asks for other settings" in words]
    assert "waveform.ms_before" in told


def test_a_misspelt_metric_is_found_before_the_sort(done: Sorted) -> None:
    run = done.home.materialize(done.key, "sorting", config=cheap(curation={"thresholds": {"presence": {"less": 1}}}))

    (failure,) = failures_of(done.home, run.run_id)
    assert failure["failure_class"] == "ConfigError"
    assert "presence_ratio" in failure["description"] + failure["remedy"]
