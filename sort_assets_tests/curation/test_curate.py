"""Which units are kept by default, and how a person overrules that."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import spikeinterface.core as si

from sort_assets.config import CurationConfig, MetricsConfig
from sort_assets.curation.curate import CuratedUnits, curate
from sort_assets.curation.decisions import decision_columns
from sort_assets.curation.history import COINCIDENCE_MS, curation_of, hash_spikes, plain_ids, replay
from sort_assets.curation.manual import ManualCuration
from sort_assets.curation.merging import undecided_merges
from sort_assets.errors import CurationError
from sort_assets.metrics.tables import read_table, write_table
from sort_assets.metrics.unit_metrics import UnitMetrics, compute_unit_metrics
from sort_assets_tests.curation.conftest import CONTAMINATED, DUPLICATE, FEW, JOBS, NOISE, Planted


@pytest.fixture(scope="module")
def curated(planted: Planted) -> CuratedUnits:
    """The planted units, curated with the defaults."""
    return curate(planted.analyzer, planted.metrics, CurationConfig(), job_kwargs=JOBS)


def manual_of(sorting: si.BaseSorting, *curations: dict[str, object]) -> ManualCuration:
    """What anna decided of a sorting."""
    return ManualCuration.model_validate(
        {
            "user": "anna",
            "made_at": "2026-01-01T00:00:00Z",
            "source": "json",
            "path": "anna.json",
            "unit_ids": plain_ids(sorting),
            "spikes": hash_spikes(sorting),
            "steps": [{"title": "By hand", "made_by": {"person": "anna"}, "curation": each} for each in curations],
        }
    )


def test_well_isolated_units_are_kept_and_planted_ones_are_not(planted: Planted, curated: CuratedUnits) -> None:
    table = curated.table

    assert table["kept"].to_dict() == dict.fromkeys(planted.good, True) | dict.fromkeys(
        [NOISE, DUPLICATE, CONTAMINATED, FEW], False
    )
    assert (table.loc[planted.good, "label"] == "good").all()
    assert (table.loc[planted.good, "reason"] == "Meets every criterion.").all()
    assert table["decided_by"].to_dict() == dict.fromkeys(table.index, "thresholds") | {DUPLICATE: "duplicates"}
    assert table["label"][[NOISE, DUPLICATE, CONTAMINATED, FEW]].tolist() == [
        "rejected",
        "duplicate",
        "rejected",
        "rejected",
    ]


def test_the_reason_of_every_planted_unit_is_what_was_planted(planted: Planted, curated: CuratedUnits) -> None:
    reasons = curated.table["reason"]

    assert "SNR 0." in reasons[NOISE]
    assert "ISI violations" in reasons[NOISE]
    assert reasons[DUPLICATE].startswith(f"Duplicate of {planted.duplicated}: 100 % of its ")
    assert reasons[CONTAMINATED].startswith("ISI violations ")
    assert reasons[FEW] == "Number of spikes 20 (at least 50)."


def test_every_value_and_verdict_is_in_the_table_as_declared(
    planted: Planted, curated: CuratedUnits, tmp_path: Path
) -> None:
    columns = decision_columns(CurationConfig())

    assert list(curated.table) == [column.name for column in columns]
    assert curated.table["snr"].equals(planted.metrics.table["snr"])
    assert curated.table["snr_ok"].to_dict() == {unit: unit != NOISE for unit in curated.table.index}
    assert curated.table.at[FEW, "num_spikes"] == 20
    assert curated.table.at[NOISE, "bombcell_label"] == "noise"
    write_table(curated.table, tmp_path / "decisions.parquet")
    assert read_table(tmp_path / "decisions.parquet").equals(curated.table)


def test_the_history_explains_and_replays(planted: Planted, curated: CuratedUnits) -> None:
    again = replay(planted.analyzer.sorting, curated.history)

    assert hash_spikes(again) == hash_spikes(curated.sorting)
    assert again.get_property("kept").tolist() == curated.table["kept"].tolist()
    assert plain_ids(replay(planted.analyzer.sorting, curated.history, only_kept=True)) == planted.good
    titles = [step.title for step in curated.history.steps]
    assert titles == ["Thresholds and Bombcell", "Duplicates", "Decision on every unit"]
    assert curated.history.steps[0].made_by["thresholds"]["snr"]["greater"] == 5
    assert curated.history.steps[1].reasons == {DUPLICATE: curated.table.at[DUPLICATE, "reason"]}
    assert curated.history.steps[0].software["spikeinterface"]


def test_what_bombcell_could_not_judge_is_noted_but_not_what_nobody_asked_for(
    planted: Planted, curated: CuratedUnits
) -> None:
    asked = CurationConfig(bombcell={"mua": {"l_ratio": {"less": 0.2}}}, merge_preset=None)

    notes = curate(planted.analyzer, planted.metrics, asked).notes

    assert any("drift_ptp" in note for note in curated.notes)
    assert not any("l_ratio" in note or "isolation_distance" in note for note in curated.notes)
    assert any("l_ratio" in note for note in notes)


def test_bombcell_rejects_only_when_it_is_asked_to(planted: Planted) -> None:
    config = CurationConfig(
        min_snr=None,
        max_isi_violations_percent=None,
        max_waveform_deviation=None,
        reject_bombcell=("noise",),
        merge_preset=None,
    )

    table = curate(planted.analyzer, planted.metrics, config).table

    assert table.loc[NOISE, ["label", "decided_by", "reason"]].tolist() == [
        "rejected",
        "bombcell",
        "Bombcell labels it noise.",
    ]


def test_a_metric_that_failed_for_all_units_rejects_nobody(planted: Planted) -> None:
    metrics = UnitMetrics(planted.metrics.table.assign(snr=np.nan), {"snr": "It needs templates."})

    result = curate(planted.analyzer, metrics, CurationConfig())

    assert result.table.loc[planted.good, "kept"].all()
    assert result.table["snr_ok"].isna().all()
    assert "The criterion on SNR was not judged: It needs templates." in result.notes


def test_a_person_overrules_and_the_automatic_decision_stays_readable(planted: Planted, curated: CuratedUnits) -> None:
    sorting = planted.analyzer.sorting
    labels = {FEW: "good", "0": "noise", "1": "mua", CONTAMINATED: "mua", "2": "unsorted"}
    manual = manual_of(sorting, curation_of(plain_ids(sorting), labels=labels, removed=["5"]))

    table = curate(planted.analyzer, planted.metrics, CurationConfig(), manual=manual).table

    said = table.loc[[FEW, "0", "1", CONTAMINATED, "5"]]
    assert said["label"].tolist() == ["good", "noise", "mua", "mua", "removed"]
    assert said["kept"].tolist() == [True, False, True, False, False]
    assert (said["decided_by"] == "person").all()
    assert table.at[FEW, "reason"] == ('anna says "good"; automatically rejected: Number of spikes 20 (at least 50).')
    others = [unit for unit in table.index if unit not in said.index]
    assert table.loc[others].equals(curated.table.loc[others])


def test_units_that_a_person_made_are_measured_and_judged(planted: Planted) -> None:
    sorting = planted.analyzer.sorting
    ids = plain_ids(sorting)
    count = len(sorting.get_unit_spike_train("2"))
    splits = {"2": {"a": list(range(0, count, 2)), "b": list(range(1, count, 2))}}
    manual = manual_of(sorting, curation_of(ids, merges={"m": ["0", NOISE]}, splits=splits))

    result = curate(planted.analyzer, planted.metrics, CurationConfig(), manual=manual, job_kwargs=JOBS)

    assert plain_ids(result.sorting) == list(result.table.index) == list(result.metrics.table.index)
    assert result.table.at["a", "num_spikes"] == (count + 1) // 2
    assert result.table.loc["a", ["kept", "decided_by", "reason"]].tolist() == [
        True,
        "person",
        "Split from 2 by anna. Meets every criterion.",
    ]
    assert result.table.loc["m", ["kept", "decided_by"]].tolist() == [False, "thresholds"]
    assert result.table.at["m", "reason"].startswith("Merged of 0, noise by anna. ISI violations")
    untouched = ["1", "3", "4"]
    assert result.metrics.table.loc[untouched].equals(planted.metrics.table.loc[untouched])
    assert result.metrics.table.dtypes.equals(planted.metrics.table.dtypes)
    again = replay(sorting, result.history)
    assert hash_spikes(again) == hash_spikes(result.sorting)
    assert plain_ids(planted.analyzer.sorting) == ids


def test_without_the_recording_units_that_lie_apart_are_merged_unjudged(planted: Planted) -> None:
    analyzer = planted.analyzer.copy()
    analyzer._recording = None
    manual = manual_of(analyzer.sorting, curation_of(plain_ids(analyzer), merges={"m": ["0", "7"]}))

    result = curate(analyzer, planted.metrics, CurationConfig(), manual=manual)

    assert result.table["snr"].isna().to_dict() == {unit: unit == "m" for unit in result.table.index}
    assert any("have no metrics: Units that lie on different channels" in note for note in result.notes)


def test_a_curation_of_other_units_is_refused(planted: Planted) -> None:
    sorting = planted.analyzer.sorting
    fewer = sorting.select_units(sorting.unit_ids[1:])

    with pytest.raises(CurationError, match=r"anna decided in 'anna\.json' is about other units"):
        curate(planted.analyzer, planted.metrics, CurationConfig(), manual=manual_of(fewer))
    other = dataclasses.replace(planted.metrics, table=planted.metrics.table.iloc[1:])
    with pytest.raises(CurationError, match="metrics are not of the units"):
        curate(planted.analyzer, other, CurationConfig())


def test_merges_are_only_suggested_by_default(halved: tuple[si.SortingAnalyzer, UnitMetrics]) -> None:
    result = curate(*halved, CurationConfig())

    assert plain_ids(result.sorting) == [0, 1, 2, 3]
    assert [(each.unit_ids, each.applied) for each in result.suggestions] == [((0, 1), False)]
    assert result.suggestions[0].to_dict()["words"].startswith("0 and 1 may be one unit: templates ")
    undecided = undecided_merges(plain_ids(result.sorting), result.suggestions)
    assert undecided["merges"] == [{"unit_ids": [0, 1], "new_unit_id": 4}]


def test_merges_are_applied_when_configured(halved: tuple[si.SortingAnalyzer, UnitMetrics]) -> None:
    result = curate(*halved, CurationConfig(apply_merges=True), job_kwargs=JOBS)

    assert plain_ids(result.sorting) == [2, 3, 4]
    assert result.suggestions[0].applied
    assert undecided_merges(plain_ids(result.sorting), result.suggestions)["merges"] == []
    row = result.table.loc["4"]
    assert row["num_spikes"] == halved[1].table.loc[["0", "1"], "num_spikes"].sum()
    assert [row["label"], row["kept"], row["decided_by"]] == ["good", True, "merge"]
    assert row["reason"].startswith("0 and 1 were merged: templates ")
    again = replay(halved[0].sorting, result.history)
    assert hash_spikes(again) == hash_spikes(result.sorting)
    assert plain_ids(replay(halved[0].sorting, result.history, only_kept=True)) == [2, 4]


def test_spikes_that_merged_units_had_both_found_count_once_and_are_told(planted: Planted) -> None:
    sorting = planted.analyzer.sorting
    merge = curation_of(plain_ids(sorting), merges={"m": [planted.duplicated, DUPLICATE]})
    by_hand = manual_of(sorting, merge)
    now, before = (
        by_hand.model_copy(update={"steps": [step.model_copy(update={"censor_ms": censor}) for step in by_hand.steps]})
        for censor in (COINCIDENCE_MS, None)
    )

    result = curate(planted.analyzer, planted.metrics, CurationConfig(), manual=now, job_kwargs=JOBS)
    earlier = curate(planted.analyzer, planted.metrics, CurationConfig(), manual=before, job_kwargs=JOBS)

    trains = {unit: len(sorting.get_unit_spike_train(unit)) for unit in (planted.duplicated, DUPLICATE)}
    assert len(result.sorting.get_unit_spike_train("m")) == trains[planted.duplicated]
    assert result.table.at["m", "num_spikes"] == trains[planted.duplicated]
    (told,) = [note for note in result.notes if "found twice" in note]
    assert f"{trains[DUPLICATE]:,} of {sum(trains.values()):,} spikes" in told
    # What was imported with an earlier version stays as it was, and says so.
    assert len(earlier.sorting.get_unit_spike_train("m")) == sum(trains.values())
    assert any("They count twice: import that curation again" in note for note in earlier.notes)


def test_automatic_merges_count_shared_spikes_once(halved: tuple[si.SortingAnalyzer, UnitMetrics]) -> None:
    result = curate(*halved, CurationConfig(apply_merges=True), job_kwargs=JOBS)

    (merges,) = [step for step in result.history.steps if step.curation["merges"]]
    assert merges.censor_ms == COINCIDENCE_MS


def test_a_person_keeps_merges_from_being_applied(halved: tuple[si.SortingAnalyzer, UnitMetrics]) -> None:
    analyzer, metrics = halved
    manual = manual_of(analyzer.sorting, curation_of([0, 1, 2, 3], labels={3: "good"}))

    result = curate(analyzer, metrics, CurationConfig(apply_merges=True), manual=manual)

    assert plain_ids(result.sorting) == [0, 1, 2, 3]
    assert result.table.at["3", "kept"]
    assert "No suggested merge was applied, because a person curated these units." in result.notes


def test_one_unit_is_curated(planted: Planted) -> None:
    metrics = UnitMetrics(planted.metrics.table.loc[["0"]], {})

    result = curate(planted.analyzer.select_units(["0"]), metrics, CurationConfig(apply_merges=True))

    assert result.table["kept"].to_dict() == {"0": True}
    assert result.suggestions == ()


def test_no_units_are_curated(short: tuple[si.BaseRecording, si.BaseSorting], tmp_path: Path) -> None:
    recording, truth = short
    analyzer = si.create_sorting_analyzer(truth.select_units([]), recording, sparse=False)
    metrics = compute_unit_metrics(analyzer, MetricsConfig(skip=("synchrony",)), job_kwargs=JOBS)
    nothing = manual_of(analyzer.sorting, curation_of([]))

    for manual in (None, nothing):
        result = curate(analyzer, metrics, CurationConfig(apply_merges=True), manual=manual)

        assert list(result.table) == [column.name for column in decision_columns(CurationConfig())]
        assert len(result.table) == len(result.sorting.unit_ids) == 0
        assert (result.suggestions, result.notes) == ((), ())
        assert hash_spikes(replay(analyzer.sorting, result.history)) == hash_spikes(result.sorting)
        write_table(result.table, tmp_path / "decisions.parquet")
        assert read_table(tmp_path / "decisions.parquet").equals(result.table)


def test_a_recording_without_positions_is_curated(planted: Planted) -> None:
    analyzer = planted.analyzer.copy()
    analyzer.rec_attributes = {**analyzer.rec_attributes, "probegroup": None}
    del analyzer.extensions["unit_locations"], analyzer.extensions["spike_locations"]

    result = curate(analyzer, planted.metrics, CurationConfig())

    assert result.table.loc[planted.good, "kept"].all()
    assert result.table["kept"].sum() == len(planted.good)
    assert any("no channel positions" in note for note in result.notes)
