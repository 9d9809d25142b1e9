"""What was published on another host is seen here a little later: it is waited for, and an older `current` not taken.

No network file system can be mounted where the tests run. An older `current` is made by pointing the link back, and
only that the folder is no local disk is said in its place.
"""

import shutil
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from sort_assets.config.settings import Roots
from sort_assets.curation.manual import ManualCuration
from sort_assets.errors import MissingArtefactError
from sort_assets.platform.pipeline import manual_decisions
from sort_assets.platform.pipeline.manual_decisions import manual_curation_of
from sort_assets.platform.store import visible_versions
from sort_assets.platform.store.details import Details
from sort_assets.platform.store.layout import CURRENT, MANUAL_FILE
from sort_assets.platform.store.store import Store
from sort_assets.platform.store.visible_versions import wait_until_visible
from sort_assets_tests.platform.store.writers import publish

MADE_AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (visible_versions, manual_decisions):
        monkeypatch.setattr(module, "is_local", lambda _: False)


@pytest.mark.usefixtures("shared")
def test_a_version_that_is_not_seen_yet_is_waited_for(tmp_path: Path) -> None:
    store, told = Store(tmp_path), list[str]()
    made = publish(store, "sorting").path
    hidden = made.rename(tmp_path / "not yet seen")
    later = threading.Timer(0.3, lambda: hidden.rename(made))
    later.start()

    wait_until_visible(store, "rec", "sorting", made.name, told.append)

    assert (made / "manifest.json").is_file()
    assert len(told) == 1


@pytest.mark.usefixtures("shared")
def test_a_version_that_never_comes_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visible_versions, "ATTRIBUTE_CACHE_S", 0.1)

    with pytest.raises(MissingArtefactError, match="has not seen it") as missing:
        wait_until_visible(Store(tmp_path), "rec", "sorting", "20260101T000000000-run")

    assert "SORT_ASSETS_STORE" in missing.value.remedy


def test_on_a_local_disk_nothing_is_waited_for(tmp_path: Path) -> None:
    began = time.monotonic()

    wait_until_visible(Store(tmp_path), "rec", "sorting", "20260101T000000000-run")

    assert time.monotonic() - began < 1.0


def _imported(store: Store, user: str) -> str:
    manual = ManualCuration(user=user, made_at=MADE_AT, source="json", path="", unit_ids=[], spikes="", steps=[])
    with store.stage("rec", "manual_curation", run_id=user) as staging:
        (staging.path / MANUAL_FILE).write_text(manual.model_dump_json())
        staging.publish(data_version=user, config={}, config_sources={}, inputs={}, details=Details())
    return staging.version


@pytest.mark.usefixtures("shared")
def test_the_newest_curation_is_that_of_the_instance_where_current_is_old(tmp_path: Path) -> None:
    roots = Roots(tmp_path / "recordings", tmp_path / "store")
    store = Store(roots.store)
    older, newer = _imported(store, "ann"), _imported(store, "bob")
    link = store.asset_folder("rec", "manual_curation") / CURRENT
    link.unlink()
    link.symlink_to(older)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.report_runless_asset_event(
            dg.AssetObservation("manual_curation", partition="rec", metadata={"version": newer})
        )

        found = manual_curation_of(instance, roots, "rec")

    assert found is not None
    curation = found.load()
    assert curation is not None
    assert curation.user == "bob"


@pytest.mark.usefixtures("shared")
def test_a_curation_that_was_deleted_with_all_results_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visible_versions, "ATTRIBUTE_CACHE_S", 0.1)
    roots = Roots(tmp_path / "recordings", tmp_path / "store")
    version = _imported(Store(roots.store), "ann")
    shutil.rmtree(roots.store / "rec")
    with dg.DagsterInstance.ephemeral() as instance:
        instance.report_runless_asset_event(
            dg.AssetObservation("manual_curation", partition="rec", metadata={"version": version})
        )

        assert manual_curation_of(instance, roots, "rec") is None
