"""The summary over all recordings as an asset: what it writes, shows, keeps and removes."""

import urllib.request
from collections.abc import Mapping

import dagster as dg
import pytest

from sort_assets import figures
from sort_assets.errors import DiskFullError, MissingArtefactError
from sort_assets.platform.execution.figure_server import FigureServer, figure_port
from sort_assets.platform.pipeline.assets.units_across_recordings import units_across_recordings
from sort_assets.platform.pipeline.catalog import DEFAULT_VERSIONS_KEPT
from sort_assets.platform.pipeline.jobs import summarize_units
from sort_assets.platform.pipeline.partitions import RECORDINGS_PARTITIONS
from sort_assets.platform.pipeline.recording_results import COLUMNS
from sort_assets.platform.pipeline.stored_summary import SUMMARY, VERSIONS_KEPT, load_summary, remove_older_summaries
from sort_assets.platform.store.details import Details
from sort_assets.platform.store.garbage import collect_garbage
from sort_assets.platform.store.layout import ALL_RECORDINGS
from sort_assets.platform.store.store import Store
from sort_assets_tests.fixtures.home import Home
from sort_assets_tests.fixtures.ports import wait_for_port
from sort_assets_tests.platform.pipeline.test_comparison_history import compared
from sort_assets_tests.platform.pipeline.test_recording_results import PREPROCESSED, SORTING, fail, fill, put

DEFS = dg.Definitions(assets=[units_across_recordings], jobs=[summarize_units])


def summarize(home: Home) -> Mapping[str, dg.MetadataValue]:
    """Make the summary on the real instance; what it shows."""
    with home.instance() as instance:
        done = DEFS.resolve_job_def(summarize_units.name).execute_in_process(instance=instance)
    (materialization,) = done.asset_materializations_for_node(SUMMARY)
    return materialization.metadata


def shown(metadata: Mapping[str, dg.MetadataValue], name: str) -> list[Mapping[str, object]]:
    """The rows of a table that is shown."""
    table = metadata[name]
    assert isinstance(table, dg.TableMetadataValue)
    return [record.data for record in table.records]


def test_comparisons_of_sortings_are_shown_once_there_are_some(home: Home) -> None:
    fill(home.store, "day1.nwb")
    assert "compared_sortings" not in summarize(home)

    compared(home.store, "day2.nwb", 4)
    metadata = summarize(home)

    (row,) = shown(metadata, "compared_sortings")
    assert (row["recording"], row["persisting"], row["judged"]) == ("day2.nwb", 4, 10)
    assert "comparisons.png" in str(metadata["comparisons"].value)


def test_numbers_tables_and_pictures_of_all_recordings_are_shown(home: Home) -> None:
    fill(home.store, "day1.nwb")
    fill(home.store, "day2.nwb", num_units=0, unsortable="It is silent.")
    fail(home.store, "day3.nwb", "binary_dat", DiskFullError("No space.", remedy="Make room."))

    metadata = summarize(home)

    table = load_summary(home.store)
    assert list(table.index) == ["day1.nwb", "day2.nwb", "day3.nwb"]
    assert table.loc["day1.nwb", "units_kept"] == 6
    numbers = {name: value.value for name, value in metadata.items() if isinstance(value, dg.IntMetadataValue)}
    assert numbers["recordings"] == 3
    assert (numbers["sorted_recordings"], numbers["unsortable_recordings"], numbers["failing_recordings"]) == (2, 1, 1)
    assert [row["recording"] for row in shown(metadata, "newest")] == ["day2.nwb", "day1.nwb", "day3.nwb"]
    (failure,) = shown(metadata, "failures_to_look_at")
    assert (failure["recording"], failure["failure"]) == ("day3.nwb", "DiskFullError")

    with FigureServer(home.roots.store, figure_port(home.roots.figures_url)):
        wait_for_port(figure_port(home.roots.figures_url))
        for name in ("units_per_recording", "quality_over_time", "failures_by_class"):
            address = str(metadata[name].value).partition("(")[2].removesuffix(")")
            with urllib.request.urlopen(address) as response:
                assert response.read().startswith(b"\x89PNG")


