"""A store that commit 9b058a1 wrote opens, appears in the status, is not stale, and loses nothing.

How it was made, and what is in it, stands in `old_store/README.md`.
"""

import dataclasses
import json
import shutil
import tarfile
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import sort_assets
from sort_assets.config import SortingPipelineConfig
from sort_assets.errors import DamagedArtefactError
from sort_assets.platform.automation.stale_results.staleness import StalenessReader
from sort_assets.platform.pipeline.assets import preprocessed_recording
from sort_assets.platform.pipeline.assets.binary_dat import for_data_version
from sort_assets.platform.pipeline.catalog import PIPELINE, pipeline_asset
from sort_assets.platform.pipeline.retention import versions_kept
from sort_assets.platform.pipeline.stored_summary import load_summary
from sort_assets.platform.store.content_hash import hash_json
from sort_assets.platform.store.garbage import collect_garbage
from sort_assets.platform.store.handles import UNGROUPED
from sort_assets.platform.store.memory_profiles import MemoryProfiles
from sort_assets.recordings.clock import ANNOTATION, clock_from_start
from sort_assets.recordings.dat_file import DatDescription
from sort_assets_tests.fixtures.home import Home, home_at, make_home

FOLDER = Path(__file__).parent / "old_store"
EXPECTED: dict[str, Any] = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
LOADED: dict[str, Any] = EXPECTED["loaded"]
KEY: str = EXPECTED["recording"]


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """The unpacked store, its recordings and its Dagster home, with the settings of today."""
    folder = tmp_path_factory.mktemp("old")
    make_home(folder / "made")
    with tarfile.open(FOLDER / "old_store.tar.xz") as archive:
        archive.extractall(folder / "lab", filter="tar")
    (folder / "lab" / "leases").mkdir()
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(folder / "made" / "dagster" / name, folder / "lab" / "dagster" / name)
    home = home_at(folder / "lab")
    with home.environment():
        yield home


def test_its_status_is_the_same(old: Home) -> None:
    found = json.loads(old.invoke("status", "--json").stdout)

    # More is shown now than in 0.1.0.
    shown = [{name: one.get(name) for name in before} for one, before in zip(found, EXPECTED["status"], strict=True)]
    assert _elsewhere(shown, old.folder) == _elsewhere(EXPECTED["status"], EXPECTED["made_below"])
    verdicts = [one.get("failed_checks") for one in found]
    assert {check["check"] for checks in verdicts for check in checks or ()} >= {"ready_to_sort"}


def test_nothing_is_stale(old: Home) -> None:
    for cache in (old.folder / "dagster" / "staleness.sqlite", None):
        with old.instance() as instance:
            found = StalenessReader().read(instance, seconds=60.0)
        assert dataclasses.asdict(found) == EXPECTED["staleness"]
        if cache is not None:
            cache.unlink(missing_ok=True)


@pytest.mark.parametrize("asset", ["sorting", "curated_units"])
def test_its_units_load(old: Home, asset: str) -> None:
    units, expected = sort_assets.load(KEY, asset), LOADED[asset]

    trains = {str(unit): units.get_unit_spike_train(unit) for unit in units.unit_ids}
    assert list(trains) == expected["unit_ids"]
    assert {unit: len(train) for unit, train in trains.items()} == expected["spikes"]
    assert {unit: train[:5].tolist() for unit, train in trains.items()} == expected["first_samples"]
    assert units.sampling_frequency == expected["sampling_hz"]


def test_its_waveforms_load(old: Home) -> None:
    analyzer, expected = sort_assets.load(KEY, "waveforms"), LOADED["waveforms"]

    assert [str(unit) for unit in analyzer.unit_ids] == expected["unit_ids"]
    assert sorted(analyzer.get_loaded_extension_names()) == expected["extensions"]
    templates = analyzer.get_extension("templates").get_data()
    assert np.abs(templates).sum() == pytest.approx(expected["template_sum"])


