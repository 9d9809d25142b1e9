"""A person's curation from SpikeInterface's JSON format."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spikeinterface.core as si

from sort_assets.curation.history import CurationHistory, HistoryStep, curation_of, hash_spikes, plain_ids, restructure
from sort_assets.curation.manual import ManualCuration, from_curation_json, manual_decisions
from sort_assets.errors import CurationError

LABELS = {"quality": {"label_options": ["good", "noise", "MUA"], "exclusive": True}}


@pytest.fixture
def sorting() -> si.NumpySorting:
    """Five units, numbered from 0, with ten spikes each."""
    trains = {unit: np.arange(10) * 100 + unit for unit in range(5)}
    return si.NumpySorting.from_unit_dict([trains], 1000.0)


def curated(sorting: si.BaseSorting, manual: ManualCuration) -> si.BaseSorting:
    for step in manual.steps:
        sorting = restructure(sorting, step.curation, censor_ms=step.censor_ms)
    return sorting


def saved(folder: Path, values: Any) -> Path:
    path = folder / "curation.json"
    path.write_text(values if isinstance(values, str) else json.dumps(values))
    return path


def test_version_2_merges_splits_removes_and_labels(sorting: si.NumpySorting, tmp_path: Path) -> None:
    path = saved(
        tmp_path,
        {
            "format_version": "2",
            "unit_ids": [0, 1, 2, 3, 4],
            "label_definitions": LABELS,
            "manual_labels": [{"unit_id": 4, "quality": ["MUA"]}, {"unit_id": 0, "labels": {"quality": ["good"]}}],
            "merges": [{"unit_ids": [0, 1]}],
            "splits": [{"unit_id": 2, "mode": "labels", "labels": [0, 1] * 5}],
            "removed": [3],
        },
    )

    manual = from_curation_json(path, sorting, user="anna", data_version="v1")

    result = curated(sorting, manual)
    assert plain_ids(result) == [3, 4, 5, 6, 7]
    assert len(result.get_unit_spike_train(5)) == 20
    assert result.get_unit_spike_train(6).tolist() == sorting.get_unit_spike_train(2)[::2].tolist()
    words = manual_decisions(manual)
    assert (words[3].label, words[3].keeps) == ("removed", False)
    assert (words[4].label, words[4].keeps) == ("mua", None)
    # Only one of the two merged units was called good.
    assert (words[5].label, words[5].made) == ("", "Merged of 0, 1 by anna")
    assert (manual.user, manual.source, manual.data_version) == ("anna", "json", "v1")
    assert ManualCuration.model_validate_json(manual.model_dump_json()) == manual
    assert manual.is_about(sorting)


def test_version_1_is_read(sorting: si.NumpySorting, tmp_path: Path) -> None:
    path = saved(
        tmp_path,
        {
            "format_version": "1",
            "unit_ids": [0, 1, 2, 3, 4],
            "label_definitions": LABELS,
            "manual_labels": [{"unit_id": 1, "quality": ["noise"]}],
            "merge_unit_groups": [[3, 4]],
            "removed_units": [0],
        },
    )

    manual = from_curation_json(path, sorting)

    assert plain_ids(curated(sorting, manual)) == [0, 1, 2, 5]
    assert [manual_decisions(manual)[unit].keeps for unit in (0, 1)] == [False, False]


def test_the_format_of_sortingview_is_read(
    sorting: si.NumpySorting, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path, {"labelsByUnit": {"1": ["accept"], "2": ["reject"]}, "mergeGroups": [[3, 4]]})

    manual = from_curation_json(path, sorting)

    assert plain_ids(curated(sorting, manual)) == [0, 1, 2, 5]
    assert [manual_decisions(manual)[unit].keeps for unit in (1, 2)] == [True, False]
    assert capsys.readouterr().out == ""


def test_numbers_in_the_file_name_units_whose_ids_are_text(sorting: si.NumpySorting, tmp_path: Path) -> None:
    texts = sorting.rename_units(np.array(["0", "1", "2", "3", "4"]))
    merge = {"format_version": "2", "unit_ids": [0, 1, 2, 3, 4], "merges": [{"unit_ids": [0, 1], "new_unit_id": 12}]}

    manual = from_curation_json(saved(tmp_path, merge), texts)

    assert plain_ids(curated(texts, manual)) == ["2", "3", "4", "12"]


def test_units_that_do_not_exist_are_named(sorting: si.NumpySorting, tmp_path: Path) -> None:
    path = saved(tmp_path, {"format_version": "2", "unit_ids": [0, 77, 78]})

    with pytest.raises(CurationError, match="does not have: 77, 78"):
        from_curation_json(path, sorting)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ('{"format_version": "2", "unit_ids": [0, 1', "delimiter"),
        ("[1, 2]", "no JSON object"),
        ({"format_version": "2"}, "'unit_ids' is missing"),
        ({"format_version": "9", "unit_ids": [0]}, "version 9 not supported"),
        ({"format_version": "2", "unit_ids": [0, 1], "merges": [{"unit_ids": [0, 5]}]}, "5 is not in the unit list"),
        ({"format_version": "2", "unit_ids": [0], "splits": [{"unit_id": 0, "indices": [[1, 99]]}]}, "does not fit"),
        ({"format_version": "2", "unit_ids": [0], "splits": [{"unit_id": 0, "indices": [[-1], [2]]}]}, "does not fit"),
        ({"format_version": "2", "unit_ids": [0], "splits": {"0": [0, 1, 1]}}, "is not"),
        ({"labelsByUnit": {}}, "is not a curation"),
        ({"format_version": "2", "unit_ids": [0], "merges": [{"unit_ids": [0, 0]}]}, "merges unit 0 with itself"),
        ("[" * 100_000, "is not a curation"),
        (
            {
                "format_version": "2",
                "unit_ids": [0],
                "label_definitions": {"quality": {"label_options": ["good", "mua"], "exclusive": True}},
                "manual_labels": [{"unit_id": 0, "labels": {"quality": [said]}} for said in ("good", "mua")],
            },
            "labels unit 0 twice in 'quality', as good and mua",
        ),
    ],
)
def test_a_damaged_file_says_what_is_wrong(sorting: si.NumpySorting, tmp_path: Path, values: Any, said: str) -> None:
    with pytest.raises(CurationError, match=said):
        from_curation_json(saved(tmp_path, values), sorting)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_that_an_editor_saved_in_its_own_encoding_is_read(
    encoding: str, sorting: si.NumpySorting, tmp_path: Path
) -> None:
    path = saved(tmp_path, {"format_version": "2", "unit_ids": [0, 1], "merges": [{"unit_ids": [0, 1]}]})
    path.write_text(path.read_text(), encoding=encoding)

    assert len(curated(sorting, from_curation_json(path, sorting)).unit_ids) == 4


def test_spikes_that_both_merged_units_had_found_count_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    spikes = np.cumsum(rng.integers(450, 2500, 700))
    first, second = spikes[:500], np.sort(np.r_[spikes[100:300] + 6, spikes[500:]])
    both = si.NumpySorting.from_unit_dict([{"a": first, "b": second, "c": np.array([70, 900])}], 24000.0)
    values = {
        "format_version": "2",
        "unit_ids": ["a", "b", "c"],
        "merges": [{"unit_ids": ["b", "a"], "new_unit_id": "m"}],
    }

    result = curated(both, from_curation_json(saved(tmp_path, values), both))

    assert plain_ids(result) == ["c", "m"]
    assert np.array_equal(result.get_unit_spike_train("m"), spikes)


def test_a_file_that_is_not_there_is_an_error(sorting: si.NumpySorting, tmp_path: Path) -> None:
    with pytest.raises(CurationError, match="No such file"):
        from_curation_json(tmp_path / "nothing.json", sorting)


def test_a_curation_of_merged_units_is_carried_back_to_the_units_of_the_sorter(
    sorting: si.NumpySorting, tmp_path: Path
) -> None:
    merge = curation_of(plain_ids(sorting), merges={5: [0, 1]})
    automatic = CurationHistory(
        unit_ids=plain_ids(sorting),
        spikes=hash_spikes(sorting),
        steps=[
            HistoryStep(title="Thresholds", made_by={}, curation=curation_of(plain_ids(sorting), labels={0: "good"})),
            HistoryStep(title="Merges", made_by={}, curation=merge),
        ],
    )
    seen = restructure(sorting, merge)
    values = {"format_version": "2", "unit_ids": [2, 3, 4, 5], "merges": [{"unit_ids": [5, 2]}]}
    of_merged = from_curation_json(saved(tmp_path, values), seen, user="anna")
    untouched = from_curation_json(saved(tmp_path, {"format_version": "2", "unit_ids": [5]}), seen).after(automatic)
    assert manual_decisions(untouched)[5].made == "Merged of 0, 1 automatically"
    assert not manual_decisions(untouched)[5].by_person

    manual = of_merged.after(automatic)

    assert manual.is_about(sorting)
    assert plain_ids(curated(sorting, manual)) == [3, 4, 6]
    again = {"format_version": "2", "unit_ids": [3, 4, 6], "removed": [3]}
    assert manual_decisions(manual)[6].made == "Merged of 5, 2 by anna"
    later = from_curation_json(saved(tmp_path, again), curated(sorting, manual)).after(automatic, manual)
    assert later.is_about(sorting)
    assert set(manual_decisions(later)) == {3, 6}
    with pytest.raises(CurationError, match="not about the units"):
        from_curation_json(saved(tmp_path, again), curated(sorting, manual)).after(automatic)
