"""What a manifest holds for its readers is typed, versioned, and readable where an older version wrote it."""

from pathlib import Path
from typing import Any

import pytest

from sort_assets.config.settings import Roots
from sort_assets.errors import DamagedArtefactError
from sort_assets.platform.pipeline.catalog import STORED
from sort_assets.platform.store.details import AssetDetails, Details, SortingDetails
from sort_assets.platform.store.handles import StoredSorting
from sort_assets.platform.store.store import Store
from sort_assets_tests.platform.store.writers import publish

SORTED: dict[str, Any] = {"num_units": 3, "num_spikes": 9, "duration_s": 8.0, "start_time_s": 0.5, "device": "CPU"}


def test_only_what_was_set_is_written_and_the_formats_version(tmp_path: Path) -> None:
    with Store(tmp_path).stage("rec", "sorting", run_id="0123456789") as staging:
        details = SortingDetails(**SORTED, unsortable=None)
        staging.publish(data_version="v", config={}, config_sources={}, inputs={}, details=details)

    stored = StoredSorting(Roots(tmp_path, tmp_path, "http://127.0.0.1:1"), "rec")
    assert stored.manifest.details == {"format_version": 1, **SORTED, "unsortable": None}
    assert (stored.details.num_units, stored.details.degraded, stored.details.scaled) == (3, False, {})


def test_details_of_an_older_version_without_a_format_load() -> None:
    found = SortingDetails.model_validate({**SORTED, "something_dropped": 1})

    assert found.format_version == 1
    assert found.start_time_s == 0.5


@pytest.mark.parametrize("details", [{**SORTED, "format_version": 2}, {"num_units": 3}, {**SORTED, "device": 7}])
def test_details_that_are_not_understood_are_refused_with_a_remedy(tmp_path: Path, details: dict[str, Any]) -> None:
    manifest = publish(Store(tmp_path), "sorting").manifest.model_copy(update={"details": details})

    with pytest.raises(DamagedArtefactError, match="sorting of 'rec'") as caught:
        manifest.details_as(SortingDetails)

    assert "Update sort_assets" in caught.value.remedy
    assert SortingDetails.parse(details) is None


def test_every_stored_asset_has_a_model_of_its_own() -> None:
    models = [handle.details_model for handle in STORED.values()]

    assert len(set(models)) == len(models)
    assert not {Details, AssetDetails} & set(models)
