"""A recording that is sorted again: what became of its units, on a page, in the report and as a check."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from spikeinterface.core import BaseRecording, BaseSorting, NumpySorting

import sort_assets
from sort_assets.definitions import defs
from sort_assets.platform.store.handles import StoredReport
from sort_assets.platform.store.layout import MANIFEST_NAME, REMOVED_NAME
from sort_assets.platform.store.stored_comparison import StoredComparison
from sort_assets_tests.fixtures.failures import failure_of
from sort_assets_tests.fixtures.home import Home, cheap
from sort_assets_tests.fixtures.ready import Ready
from sort_assets_tests.platform.pipeline.known_units import AFTER_THE_SORT, checks_of, publish_sorting

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("sorting_comparison")]

UNITS = AFTER_THE_SORT[:4]
"""What is made after a sort, up to the report."""


@dataclass(frozen=True)
class SortedAgain:
    """A recording that was sorted twice: unit 0 is split, 1 and 2 are merged, 3 is lost, the others are kept."""

    home: Home
    key: str
    first: str
    second: str

    def compare(self, **wanted: Any) -> dg.ExecuteInProcessResult:
        job = defs.resolve_job_def("compare_sortings")
        config = {"resources": {"backend": {"config": cheap(comparison=wanted)}}}
        with self.home.instance() as instance:
            return job.execute_in_process(
                instance=instance, partition_key=self.key, run_config=config, raise_on_error=False
            )

    @property
    def stored(self) -> StoredComparison:
        return StoredComparison(self.home.roots, self.key)


def edited(truth: BaseSorting) -> BaseSorting:
    trains = [truth.get_unit_spike_train(unit) for unit in truth.unit_ids]
    new = {f"u{index}": train for index, train in enumerate(trains) if index > 3}
    new |= {"a": trains[0][::2], "b": trains[0][1::2]}
    merged = {"12": np.sort(np.concatenate([trains[1], trains[2]]))}
    return NumpySorting.from_unit_dict([{**new, **merged}], truth.sampling_frequency)


def numbered(truth: BaseSorting) -> BaseSorting:
    trains = {index: truth.get_unit_spike_train(unit) for index, unit in enumerate(truth.unit_ids)}
    return NumpySorting.from_unit_dict([trains], truth.sampling_frequency)


@pytest.fixture(scope="module")
def again(module_ready: Ready, short: tuple[BaseRecording, BaseSorting]) -> SortedAgain:
    home, key = module_ready.home, module_ready.key
    publish_sorting(home, key, numbered(short[1]))
    assert home.materialize(key, *UNITS, config=cheap()).success
    assert "Compared with" not in StoredReport(home.roots, key).load().read_text()
    publish_sorting(home, key, edited(short[1]), run_id="again")
    assert home.materialize(key, *UNITS, config=cheap()).success
    first, second = home.store.versions(key, "sorting")
    return SortedAgain(home, key, first, second)


def test_the_page_and_the_table_say_what_became_of_each_unit(again: SortedAgain) -> None:
    run = again.compare()

    assert run.success
    details, pairs = again.stored.details, sort_assets.load(again.key, "sorting_comparison", roots=again.home.roots)
    units = pairs["old_unit"].nunique()
    assert (details.version, details.baseline_version) == (again.second, again.first)
    assert details.counts == {"kept": units - 4, "moved": 0, "split": 1, "merged": 2, "lost": 1, "new": 0}
    assert pairs["template_similarity"].dropna().min() > 0.5
    assert pairs.query("fate == 'kept'")["distance_um"].max() < 20
    assert details.headline in again.stored.page.read_text()
    shown = again.home.metadata(run.run_id, "sorting_comparison")
    assert shown["result"].value == details.headline
    assert "Open the comparison" in str(shown["comparison"].value)
    assert checks_of(again.home, run.run_id)["as_before"] == (True, "WARN")


def test_the_report_of_a_recording_that_was_sorted_again_says_what_changed(again: SortedAgain) -> None:
    report = StoredReport(again.home.roots, again.key).load().read_text()

    assert "Compared with the sorting before" in report
    assert "1 split, 2 merged, 1 lost" in report


def test_any_two_versions_are_compared_and_a_stated_share_is_checked(again: SortedAgain) -> None:
    run = again.compare(baseline=again.second, version=again.first, least_persisting=0.99)

    assert run.success
    assert checks_of(again.home, run.run_id)["as_before"] == (False, "WARN")
    assert again.stored.details.counts["new"] == 1
    assert again.stored.details.counts["merged"] == 2


def test_other_baselines_are_an_asset_and_a_saved_sorting(
    again: SortedAgain, short: tuple[BaseRecording, BaseSorting], tmp_path: Path
) -> None:
    short[1].save(folder=tmp_path / "truth", format="numpy_folder")

    assert again.compare(baseline=str(tmp_path / "truth")).success
    assert again.stored.details.counts["lost"] == 1
    assert again.compare(baseline="curated_units").success
    assert again.stored.details.counts["lost"] == 0


@pytest.mark.parametrize(
    ("baseline", "says"),
    [
        ("ground_truth", "comparison.baseline"),
        ("20200101T000000000-nothing", "the versions of sorting: "),
        ("/nowhere", "is no folder"),
    ],
)
def test_a_baseline_that_is_not_there_is_refused(again: SortedAgain, baseline: str, says: str) -> None:
    run = again.compare(baseline=baseline)

    assert not run.success
    failure = failure_of(again.home, run.run_id)
    assert failure.failure_class == "ComparisonError"
    assert says in f"{failure.description} {failure.remedy}"


def test_the_command_shows_what_was_not_kept_and_writes_a_page(again: SortedAgain) -> None:
    done = again.home.invoke("compare", again.key, "--versions", again.first, again.second, "--page", "page.html")
    values = json.loads(again.home.invoke("compare", "--versions", "curated_units", "current", "--json").stdout)

    assert done.status == 0, done.stderr
    assert f"{again.key}: 8 units before, 7 now: 4 kept, 1 split, 2 merged, 1 lost." in done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines() if line.startswith(("lost", "split", "merged"))] == [
        *("lost", "split", "split", "merged", "merged")
    ]
    assert "<h1>day.nwb: what became of the units</h1>" in (again.home.folder / "page.html").read_text()
    assert values[again.key]["lost"] == 0
    assert len(values[again.key]["units"]) == values[again.key]["units_before"]


def test_repeatability_is_in_the_metrics_when_asked_for(again: SortedAgain) -> None:
    def column(**metrics: Any) -> pd.Series:
        assert again.home.materialize(again.key, "unit_metrics", config=cheap(metrics=metrics)).success
        found: pd.Series = sort_assets.load(again.key, "unit_metrics", roots=again.home.roots)["repeatability"]
        return found

    assert column().isna().all()
    values = column(repeatability=True)
    assert values[["u4", "u5", "u6", "u7"]].eq(1.0).all()
    assert values[["a", "b", "12"]].between(0.4, 0.6).all()


def test_a_recording_that_was_sorted_once_has_nothing_to_compare_with(again: SortedAgain) -> None:
    run = again.compare(version=again.first)

    failure = failure_of(again.home, run.run_id)
    assert failure.failure_class == "ComparisonError"
    assert "Sort it again, or name another baseline" in failure.remedy


def test_sortings_with_no_unit_and_with_one_are_compared(
    again: SortedAgain, short: tuple[BaseRecording, BaseSorting]
) -> None:
    train = short[1].get_unit_spike_train(short[1].unit_ids[0])
    rate_hz = short[1].sampling_frequency
    publish_sorting(again.home, again.key, NumpySorting.from_unit_dict([{"7": train}], rate_hz), run_id="one")
    publish_sorting(again.home, again.key, NumpySorting.from_unit_dict([{}], rate_hz), run_id="none")

    one, none = again.home.store.versions(again.key, "sorting")[-2:]
    assert again.compare(version=one, baseline=again.first).success
    assert again.stored.details.counts["kept"] == 1
    assert again.compare(version=none).success
    assert again.stored.details.headline == "1 unit before, 0 now: 1 lost."
    assert again.compare(version=none, baseline=none).success
    assert again.stored.details.headline == "Neither sorting has units."


def test_a_baseline_that_retention_removed_is_named_with_a_remedy(again: SortedAgain) -> None:
    folder = again.home.store.asset_folder(again.key, "sorting") / again.first
    (folder / MANIFEST_NAME).rename(folder / REMOVED_NAME)
    try:
        run = again.compare(baseline=again.first)
    finally:
        (folder / REMOVED_NAME).rename(folder / MANIFEST_NAME)

    failure = failure_of(again.home, run.run_id)
    assert failure.failure_class == "MissingArtefactError"
    assert "retention removed it" in failure.description