def test_its_tables_load(old: Home) -> None:
    metrics, decisions = (
        sort_assets.load(KEY, "unit_metrics"),
        sort_assets.open_result(KEY, "curated_units").decisions(),
    )

    for table, expected in ((metrics, "unit_metrics_csv"), (decisions, "decisions_csv")):
        read = [pd.read_csv(StringIO(text), index_col=0) for text in (table.to_csv(), LOADED[expected])]
        pd.testing.assert_frame_equal(*read)


def test_its_files_and_its_recording_load(old: Home) -> None:
    files = sort_assets.load(KEY, "spike_data")

    assert {name: path.stat().st_size for name, path in files.items()} == LOADED["spike_data"]
    assert sort_assets.load(KEY, "sorting_report").stat().st_size == LOADED["sorting_report_bytes"]
    assert str(sort_assets.load(KEY, "preprocessed_recording").get_num_samples()) == LOADED["preprocessed_recording"]
    with pytest.raises(DamagedArtefactError, match=r"traces\.dat"):  # left out of the archive
        sort_assets.load(KEY, "binary_dat")


def test_the_details_of_every_result_are_understood(old: Home) -> None:
    found = 0
    for path in old.roots.store.glob("[!@]*/*/*/manifest.json"):
        stored = json.loads(path.read_text(encoding="utf-8"))
        assert "format_version" not in stored["details"]
        if stored["asset"] in PIPELINE:
            details = pipeline_asset(stored["asset"]).handle.details_model.parse(stored["details"])
            assert details is not None, path
            assert details.model_dump(mode="json", exclude_unset=True) == stored["details"]
            found += 1
    assert found > 20


def test_the_versions_are_the_same(old: Home) -> None:
    for asset, expected in LOADED["manifests"].items():
        manifest = sort_assets.open_result(KEY, asset).manifest
        assert {"version": manifest.version, "data_version": manifest.data_version} == expected


def test_made_again_its_recordings_would_have_the_same_data_version(old: Home) -> None:
    preprocessed = sort_assets.open_result(KEY, "preprocessed_recording")
    config = SortingPipelineConfig.model_validate(preprocessed.manifest.config)

    chain = {
        "raw": preprocessed.details.raw_path,
        "fingerprint": preprocessed.details.fingerprint,
        "sorter": config.sorter.name,
        "recording": config.recording.for_data_version(),
        "code": preprocessed_recording.CODE_VERSION,
    }

    assert hash_json(chain) == preprocessed.manifest.data_version


def test_written_again_its_dat_would_have_the_same_data_version(old: Home) -> None:
    folder = old.roots.store / KEY / "binary_dat" / "current"
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    description = DatDescription(**json.loads((folder / "traces.json").read_text(encoding="utf-8")))
    clock = clock_from_start(description.num_samples, description.sampling_frequency, description.start_time_s)

    now = dataclasses.replace(description, annotations={**description.annotations, ANNOTATION: [clock.to_dict()]})

    assert hash_json({UNGROUPED: for_data_version(now)}) == manifest["data_version"]


def test_what_stands_beside_the_recordings_is_read(old: Home) -> None:
    assert list(load_summary(old.store).index) == [KEY, "mouse1~silent.nwb", "mouse2~fails.nwb"]
    assert len(MemoryProfiles(old.roots.store).all()) == 1


def test_a_clean_up_removes_nothing_of_it(old: Home) -> None:
    collected = collect_garbage(old.store, versions_kept())

    assert (collected.removed, collected.failed, collected.in_use) == ([], {}, [])
    assert {
        recording: {asset: old.store.versions(recording, asset) for asset in assets}
        for recording, assets in EXPECTED["store"]["versions"].items()
    } == EXPECTED["store"]["versions"]


def _elsewhere(statuses: list[dict[str, Any]], folder: object) -> list[dict[str, Any]]:
    """Without what depends on where it lies, and without when the broken file was last seen to change."""
    plain: list[dict[str, Any]] = json.loads(json.dumps(statuses).replace(str(folder), "<lab>"))
    broken = EXPECTED["made_below"]  # stands in the message of a file that nobody has looked at since
    plain = json.loads(json.dumps(plain).replace(broken, "<lab>"))
    for one in plain:
        one.pop("since", None)
    return plain
