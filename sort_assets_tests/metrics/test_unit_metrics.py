from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from spikeinterface.core import BaseRecording, BaseSorting, NumpySorting, SortingAnalyzer

from sort_assets.config.units import MetricsConfig
from sort_assets.errors import ConfigError
from sort_assets.metrics import unit_metrics
from sort_assets.metrics.columns import PCA_METRICS, REPEATABILITY, UNIT_METRICS
from sort_assets.metrics.extensions import complete_analyzer
from sort_assets.metrics.tables import empty_table, read_table, write_table
from sort_assets.metrics.unit_metrics import UnitMetrics, compute_unit_metrics
from sort_assets_tests.metrics.conftest import JOB_KWARGS, make_analyzer, without_probe

DEFAULT = MetricsConfig()
NAMES = [column.name for column in UNIT_METRICS]
OF_COMPONENTS = {column.name for column in PCA_METRICS}
TEN_SECONDS_ARE_TOO_SHORT_FOR = {
    *("amplitude_cutoff", "amplitude_cv_median", "amplitude_cv_range"),
    *("drift_ptp", "drift_std", "drift_mad"),
}


def compute(analyzer: SortingAnalyzer, config: MetricsConfig = DEFAULT) -> UnitMetrics:
    return compute_unit_metrics(analyzer, config, job_kwargs=JOB_KWARGS)


@pytest.fixture(scope="module")
def found(complete_folder: Path, short: tuple[BaseRecording, BaseSorting]) -> UnitMetrics:
    """All metrics of the ground truth, with those on principal components."""
    analyzer = SortingAnalyzer.load_from_binary_folder(complete_folder, recording=short[0], lazy=True)
    return compute(analyzer, MetricsConfig(pca=True))


def test_all_metrics_of_the_ground_truth_are_computed(found: UnitMetrics) -> None:
    assert dict(found.failed) == {}
    assert found.table.columns.tolist() == NAMES
    computed = (
        found.table.drop(columns=["velocity_above", "velocity_below", "peak_before_width", REPEATABILITY.name])
        .notna()
        .all()
    )
    assert set(computed.index[~computed]) == TEN_SECONDS_ARE_TOO_SHORT_FOR


def test_the_ground_truth_is_found_in_the_metrics(found: UnitMetrics, short: tuple[BaseRecording, BaseSorting]) -> None:
    recording, sorting = short
    table = found.table
    place_um = dict(zip(recording.channel_ids, recording.get_channel_locations(), strict=True))
    main_channels = sorting.get_property("main_channel_id")

    assert table.index.tolist() == [str(unit) for unit in sorting.unit_ids]
    assert table["num_spikes"].tolist() == sorting.count_num_spikes_per_unit(outputs="array").tolist()
    np.testing.assert_allclose(table["firing_rate"], table["num_spikes"] / recording.get_duration())
    assert table["primary_channel"].tolist() == main_channels.astype(str).tolist()
    distances_um = np.hypot(
        *(table[["x_um", "y_um"]] - np.array([place_um[channel] for channel in main_channels])).to_numpy().T
    )
    assert distances_um.max() < 20
    # What make_ground_truth plants: peaks of 120 to 260 microvolts in noise of 8, and 4 ms without a second spike.
    assert table["amplitude_uv"].between(110, 270).all()
    np.testing.assert_allclose(table["waveform_deviation"] * table["amplitude_uv"], 8.0, rtol=0.5)
    assert (table["isi_violations_percent"] == 0).all()
    assert (table["presence_ratio"] == 1).all()


def test_values_are_those_of_spikeinterface(found: UnitMetrics, analyzer_with: Callable[..., SortingAnalyzer]) -> None:
    analyzer = analyzer_with()
    theirs = pd.concat(
        [
            analyzer.compute("quality_metrics", skip_pc_metrics=True, **JOB_KWARGS).get_data(),
            analyzer.compute("template_metrics", include_multi_channel_metrics=True).get_data(),
        ],
        axis=1,
    )

    # The presence ratio has other bins, and the noise for sd_ratio is read from random places.
    same = theirs.columns.drop(["presence_ratio", "sd_ratio"])
    np.testing.assert_allclose(found.table[same].astype(float), theirs[same].astype(float))
    np.testing.assert_allclose(found.table["sd_ratio"], theirs["sd_ratio"], rtol=0.1)


