"""A sorting that was published by an attempt of which Dagster has never heard: it is taken over, not made again."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from sort_assets.backends import create_backend
from sort_assets.config import ResolvedConfig, SortingPipelineConfig
from sort_assets.config.settings import Roots
from sort_assets.machine.resource_use import ResourceMeter
from sort_assets.platform.pipeline.attempts import Attempt
from sort_assets.platform.pipeline.io_manager import VERSION_METADATA
from sort_assets.platform.pipeline.materialization import StagedAsset
from sort_assets.platform.store.details import AssetDetails
from sort_assets.platform.store.store import Store

CONFIG = SortingPipelineConfig.model_validate({"sorter": {"name": "mountainsort5"}})
CHECK = dg.AssetCheckResult(
    check_name="units_found", passed=False, severity=dg.AssetCheckSeverity.WARN, description="None."
)


@contextmanager
def _sorting(root: Path, run_id: str, attempt: int = 1, runs_before: Sequence[str] = ()) -> Iterator[StagedAsset]:
    store = Store(root)
    with store.stage("day.nwb", "sorting", run_id=run_id, attempt=attempt) as staging:
        tried = Attempt(store, staging, ResolvedConfig(CONFIG, {}), None, print, runs_before)
        context = dg.build_asset_context(partition_key="day.nwb")
        roots = Roots(root, root, "http://127.0.0.1:3838")
        yield StagedAsset(context, roots, {}, tried, create_backend(CONFIG), ResourceMeter())


def _publish(root: Path, run_id: str = "run-a") -> dg.MaterializeResult:
    with _sorting(root, run_id) as asset:
        (asset.staging.figures / "raster.png").touch()
        return asset.publish(data_version="v", details=AssetDetails(), metadata={}, checks=[CHECK])


@pytest.mark.parametrize(
    ("run_id", "attempt", "before"), [("run-a", 2, []), ("run-b", 1, ["run-a"]), ("run-c", 1, ["run-a", "run-b"])]
)
def test_the_next_attempt_tells_dagster_what_the_killed_one_has_published(
    run_id: str, attempt: int, before: list[str], tmp_path: Path
) -> None:
    killed = _publish(tmp_path)

    with _sorting(tmp_path, run_id, attempt, before) as asset:
        taken_over = asset.published_before()

    assert taken_over is not None
    assert taken_over.data_version == killed.data_version
    assert taken_over.check_results == [CHECK]
    assert killed.metadata is not None
    assert taken_over.metadata is not None
    for name in (VERSION_METADATA, "folder", "config", "chosen_by"):
        assert taken_over.metadata[name] == killed.metadata[name]
    assert f"/{killed.metadata[VERSION_METADATA]}/figures/raster.png" in taken_over.metadata["raster"].value
    assert Store(tmp_path).versions("day.nwb", "sorting") == [killed.metadata[VERSION_METADATA]]


def test_a_run_that_a_person_launches_sorts_again(tmp_path: Path) -> None:
    _publish(tmp_path)

    with _sorting(tmp_path, "run-b") as asset:
        assert asset.published_before() is None


def test_what_is_damaged_is_made_again(tmp_path: Path) -> None:
    published = _publish(tmp_path)
    assert published.metadata is not None
    (tmp_path / "day.nwb" / "sorting" / published.metadata[VERSION_METADATA] / "figures" / "raster.png").unlink()

    with _sorting(tmp_path, "run-b", 1, ["run-a"]) as asset:
        assert asset.published_before() is None
