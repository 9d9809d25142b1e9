"""What the UI and the digest say of the recordings root."""

import dagster as dg

from sort_assets.errors import UnreadableRecordingError
from sort_assets.platform.arrivals.catalog_entry import CatalogEntry, State
from sort_assets.platform.arrivals.folder_report import needs_attention, report_folder
from sort_assets.platform.arrivals.recording_catalog import RecordingCatalog
from sort_assets_tests.fixtures.home import Home

PROBLEM = UnreadableRecordingError("'b.nwb' is empty.", remedy="Copy it again.")
ROOT = dg.AssetKey("recordings_root")


def _filled(home: Home) -> RecordingCatalog:
    catalog = home.catalog()
    catalog.put(
        CatalogEntry("a.nwb", State.REGISTERED, since=10.0),
        CatalogEntry("b.nwb", State.PROBLEM, since=20.0, problem=PROBLEM),
        CatalogEntry("c.nwb", State.REGISTERED, since=10.0, missing_since=50.0),
        CatalogEntry("d.nwb", State.REGISTERED, since=10.0, changed_at=60.0),
        CatalogEntry("e.nwb", State.FORGOTTEN, since=10.0, problem=PROBLEM),
        CatalogEntry("f.nwb", State.WAITING, since=70.0),
    )
    return catalog


def test_the_folder_is_reported_when_there_is_news_and_only_then(home: Home) -> None:
    catalog = _filled(home)
    with home.instance() as instance:
        reported = report_folder(instance, home.roots, catalog), report_folder(instance, home.roots, catalog)
        (record,) = instance.fetch_observations(ROOT, limit=10).records
        catalog.put(CatalogEntry("b.nwb", State.REGISTERED))
        again = report_folder(instance, home.roots, catalog)

    assert reported == (True, False)
    assert again
    observation = record.asset_observation
    assert observation is not None
    assert observation.description == "3 recordings are registered; 2 need a look."
    assert observation.metadata["waiting"].value == 1
    table = observation.metadata["need_a_look"].value
    rows = [row.data for row in table.records]
    assert [(row["path"], row["what"]) for row in rows] == [("b.nwb", "problem"), ("c.nwb", "registered, gone")]
    assert rows[0]["message"] == "UnreadableRecordingError: 'b.nwb' is empty."
    assert rows[0]["remedy"] == "Copy it again."


def test_the_digest_tells_only_what_is_new(home: Home) -> None:
    catalog = _filled(home)

    assert [path for path, _ in needs_attention(catalog, 15.0)] == ["b.nwb", "c.nwb", "d.nwb"]
    assert needs_attention(catalog, 55.0) == [("d.nwb", "It has changed; what was made of it is stale.")]


def test_names_that_are_not_utf8_are_reported(home: Home) -> None:
    catalog = home.catalog()
    catalog.put(CatalogEntry("caf\udce9\n.nwb", State.PROBLEM, problem=PROBLEM))

    with home.instance() as instance:
        assert report_folder(instance, home.roots, catalog)

    (found,) = catalog.with_problems()
    assert found.path == "caf\udce9\n.nwb"