def test_the_same_analyzer_gives_the_same_table_and_is_left_as_it_was(
    found: UnitMetrics, analyzer_with: Callable[..., SortingAnalyzer]
) -> None:
    analyzer = analyzer_with()
    before = set(analyzer.get_saved_extension_names())

    again = compute(analyzer, MetricsConfig(pca=True))

    pd.testing.assert_frame_equal(again.table, found.table)
    assert set(analyzer.get_saved_extension_names()) == before
    assert not analyzer.has_extension("principal_components")


def test_units_taken_a_few_at_a_time_give_the_same_table(
    found: UnitMetrics, analyzer_with: Callable[..., SortingAnalyzer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unit_metrics, "_UNITS_AT_ONCE", 3)

    table = compute(analyzer_with(), MetricsConfig(pca=True)).table

    pd.testing.assert_frame_equal(table, found.table)


def test_a_table_of_metrics_comes_back_from_its_file(found: UnitMetrics, tmp_path: Path) -> None:
    write_table(found.table, tmp_path / "metrics.parquet")

    pd.testing.assert_frame_equal(read_table(tmp_path / "metrics.parquet"), found.table)


def test_planted_violations_are_counted_in_percent_of_the_intervals(
    short: tuple[BaseRecording, BaseSorting], tmp_path: Path
) -> None:
    recording, _ = short
    # 100 intervals of 50 ms, of which 10 are cut in two, 1 ms before their end.
    regular = np.arange(1000, 151001, 1500)
    spikes = np.sort(np.concatenate([regular, regular[10:20] - 30]))
    silent = np.array([], dtype="int64")
    sorting = NumpySorting.from_unit_dict([{"1": spikes, "2": silent, "3": spikes[:1]}], 30000.0)
    analyzer = make_analyzer(sorting, recording, tmp_path / "analyzer")
    complete_analyzer(analyzer, job_kwargs=JOB_KWARGS)

    table = compute(analyzer, MetricsConfig(skip=("synchrony",))).table

    assert table.at["1", "isi_violations_percent"] == pytest.approx(100 * 10 / 110)
    assert table.at["1", "presence_ratio"] == 0.6
    assert table.at["2", "num_spikes"] == 0
    assert table.at["2", "firing_rate"] == 0
    assert table.loc["2"].drop(["num_spikes", "firing_rate"]).isna().all()
    assert table.at["3", "num_spikes"] == 1
    assert table.loc["3", ["isi_violations_percent", "waveform_deviation"]].isna().all()
    assert table.loc[["1", "3"], "spread"].notna().all()


def test_a_missing_extension_loses_only_the_metrics_that_need_it_and_is_named(
    found: UnitMetrics, analyzer_with: Callable[..., SortingAnalyzer]
) -> None:
    few = compute(analyzer_with(without=("spike_locations", "spike_amplitudes", "unit_locations")))

    by_location = {"drift", "unit_location"}
    by_amplitude = {"amplitude_cv", "amplitude_cutoff", "amplitude_median", "noise_cutoff", "sd_ratio"}
    assert set(few.failed) == by_location | by_amplitude
    assert few.failed["drift"] == "It needs spike_locations, which could not be computed."
    assert all("spike_amplitudes" in few.failed[name] for name in by_amplitude)
    kept = [name for name in NAMES if few.table[name].notna().any() and name not in OF_COMPONENTS]
    pd.testing.assert_frame_equal(few.table[kept], found.table[kept])
    assert few.table[["x_um", "amplitude_median"]].isna().all(axis=None)


def test_without_the_recording_only_what_reads_it_is_missing(analyzer_with: Callable[..., SortingAnalyzer]) -> None:
    assert dict(compute(analyzer_with(recording=False)).failed) == {
        "sd_ratio": "It needs the recording, which is gone."
    }


def test_without_templates_and_waveforms_metrics_of_spikes_are_left(
    analyzer_with: Callable[..., SortingAnalyzer],
) -> None:
    few = compute(analyzer_with(without=("templates", "waveforms")), MetricsConfig(pca=True))

    assert {"snr", "half_width", "spread", "amplitude_uv", "waveform_deviation", "d_prime"} <= set(few.failed)
    assert few.table[["num_spikes", "isi_violations_percent", "amplitude_median"]].notna().all(axis=None)


def test_a_metric_that_raises_loses_itself_alone(
    found: UnitMetrics, analyzer_with: Callable[..., SortingAnalyzer]
) -> None:
    config = MetricsConfig(
        params={
            "amplitude_cv": {"amplitude_extension": "heights"},
            "waveform_baseline_flatness": {"baseline_window_ms": 3},
        }
    )

    most = compute(analyzer_with(), config)

    assert set(most.failed) == {"amplitude_cv", "waveform_baseline_flatness"}
    assert "amplitude_extension" in most.failed["amplitude_cv"]
    others = [name for name in NAMES if name not in OF_COMPONENTS | {"waveform_baseline_flatness"}]
    pd.testing.assert_frame_equal(most.table[others], found.table[others])


def test_skipped_metrics_are_missing_and_chosen_parameters_are_used(
    analyzer_with: Callable[..., SortingAnalyzer],
) -> None:
    config = MetricsConfig(skip=("synchrony", "drift"), params={"isi_violation": {"isi_threshold_ms": 40}})

    chosen = compute(analyzer_with(), config)

    assert dict(chosen.failed) == {}
    assert chosen.table[["sync_spike_2", "drift_ptp"]].isna().all(axis=None)
    assert (chosen.table["isi_violations_percent"] > 10).all()


@pytest.mark.parametrize(
    ("config", "meant"),
    [
        (MetricsConfig(skip=("synchronny",)), "synchrony"),
        (MetricsConfig(skip=("drift_ptp",)), "drift"),
        (MetricsConfig(params={"presence": {}}), "presence_ratio"),
        (MetricsConfig(params={"presence_ratio": {"bin_duration": 30}}), "bin_duration_s"),
        (MetricsConfig(params={"num_spikes": {"x": 1}}), "none"),
    ],
)
def test_an_unknown_name_is_refused_with_the_one_that_was_meant(
    config: MetricsConfig, meant: str, analyzer_with: Callable[..., SortingAnalyzer]
) -> None:
    with pytest.raises(ConfigError) as refused:
        compute(analyzer_with(), config)

    assert meant in refused.value.remedy


def test_no_units_give_a_table_without_rows(short: tuple[BaseRecording, BaseSorting], tmp_path: Path) -> None:
    recording, sorting = short
    analyzer = make_analyzer(sorting.select_units([]), recording, tmp_path / "analyzer", sparse=False)

    nothing = compute(analyzer, MetricsConfig(pca=True))

    pd.testing.assert_frame_equal(nothing.table, empty_table(UNIT_METRICS))
    assert dict(nothing.failed) == {}


def test_one_unit_on_one_channel_has_what_one_channel_can_tell(
    short: tuple[BaseRecording, BaseSorting], tmp_path: Path
) -> None:
    recording, sorting = short
    channel = sorting.get_property("main_channel_id")[:1]
    analyzer = make_analyzer(
        sorting.select_units(sorting.unit_ids[:1]), recording.select_channels(channel), tmp_path / "analyzer"
    )
    complete_analyzer(analyzer, job_kwargs=JOB_KWARGS)

    one = compute(analyzer)

    assert set(one.failed) == {"velocity_fits", "exp_decay", "spread"}
    assert one.table["snr"].iloc[0] > 10
    assert one.table["primary_channel"].tolist() == [str(channel[0])]


def test_without_positions_only_what_needs_them_is_missing(
    found: UnitMetrics, short: tuple[BaseRecording, BaseSorting], tmp_path: Path
) -> None:
    recording, sorting = short
    analyzer = make_analyzer(sorting, without_probe(recording), tmp_path / "analyzer", sparse=False)
    complete_analyzer(analyzer, job_kwargs=JOB_KWARGS)

    placeless = compute(analyzer)

    assert set(placeless.failed) == {"drift", "unit_location", "velocity_fits", "exp_decay", "spread"}
    assert all("The channels have no positions." in reason for reason in placeless.failed.values())
    same = ["amplitude_uv", "waveform_deviation", "trough_half_width", "primary_channel"]
    pd.testing.assert_frame_equal(placeless.table[same], found.table[same])
    assert analyzer.get_probegroup() is None
