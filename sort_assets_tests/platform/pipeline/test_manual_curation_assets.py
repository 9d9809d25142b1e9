"""A person's work on the units: out to Phy, back, applied, and never lost to a new sort or to somebody else."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from spikeinterface.core import BaseRecording, BaseSorting
from spikeinterface.extractors import read_phy

from sort_assets.platform.automation.manual_curation import working_folder
from sort_assets.platform.store.handles import StoredCuration, StoredManualCuration
from sort_assets_tests.faults.runs import failures_of
from sort_assets_tests.fixtures.home import Finished, Home, cheap
from sort_assets_tests.fixtures.ready import Ready
from sort_assets_tests.platform.pipeline.known_units import (
    AFTER_THE_SORT,
    checks_of,
    publish_sorting,
    save_in_phy,
    with_planted_units,
)

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("manual_curation")]


@dataclass(frozen=True)
class Curated:
    """A recording whose units are curated automatically."""

    home: Home
    key: str
    units: BaseSorting

    @property
    def folder(self) -> Path:
        return working_folder(self.home.roots, self.key)

    @property
    def stored(self) -> StoredCuration:
        return StoredCuration(self.home.roots, self.key)

    def curate(self) -> str:
        run = self.home.materialize(self.key, "curated_units", config=cheap())
        assert run.success
        return run.run_id

    def imports(self, *words: str) -> Finished:
        return self.home.invoke("import-curation", self.key, *words)


@pytest.fixture(scope="module")
def prepared(module_ready: Ready, short: tuple[BaseRecording, BaseSorting]) -> Curated:
    home, key = module_ready.home, module_ready.key
    units = with_planted_units(short[1])
    publish_sorting(home, key, units)
    assert home.materialize(key, *AFTER_THE_SORT[:3], config=cheap()).success
    return Curated(home, key, units)


@pytest.fixture
def curated(prepared: Curated) -> Iterator[Curated]:
    """With the automatic curation, and nothing exported."""
    yield prepared
    if (prepared.home.store.root / prepared.key / "manual_curation").exists():
        assert prepared.imports("--automatic").status == 0
        prepared.curate()
    if prepared.folder.exists():
        prepared.folder.rename(prepared.folder.with_name(f"phy-{len(list(prepared.folder.parent.iterdir()))}"))


def test_what_a_person_does_in_phy_comes_back_as_a_new_version(curated: Curated) -> None:
    automatic = curated.stored.manifest.version
    out = curated.home.invoke("export-phy", curated.key)
    assert out.status == 0, out.output
    assert len(read_phy(curated.folder).unit_ids) == len(curated.units.unit_ids)

    save_in_phy(curated.folder, merged=(0, 101), groups={2: "noise", 100: "good"}, merged_is="good")
    not_over_it = curated.home.invoke("export-phy", curated.key)
    back = curated.imports("--user", "Ada")
    run_id = curated.curate()

    assert (not_over_it.status, back.status) == (1, 0), back.output
    assert "not imported" in not_over_it.stderr
    decisions = curated.stored.decisions()
    by_person = decisions[decisions["decided_by"] == "person"]
    (new,) = set(by_person.index) - {"2", "100"}
    assert dict(by_person["kept"]) == {new: True, "2": False, "100": True}
    assert all("Ada" in reason for reason in by_person["reason"])
    merged = curated.stored.load().get_unit_spike_train(int(new))
    both = [curated.units.get_unit_spike_train(unit) for unit in (0, 101)]
    assert set(merged) <= set(np.concatenate(both))
    assert len(merged) >= len(both[0])
    assert checks_of(curated.home, run_id)["persons_work_applied"][0]
    assert automatic in curated.home.store.versions(curated.key, "curated_units")
    assert "by Ada" in curated.home.invoke("status").stdout
    rest = curated.home.catalog().partitions(["day.nwb"])[0].run_assets
    assert rest == ("curated_units", "sorting_report", "spike_data")


@pytest.mark.release
def test_work_that_was_not_imported_is_not_overwritten(curated: Curated) -> None:
    curated.home.invoke("export-phy", curated.key)
    again = curated.home.invoke("export-phy", curated.key)
    save_in_phy(curated.folder, merged=(), groups={1: "noise"})
    work = (curated.folder / "cluster_group.tsv").read_text()

    refused = curated.home.invoke("export-phy", curated.key)

    assert again.status == 0, again.output
    assert refused.status == 1
    assert "not imported" in refused.stderr
    assert (curated.folder / "cluster_group.tsv").read_text() == work
    assert curated.imports("--user", "Ada").status == 0
    curated.curate()
    assert curated.home.invoke("export-phy", curated.key).status == 0


@pytest.mark.release
def test_a_second_round_goes_on_from_the_first(curated: Curated) -> None:
    curated.home.invoke("export-phy", curated.key)
    save_in_phy(curated.folder, merged=(0, 101), groups={2: "noise"})
    assert curated.imports("--user", "Ada").status == 0
    curated.curate()
    curated.home.invoke("export-phy", curated.key)

    save_in_phy(curated.folder, merged=(3, 4), groups={})
    assert curated.imports("--user", "Ben").status == 0
    curated.curate()

    decisions = curated.stored.decisions()
    assert len(decisions) == len(curated.units.unit_ids) - 2
    assert not {"0", "101", "3", "4"} & set(decisions.index)
    assert not decisions.loc["2", "kept"]


def test_a_curation_in_spikeinterfaces_format_is_read_and_one_about_other_units_is_not(
    curated: Curated, tmp_path: Path
) -> None:
    ids = [int(unit) for unit in curated.units.unit_ids]
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    _write_json(good, curated, removed=[3], merges=[{"unit_ids": [1, 102]}])
    _write_json(bad, curated, removed=[3], unit_ids=[*ids, 999])

    refused = curated.imports("--file", str(bad))
    accepted = curated.imports("--file", str(good), "--user", "Ada")
    curated.curate()

    assert refused.status == 1
    assert "999" in refused.stderr
    assert accepted.status == 0, accepted.output
    decisions = curated.stored.decisions()
    assert not decisions.loc["3", "kept"]
    assert not {"1", "102"} & set(decisions.index)


@pytest.mark.release
def test_a_person_goes_on_in_the_same_folder(curated: Curated) -> None:
    curated.home.invoke("export-phy", curated.key)
    save_in_phy(curated.folder, merged=(), groups={2: "noise"})
    assert curated.imports("--user", "Ada").status == 0
    curated.curate()

    save_in_phy(curated.folder, merged=(), groups={2: "good", 3: "noise"})
    again = curated.imports("--user", "Ada")
    curated.curate()

    assert again.status == 0, again.output
    decisions = curated.stored.decisions()
    assert dict(decisions.loc[["2", "3"], "kept"]) == {"2": True, "3": False}


@pytest.mark.release
def test_a_corrected_file_takes_the_place_of_the_one_before_and_a_label_brings_a_removed_unit_back(
    curated: Curated, tmp_path: Path
) -> None:
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    _write_json(first, curated, removed=[3, 4])
    _write_json(second, curated, removed=[2])
    assert curated.imports("--file", str(first), "--user", "Ada").status == 0
    curated.curate()
    taken_out = curated.stored.decisions()["kept"]

    other_person = curated.imports("--file", str(second), "--user", "Ben")
    same_person = curated.imports("--file", str(second), "--user", "Ada")
    curated.curate()
    corrected = curated.stored.decisions()["kept"]
    curated.home.invoke("export-phy", curated.key)
    save_in_phy(curated.folder, merged=(), groups={2: "good"})
    assert curated.imports("--user", "Ada").status == 0
    curated.curate()

    assert [bool(taken_out[unit]) for unit in ("2", "3", "4")] == [True, False, False]
    assert (other_person.status, same_person.status) == (1, 0)
    assert "--replace" in other_person.stderr
    assert [bool(corrected[unit]) for unit in ("2", "3", "4")] == [False, True, True]
    assert curated.stored.decisions().loc["2", "kept"]


def test_a_file_from_before_the_sort_is_not_taken_for_one_about_its_units(curated: Curated, tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    _write_json(path, curated, removed=[3])
    os.utime(path, (1_000_000_000, 1_000_000_000))

    refused = curated.imports("--file", str(path))

    assert refused.status == 1
    assert "before the present sorting was made" in refused.stderr


def test_a_misspelt_key_leaves_nothing_in_the_store(curated: Curated) -> None:
    refused = curated.home.invoke("import-curation", "dya.nwb", "--automatic")

    assert refused.status == 1
    assert not (curated.home.roots.store / "dya.nwb").exists()


def test_who_comes_second_is_told_instead_of_undoing_the_first(curated: Curated, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("ada", "ben")]
    for folder in folders:
        assert curated.home.invoke("export-phy", curated.key, "--folder", str(folder)).status == 0
    for folder, noise in zip(folders, (1, 2), strict=True):
        save_in_phy(folder, merged=(), groups={noise: "noise"})
    assert curated.imports("--phy", str(folders[0]), "--user", "Ada").status == 0

    refused = curated.imports("--phy", str(folders[1]), "--user", "Ben")
    insisted = curated.imports("--phy", str(folders[1]), "--user", "Ben", "--replace")

    assert refused.status == 1
    assert "Ada has curated" in refused.stderr
    assert insisted.status == 0
    assert len(curated.home.store.versions(curated.key, "manual_curation")) >= 2
    newest = StoredManualCuration(curated.home.roots, curated.key).load()
    assert newest is not None
    assert newest.user == "Ben"


def test_curations_are_never_cleaned_up(curated: Curated) -> None:
    home, key = curated.home, curated.key
    before = home.store.versions(key, "curated_units"), home.store.versions(key, "manual_curation")
    kept = StoredCuration(home.roots, key, before[0][0]).load()
    assert home.materialize(key, "waveforms", "unit_metrics", "curated_units", config=cheap()).success

    assert home.invoke("gc").status == 0

    assert len(home.store.versions(key, "waveforms")) == 1
    again = StoredCuration(home.roots, key, before[0][0]).load()
    assert list(again.unit_ids) == list(kept.unit_ids)
    before = (home.store.versions(key, "curated_units"), before[1])
    assert (home.store.versions(key, "curated_units"), home.store.versions(key, "manual_curation")) == before
    assert len(before[0]) > 1


def test_a_sort_of_what_a_person_curated_stops_unless_told_otherwise_and_keeps_the_old_version(
    curated: Curated,
) -> None:
    home, key = curated.home, curated.key
    home.invoke("export-phy", key)
    save_in_phy(curated.folder, merged=(), groups={2: "noise"})
    assert curated.imports("--user", "Ada").status == 0
    curated.curate()
    sortings = home.store.versions(key, "sorting")
    with_work = curated.stored.manifest.version

    refused = home.materialize(key, "sorting", config=cheap())

    assert not refused.success
    assert home.store.versions(key, "sorting") == sortings
    (failure,) = failures_of(home, refused.run_id)
    assert failure["failure_class"] == "CuratedByPersonError"
    assert "resort_curated" in failure["remedy"]

    allowed = home.materialize(
        key, "sorting", config=cheap(execution={"isolation": "in_process", "resort_curated": True})
    )
    run = home.materialize(key, "waveforms", "unit_metrics", "curated_units", config=cheap())

    assert allowed.success
    assert run.success
    assert checks_of(home, run.run_id)["persons_work_applied"] == (False, "WARN")
    assert with_work in home.store.versions(key, "curated_units")
    late = curated.imports("--user", "Ada")
    assert late.status == 1
    assert "sorted again" in late.stderr


def _write_json(path: Path, curated: Curated, **said: Any) -> None:
    """A curation as spikeinterface-gui writes it."""
    nothing = {"label_definitions": {}, "manual_labels": [], "removed": [], "merges": [], "splits": []}
    ids = [int(unit) for unit in curated.units.unit_ids]
    path.write_text(json.dumps({"format_version": "2", "unit_ids": ids, **nothing, **said}), encoding="utf-8")
