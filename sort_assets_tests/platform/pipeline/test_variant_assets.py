"""Variants of a recording's sorting: other sorters and parameters, from its one `.dat`, each an asset of its own."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from spikeinterface.core import BaseRecording, BaseSorting

import sort_assets
from sort_assets.comparisons.coincidences import shared_spikes
from sort_assets.comparisons.consensus import find_consensus
from sort_assets.comparisons.sortings import ComparedSorting
from sort_assets.config.settings import variants_folder
from sort_assets.definitions import build_definitions
from sort_assets.platform.pipeline.jobs import TRY_VARIANTS
from sort_assets.platform.store.stored_variant import StoredComparedVariants, variant_handle
from sort_assets_tests.fixtures.home import IN_PROCESS, Home
from sort_assets_tests.platform.pipeline.known_units import prepare

CONFIG = {"execution": IN_PROCESS["execution"]}
DECLARED = {
    "other_sorter": "sorter: {name: tridesclous2}",
    "third_sorter": "sorter: {name: lupin}",
    "threshold": """
    sorter: {name: mountainsort5, params: {scheme: "1", npca_per_channel: 1}}
    grid: {detect_threshold: [5.5, 60.0]}""",
    "not_installed": "sorter: {name: herdingspikes}",
}


def declare(folder: Path, declared: dict[str, str]) -> None:
    for name, attributes in declared.items():
        file = folder / "variants" / "defs" / name / "defs.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(f"type: sort_assets.SortingVariant\nattributes:\n    {attributes}\n", encoding="utf-8")


@dataclass(frozen=True)
class Tried:
    """A recording on which all variants were tried."""

    home: Home
    key: str
    run: dg.ExecuteInProcessResult


@pytest.fixture(scope="module")
def tried(module_home: Home, short: tuple[BaseRecording, BaseSorting]) -> Iterator[Tried]:
    recording, truth = short
    key = prepare(module_home, {"day 1.nwb": recording}, truth)
    with module_home.environment():
        declare(variants_folder(), DECLARED)
        job = build_definitions().resolve_job_def(TRY_VARIANTS)
        with module_home.instance() as instance:
            run = job.execute_in_process(
                instance=instance,
                partition_key=key,
                run_config={"resources": {"backend": {"config": CONFIG}}},
                raise_on_error=False,
            )
        yield Tried(module_home, key, run)


@pytest.mark.slow
@pytest.mark.xdist_group("variants")
def test_each_variant_is_an_asset_and_one_that_fails_leaves_the_others(tried: Tried) -> None:
    made = {
        key.to_user_string()
        for event in tried.run.get_asset_materialization_events()
        if (key := event.asset_key) is not None
    }

    assert made == {
        name
        for variant in ("other_sorter", "third_sorter", "threshold_5_5", "threshold_60_0")
        for name in (f"variant_{variant}", f"variant_{variant}_units")
    }
    assert not tried.run.success
    assert len(tried.home.store.versions(tried.key, "binary_dat")) == 1
    assert sort_assets.load(tried.key, "variant_threshold_5_5").get_num_units() > 3
    assert sort_assets.load(tried.key, "variant_threshold_60_0").get_num_units() < 3
    used = variant_handle("variant_threshold_60_0")(tried.home.roots, tried.key)
    assert used.manifest.config["sorter"]["params"]["detect_threshold"] == 60.0
    assert used.manifest.config_sources["sorter.params.detect_threshold"] == "variant threshold_60_0"


@pytest.mark.slow
@pytest.mark.xdist_group("variants")
def test_the_page_shows_all_sortings_what_failed_and_the_consensus(tried: Tried) -> None:
    run = tried.home.materialize(tried.key, "sorting_variants", config=CONFIG, job_name="compare_variants")

    assert run.success, tried.home.warnings(run.run_id)
    made = StoredComparedVariants(tried.home.roots, tried.key)
    table = made.variants_table().set_index("name")
    assert list(table.index) == ["own sorting", "other_sorter", "third_sorter", "threshold_5_5", "threshold_60_0"]
    assert table.loc["own sorting", "units"] == 8
    assert table.loc["threshold_60_0", "still_there"] <= 2 < table.loc["threshold_5_5", "still_there"]
    shown = tried.home.metadata(run.run_id, "sorting_variants")
    assert shown["page"].value.endswith("report.html)")
    assert shown["variants"].value.startswith("![variants]")
    page = made.page.read_text(encoding="utf-8")
    assert "not_installed is declared for this recording and has no sorting" in page
    assert "<script" not in page
    assert made.details.at_least == 3
    assert made.load().get_num_units() == len(made.consensus_table()) == made.details.num_consensus > 3


@pytest.mark.slow
@pytest.mark.xdist_group("variants")
def test_units_on_which_two_of_three_sorters_agree_are_as_precise_as_those_of_the_best(
    tried: Tried, short: tuple[BaseRecording, BaseSorting]
) -> None:
    names = ("other_sorter", "third_sorter", "threshold_5_5")
    found = {name: sort_assets.load(tried.key, f"variant_{name}") for name in names}
    length_s = short[0].get_duration()

    consensus = find_consensus({name: ComparedSorting(one, length_s) for name, one in found.items()}, at_least=2)

    assert consensus.sorting.get_num_units() > 3
    best = max(precision(one, short[1]) for one in found.values())
    assert precision(consensus.sorting, short[1]) >= best


def precision(found: BaseSorting, truth: BaseSorting) -> float:
    """Of all spikes of all units, the part that belongs to the true unit that the unit matches best."""
    shared = shared_spikes(truth, found)
    return float(shared.matrix.max(axis=0).sum() / shared.new.sum())
