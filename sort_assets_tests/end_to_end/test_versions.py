"""Versions: other settings give other content, and readers keep what they opened."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
from spikeinterface.core import BaseRecording, BaseSorting

from sort_assets.platform.store.handles import StoredBinary
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.fixtures.home import IN_PROCESS, SORT, Home

pytestmark = [pytest.mark.release, pytest.mark.xdist_group("versions")]

FREQ_MIN = 600.0


@pytest.fixture(scope="module")
def sorted_once(module_home: Home, short_file: Path) -> str:
    """The key of a recording of which every asset is there."""
    key = module_home.register(module_home.link(short_file, "day.nwb"))
    assert module_home.materialize(key).success
    return key


def test_another_filter_gives_other_data_everywhere_and_dagster_knows(module_home: Home, sorted_once: str) -> None:
    _, before = _current(module_home, sorted_once)

    result = module_home.materialize(sorted_once, config=_filtered_from(FREQ_MIN))

    assert result.success
    _, after = _current(module_home, sorted_once)
    assert [asset for asset in SORT if after[asset] == before[asset]] == []
    assert _dagsters_data_versions(module_home, sorted_once) == after


def test_a_handle_on_an_old_version_still_reads_it_after_a_new_one(module_home: Home, short_file: Path) -> None:
    home = module_home
    key = home.register(home.link(short_file, "pinned.nwb"))
    assert home.materialize(key, "preprocessed_recording", "binary_dat").success
    old = StoredBinary(home.roots, key, home.store.artefact(key, "binary_dat").manifest.version)
    opened_before = StoredBinary(home.roots, key)
    expected = opened_before.load().get_traces(end_frame=3000)

    other = _filtered_from(FREQ_MIN)
    assert home.materialize(key, "preprocessed_recording", "binary_dat", config=other).success

    new = StoredBinary(home.roots, key)
    np.testing.assert_array_equal(old.load().get_traces(end_frame=3000), expected)
    np.testing.assert_array_equal(opened_before.load().get_traces(end_frame=3000), expected)
    assert not np.array_equal(new.load().get_traces(end_frame=3000), expected)
    assert (old.manifest.config["recording"]["freq_min"], new.manifest.config["recording"]["freq_min"]) == (300, 600)
    assert home.store.versions(key, "binary_dat") == [old.manifest.version, new.manifest.version]


def test_a_sort_alone_names_the_recording_settings_that_it_really_had(module_home: Home, sorted_once: str) -> None:
    home, key = module_home, sorted_once
    filtered_from = home.store.artefact(key, "binary_dat").manifest.config["recording"]["freq_min"]

    result = home.materialize(key, "sorting", config=_filtered_from(450.0))

    assert result.success
    manifest = home.store.artefact(key, "sorting").manifest
    assert manifest.config["recording"]["freq_min"] == filtered_from
    assert manifest.inputs["binary_dat"].version == home.store.artefact(key, "binary_dat").manifest.version
    (warning,) = home.warnings(result.run_id)
    assert "other settings (recording.freq_min) than binary_dat was made with" in warning
    assert "Materialize binary_dat too" in warning


def test_a_replaced_file_gives_another_data_version(
    module_home: Home, short: tuple[BaseRecording, BaseSorting]
) -> None:
    home = module_home
    path = home.roots.recordings / "replaced.nwb"
    key = home.register(write_nwb(short[0], path))
    assert home.materialize(key, "preprocessed_recording").success
    _, before = _current(home, key, "preprocessed_recording")
    path.unlink()
    write_nwb(short[0].frame_slice(0, 240_000), path)

    assert home.materialize(key, "preprocessed_recording").success

    _, after = _current(home, key, "preprocessed_recording")
    assert after != before


def _filtered_from(freq_min: float) -> dict[str, Any]:
    return {**IN_PROCESS, "recording": {"freq_min": freq_min}}


def _current(home: Home, key: str, *assets: str) -> tuple[dict[str, str], dict[str, str]]:
    """Versions and data versions of the current artefacts, by asset."""
    manifests = {asset: home.store.artefact(key, asset).manifest for asset in assets or SORT}
    versions = {asset: manifest.version for asset, manifest in manifests.items()}
    return versions, {asset: manifest.data_version for asset, manifest in manifests.items()}


def _dagsters_data_versions(home: Home, key: str) -> Mapping[str, str]:
    found = {}
    with home.instance() as instance:
        for asset in SORT:
            wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[key])
            (record,) = instance.fetch_materializations(wanted, limit=1).records
            assert record.asset_materialization is not None
            found[asset] = (record.asset_materialization.tags or {})["dagster/data_version"]
    return found