def test_verdicts_and_rigs_out_of_their_range_are_shown(home: Home) -> None:
    for recording, passed in (("rig~a.nwb", True), ("rig~b.nwb", False)):
        check = {"name": "noise_level", "passed": passed, "severity": "WARN", "description": "It is 80 µV."}
        put(home.store, recording, "preprocessed_recording", PREPROCESSED | {"checks": [check]})
        put(home.store, recording, "sorting", SORTING)

    metadata = summarize(home)

    (row,) = shown(metadata, "checks_not_passed")
    assert (row["recording"], row["failed_checks"]) == ("rig~b.nwb", "noise_level")
    assert metadata["recordings_with_failed_checks"].value == 1
    out = "384 channels, below 'rig': the noise left its usual range with rig~b.nwb. It is 80 µV."
    assert metadata["rigs_out_of_range"].value == f"- {out}"
    assert load_summary(home.store)["failed_checks"].dropna().to_dict() == {"rig~b.nwb": "noise_level"}


def test_without_any_recording_the_result_is_empty_and_explicit(home: Home) -> None:
    with pytest.raises(MissingArtefactError):
        load_summary(home.store)

    with home.instance() as instance:
        instance.add_dynamic_partitions(RECORDINGS_PARTITIONS, [f"day{number}.nwb" for number in range(300)])
    metadata = summarize(home)

    table = load_summary(home.store)
    assert list(table.columns) == [column.name for column in COLUMNS]
    assert len(table) == 0
    assert metadata["recordings"].value == 0
    assert shown(metadata, "newest") == shown(metadata, "failures_to_look_at") == []
    assert "units_per_recording" in metadata


def test_a_figure_that_fails_does_not_fail_the_table(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("no canvas")

    monkeypatch.setattr(figures, "draw_quality_over_time", fails)

    metadata = summarize(home)

    assert "quality_over_time" not in metadata
    assert "units_per_recording" in metadata
    assert len(load_summary(home.store)) == 0


def test_the_summary_is_no_recording_and_its_old_versions_do_not_pile_up(home: Home) -> None:
    store = home.store
    fill(store, "day.nwb")
    for number in range(VERSIONS_KEPT + 3):
        with store.stage(ALL_RECORDINGS, SUMMARY, run_id=f"{number:08}") as staging:
            staging.publish(data_version="v", config={}, config_sources={}, inputs={}, details=Details())
    before = store.versions(ALL_RECORDINGS, SUMMARY)
    (store.asset_folder(ALL_RECORDINGS, SUMMARY) / "00000000T000000000-interrupted").mkdir()

    removed = remove_older_summaries(store)

    assert set(removed) == {*before[:3], "00000000T000000000-interrupted"}
    assert store.versions(ALL_RECORDINGS, SUMMARY) == before[3:]
    assert store.artefact(ALL_RECORDINGS, SUMMARY).manifest.version == before[-1]
    assert store.recordings() == ["day.nwb"]

    collect_garbage(store, dict.fromkeys([*DEFAULT_VERSIONS_KEPT, SUMMARY], 1))

    assert store.versions(ALL_RECORDINGS, SUMMARY) == before[3:]


def test_a_version_that_is_current_stays_also_when_it_is_old(home: Home) -> None:
    store = Store(home.roots.store)
    for number in range(VERSIONS_KEPT + 2):
        with store.stage(ALL_RECORDINGS, SUMMARY, run_id=f"{number:08}") as staging:
            staging.publish(data_version="v", config={}, config_sources={}, inputs={}, details=Details())
    oldest = store.versions(ALL_RECORDINGS, SUMMARY)[0]
    current = store.asset_folder(ALL_RECORDINGS, SUMMARY) / "current"
    current.unlink()
    current.symlink_to(oldest)  # as after a clock that was set back

    remove_older_summaries(store)

    assert store.artefact(ALL_RECORDINGS, SUMMARY).manifest.version == oldest
