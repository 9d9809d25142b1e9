"""What a person decided of an earlier sorting is suggested for the units of a new one that are the same."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from spikeinterface.core import BaseRecording, BaseSorting, NumpySorting

from sort_assets.platform.store.handles import StoredCuration
from sort_assets_tests.fixtures.home import Finished, Home, cheap
from sort_assets_tests.fixtures.ready import Ready
from sort_assets_tests.platform.pipeline.known_units import checks_of, publish_sorting

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("carried_curation")]

UP_TO_CURATION = ("waveforms", "unit_metrics", "curated_units")
LABELS = {"0": "noise", "1": "good", "4": "good", "5": "noise"}


@dataclass(frozen=True)
class SortedAgain:
    """A recording that was curated by hand, and sorted again.

    Ada labelled 0, 1, 4 and 5, removed 6 and merged 2 with 3. In the new sorting all are renumbered, 2 and 3 are found
    apart again, 4 is lost, and 5 is merged with 7.
    """

    home: Home
    key: str

    def carry(self, *words: str) -> Finished:
        return self.home.invoke("carry-curation", self.key, *words)


def curation(**words: Any) -> dict[str, Any]:
    definition = {"name": "quality", "label_options": ["good", "noise"], "exclusive": True}
    return {"format_version": "2", "label_definitions": {"quality": definition}, **words}


@pytest.fixture(scope="module")
def again(module_ready: Ready, short: tuple[BaseRecording, BaseSorting], tmp_path_factory: Any) -> SortedAgain:
    home, key, truth = module_ready.home, module_ready.key, short[1]
    trains = [truth.get_unit_spike_train(unit) for unit in truth.unit_ids]
    units = NumpySorting.from_unit_dict([dict(enumerate(trains))], truth.sampling_frequency)
    publish_sorting(home, key, units)
    assert home.materialize(key, *UP_TO_CURATION, config=cheap()).success
    assert "Nobody has curated" in home.invoke("carry-curation", key).stderr
    decided = tmp_path_factory.mktemp("ada") / "curation.json"
    words = curation(
        unit_ids=list(range(len(trains))),
        manual_labels=[{"unit_id": int(unit), "labels": {"quality": [label]}} for unit, label in LABELS.items()],
        removed=[6],
        merges=[{"unit_ids": [2, 3]}],
    )
    decided.write_text(json.dumps(words))
    assert home.invoke("import-curation", key, "--file", str(decided), "--user", "Ada").status == 0
    assert "nothing to carry over" in home.invoke("carry-curation", key).stderr
    new = {f"n{index}": train for index, train in enumerate(trains) if index not in (4, 5, 7)}
    new["both"] = np.sort(np.concatenate([trains[5], trains[7]]))
    publish_sorting(home, key, NumpySorting.from_unit_dict([new], truth.sampling_frequency), run_id="again")
    run = home.materialize(key, *UP_TO_CURATION, config=cheap())
    assert checks_of(home, run.run_id)["persons_work_applied"] == (False, "WARN")
    return SortedAgain(home, key)


def test_decisions_are_suggested_for_the_same_units_and_the_others_are_listed(again: SortedAgain) -> None:
    values = json.loads(again.carry("--json").stdout)

    listed = {one["before"]: (one["decision"], one["fate"], one["suggested"]) for one in values["decisions"]}
    (merged,) = set(listed) - {*LABELS, "6"}
    assert listed.pop(merged) == ("Merged of 2, 3 by Ada", "split", True)
    assert listed == {
        "0": ("noise", "kept", True),
        "1": ("good", "kept", True),
        "4": ("good", "lost", False),
        "5": ("noise", "merged", False),
        "6": ("removed", "kept", True),
    }
    suggested = values["curation"]
    assert {each["unit_id"]: each["labels"]["quality"] for each in suggested["manual_labels"]} == {
        "n0": ["noise"],
        "n1": ["good"],
    }
    assert suggested["removed"] == ["n6"]
    assert [sorted(merge["unit_ids"]) for merge in suggested["merges"]] == [["n2", "n3"]]
    assert "4 of 6 decisions of Ada are suggested" in again.carry().stdout


def test_a_file_that_somebody_has_changed_is_not_overwritten(again: SortedAgain, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    assert again.carry("--file", str(path)).status == 0
    path.write_text("mine")

    refused = again.carry("--file", str(path))

    assert refused.status == 1
    assert "may be somebody's work" in refused.stderr
    assert path.read_text() == "mine"


def test_an_imported_file_decides_on_the_new_units(again: SortedAgain) -> None:
    path = json.loads(again.carry("--json").stdout)["path"]

    assert again.home.invoke("import-curation", again.key, "--file", path, "--user", "Ada").status == 0
    assert again.home.materialize(again.key, "curated_units", config=cheap()).success

    decisions = StoredCuration(again.home.roots, again.key).decisions()
    by_person = decisions[decisions["decided_by"] == "person"]["kept"]
    assert {unit: bool(by_person[unit]) for unit in ("n0", "n1", "n6")} == {"n0": False, "n1": True, "n6": False}
    assert not {"n2", "n3"} & set(decisions.index)
