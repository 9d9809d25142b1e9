"""Variants are declared with Dagster's own tools, requested, shown on a page, and adopted."""

import subprocess
from pathlib import Path

import dagster as dg
import pytest

from sort_assets.config.settings import variants_folder
from sort_assets.config.variants import declared_variants
from sort_assets.platform.automation.variant_pages import PagesState, tick
from sort_assets.platform.automation.variant_requests import request_variants, variant_states
from sort_assets.platform.execution.home import prepare_variants_folder
from sort_assets.platform.pipeline.partitions import RECORDINGS_PARTITIONS
from sort_assets.platform.pipeline.variant_component import SortingVariant
from sort_assets_tests.fixtures.home import BIN, Home
from sort_assets_tests.fixtures.ready import Ready


def declare(home: Home, name: str, attributes: str) -> None:
    with home.environment():
        file = variants_folder() / "variants" / "defs" / name / "defs.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(f"type: sort_assets.SortingVariant\nattributes: {attributes}\n", encoding="utf-8")


def test_dg_scaffolds_a_declaration_that_is_valid_and_makes_assets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_variants_folder(tmp_path / "variants")
    for words in (["scaffold", "defs", "sort_assets.SortingVariant", "lower"], ["check", "yaml"]):
        subprocess.run([BIN / "dg", *words], cwd=tmp_path / "variants", check=True, timeout=120)

    monkeypatch.syspath_prepend(tmp_path / "variants")
    tree = dg.ComponentTree.for_project(tmp_path / "variants")
    component = tree.load_component("lower")

    assert isinstance(component, SortingVariant)
    assert component.variants == declared_variants(tmp_path / "variants").all
    assets = component.build_defs(tree.load_context).assets or ()
    keys = [key for asset in assets if isinstance(asset, dg.AssetsDefinition) for key in asset.keys]
    assert {key.to_user_string() for key in keys} == {"variant_lower", "variant_lower_units"}


def test_what_is_missing_is_requested_once_for_each_set_of_recordings(ready: Ready) -> None:
    home, key = ready.home, ready.key
    declare(home, "chosen", "{sorter: {name: lupin}}")
    declare(home, "elsewhere", "{recordings: nowhere/, sorter: {name: lupin}}")
    with home.instance() as instance:
        instance.add_dynamic_partitions(RECORDINGS_PARTITIONS, ["not_sorted.nwb"])
        declared = declared_variants(variants_folder()).all
        states = variant_states(home.roots, declared, [key, "not_sorted.nwb"])
        (requested,) = request_variants(instance, [(one.variant, one.missing) for one in states])
        backfill = instance.get_backfill(requested)

    assert {one.variant.name: (one.missing, one.without_dat) for one in states} == {
        "chosen": ((key,), ("not_sorted.nwb",)),
        "elsewhere": ((), ()),
    }
    assert backfill is not None
    assert {one.to_user_string() for one in backfill.asset_selection or ()} == {
        "variant_chosen",
        "variant_chosen_units",
    }
    assert backfill.tags["dagster/priority"] == "-20"


def test_a_page_is_asked_for_once_after_each_variant_that_was_tried(ready: Ready) -> None:
    home, key = ready.home, ready.key
    declare(home, "chosen", "{sorter: {name: lupin}}")
    with home.instance() as instance:
        variants = declared_variants(variants_folder()).all
        nothing, state = tick(instance, variants, PagesState())
        for partition in (key, key, "other.nwb"):
            instance.report_runless_asset_event(dg.AssetMaterialization("variant_chosen_units", partition=partition))
        requests, state = tick(instance, variants, PagesState.from_cursor(state.model_dump_json()))
        again, _ = tick(instance, variants, state)

    assert nothing == again == []
    assert [one.partition_key for one in requests] == sorted([key, "other.nwb"])


@pytest.mark.slow
def test_the_commands_list_variants_and_adopt_one(ready: Ready) -> None:
    home = ready.home
    declare(home, "lower", "{sorter: {params: {Th_universal: 7}}}")
    declare(home, "broken", "{sorter: {nam: x}}")

    listed = home.command("sort-assets", "variants", "list")
    dry = home.command("sort-assets", "variants", "sort", "--dry-run")
    asked = home.command("sort-assets", "variants", "sort")
    written = home.command("sort-assets", "variants", "adopt", "lower", "--to", "new.yaml")
    applied = home.command("sort-assets", "variants", "adopt", "lower", "--apply")
    unknown = home.command("sort-assets", "variants", "adopt", "nothing")

    assert "Th_universal 7" in listed.stdout
    assert "there is no such field" in listed.stderr
    assert (listed.status, unknown.status) == (1, 1)
    assert f"{ready.key}: lower" in dry.stdout.replace("\n", "")
    assert "1 sorts are requested" in asked.stdout
    assert "daemon" in asked.stderr  # is not running
    assert "what-if --rules new.yaml" in written.stdout
    rules = (home.roots.recordings / "sort_assets.yaml").read_text()
    assert (home.folder / "new.yaml").read_text() == rules
    assert "Th_universal: 7" in rules
    assert applied.status == 0
    assert "Name one of these: lower" in unknown.stderr
