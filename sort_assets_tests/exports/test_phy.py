"""Folders for Phy, as SpikeInterface reads them, and as Phy's own files are laid out."""

import copy
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from probeinterface import ProbeGroup
from spikeinterface.core import NumpySorting
from spikeinterface.core.core_tools import read_python
from spikeinterface.curation import apply_curation
from spikeinterface.extractors import read_phy

from sort_assets.curation.manual import from_curation_json
from sort_assets.curation.phy import from_phy_folder
from sort_assets.errors import StoreError
from sort_assets.exports.phy import SUGGESTED_MERGES_FILE, export_phy_folder, phy_groups
from sort_assets.recordings.dat_file import read_dat
from sort_assets_tests.exports.conftest import Sorted

JOB_KWARGS = {"n_jobs": 1, "progress_bar": False}


def export(recording: Sorted, folder: Path, **options: object) -> Path:
    given = {"table": recording.table, "dat_path": recording.dat_path, "job_kwargs": JOB_KWARGS} | options
    return export_phy_folder(recording.analyzer, folder, **given).path


def test_spikeinterface_reads_the_spike_trains_that_were_put_in(sorted_units: Sorted, tmp_path: Path) -> None:
    folder = export(sorted_units, tmp_path / "phy")

    sorting = read_phy(folder)
    # The unit without spikes, third of eight, is left out, and shifts no other.
    assert sorting.unit_ids.tolist() == [12, 3, 40, 7, 0, 9, 5]
    for unit_id in sorting.unit_ids:
        np.testing.assert_array_equal(sorting.get_unit_spike_train(unit_id), sorted_units.trains[str(unit_id)])


def test_templates_amplitudes_and_similarity_belong_to_their_cluster(sorted_units: Sorted, tmp_path: Path) -> None:
    analyzer = sorted_units.analyzer

    folder = export(sorted_units, tmp_path / "phy")

    ids = [12, 3, 40, 7, 0, 9, 5]
    templates, channels = np.load(folder / "templates.npy"), np.load(folder / "template_ind.npy")
    assert len(templates) == len(ids)
    for cluster, unit_id in enumerate(ids):
        own = channels[cluster][channels[cluster] >= 0]
        whole = analyzer.get_extension("templates").get_unit_template(unit_id)
        np.testing.assert_allclose(templates[cluster][:, : len(own)], whole[:, own], rtol=1e-6)
    similarity = analyzer.get_extension("template_similarity").get_data()
    kept = analyzer.sorting.ids_to_indices(ids)
    np.testing.assert_allclose(np.load(folder / "similar_templates.npy"), similarity[np.ix_(kept, kept)])
    clusters, amplitudes = np.load(folder / "spike_clusters.npy"), np.load(folder / "amplitudes.npy")
    by_unit = analyzer.get_extension("spike_amplitudes").get_data(outputs="by_unit")[0]
    for cluster, unit_id in enumerate(ids):
        np.testing.assert_array_equal(amplitudes[clusters == cluster], by_unit[unit_id])


def test_params_point_to_the_dat_where_it_is(sorted_units: Sorted, tmp_path: Path) -> None:
    folder = export(sorted_units, tmp_path / "phy")

    params = read_python(folder / "params.py")
    assert params["dat_path"] == str(sorted_units.dat_path)
    assert params["sample_rate"] == 30_000.0
    raw = np.memmap(params["dat_path"], dtype=params["dtype"], mode="r").reshape(-1, params["n_channels_dat"])
    columns = np.load(folder / "channel_map.npy")
    np.testing.assert_array_equal(raw[:, columns], sorted_units.analyzer.recording.get_traces())
    assert not (folder / "recording.dat").exists()


@pytest.mark.parametrize("plane", ["xy", "xz", "yz"])
def test_a_probe_in_space_is_laid_into_the_plane_that_phy_reads(
    plane: str, sorted_units: Sorted, tmp_path: Path
) -> None:
    analyzer = copy.copy(sorted_units.analyzer)
    probes = ProbeGroup()
    probes.add_probe(analyzer.get_probe().to_3d(axes=plane))
    probes.set_global_device_channel_indices(np.arange(16))
    analyzer.rec_attributes = {**analyzer.rec_attributes, "probegroup": probes}

    folder = export(Sorted(analyzer, sorted_units.table, sorted_units.dat_path), tmp_path / "phy")

    positions = np.load(folder / "channel_positions.npy")
    np.testing.assert_array_equal(positions, sorted_units.analyzer.get_channel_locations())


def test_channels_in_another_order_than_in_the_dat_find_their_column(sorted_units: Sorted, tmp_path: Path) -> None:
    whole = read_dat(sorted_units.dat_path)
    chosen = whole.select_channels(["5", "2", "9"])
    from sort_assets_tests.exports.conftest import analyzer_of, table_of

    sorting = NumpySorting.from_unit_dict([{1: sorted_units.trains["12"]}], 30_000.0)
    analyzer = analyzer_of(chosen, sorting)

    folder = export(Sorted(analyzer, table_of(analyzer), sorted_units.dat_path), tmp_path / "phy")

    params = read_python(folder / "params.py")
    assert params["n_channels_dat"] == 16
    assert np.load(folder / "channel_map.npy").tolist() == [5, 2, 9]


def test_clusters_are_labelled_and_show_metrics(sorted_units: Sorted, tmp_path: Path) -> None:
    folder = export(sorted_units, tmp_path / "phy")

    sorting = read_phy(folder)
    assert sorting.get_property("quality").tolist() == ["good", "noise", "good", "good", "good", "good", "good"]
    assert sorting.get_property("snr").tolist() == [4.5, 5.5, 7.5, 8.5, 9.5, 10.5, 11.5]
    reasons = pd.read_csv(folder / "cluster_reason.tsv", sep="\t")
    assert reasons["reason"][1] == "snr 5.5, below 6 µV"


def test_suggested_merges_are_there_for_phy_and_for_spikeinterface(sorted_units: Sorted, tmp_path: Path) -> None:
    folder = export(sorted_units, tmp_path / "phy", suggested_merges=[[3, 40], [12, 7], [9, 999]])

    # Clusters as Phy's command `:c` takes them; a unit that is not exported suggests nothing.
    shown = pd.Series(read_phy(folder).get_property("suggested_merge"))
    assert shown.fillna("").tolist() == ["0 3", "1 2", "1 2", "0 3", "", "", ""]
    curation = json.loads((folder / SUGGESTED_MERGES_FILE).read_text(encoding="utf-8"))
    by_id = sorted_units.analyzer.sorting.select_units(curation["unit_ids"])
    merged = apply_curation(by_id, curation)
    assert merged.unit_ids.tolist() == [0, 9, 5, 41, 42]
    assert set(sorted_units.trains["3"]) | set(sorted_units.trains["40"]) == set(merged.get_unit_spike_train(41))
    read = from_curation_json(folder / SUGGESTED_MERGES_FILE, sorted_units.analyzer.sorting)
    assert [merge["unit_ids"] for merge in read.steps[-1].curation["merges"]] == [[3, 40], [12, 7]]


def test_without_suggested_merges_there_is_neither_column_nor_file(sorted_units: Sorted, tmp_path: Path) -> None:
    folder = export(sorted_units, tmp_path / "phy")

    assert [path.name for path in folder.glob("*suggested*")] == []


def test_text_ids_are_kept_beside_the_clusters(renamed: Sorted, tmp_path: Path) -> None:
    folder = export(renamed, tmp_path / "phy")

    ids = pd.read_csv(folder / "cluster_si_unit_ids.tsv", sep="\t", dtype=str)
    assert ids["unit_id"].tolist() == ["00", "01", "03", "04", "05", "06", "07"]
    sorting = read_phy(folder)
    for cluster, unit_id in enumerate(ids["unit_id"]):
        np.testing.assert_array_equal(sorting.get_unit_spike_train(cluster), renamed.trains[unit_id])


def test_only_the_units_that_are_asked_for(sorted_units: Sorted, tmp_path: Path) -> None:
    folder = export(sorted_units, tmp_path / "phy", unit_ids=[40, 12])

    assert read_phy(folder).unit_ids.tolist() == [40, 12]


def test_what_was_exported_is_imported_again_as_the_same_units(sorted_units: Sorted, tmp_path: Path) -> None:
    folder = export(sorted_units, tmp_path / "phy")

    curation = from_phy_folder(folder, sorted_units.analyzer.sorting)

    assert len(curation.steps) == 1, "Nothing was split or merged."
    labels = {each["unit_id"]: each["labels"]["quality"] for each in curation.steps[0].curation["manual_labels"]}
    assert labels[3] == ["noise"]
    assert labels[40] == ["good"]


def test_without_a_dat_phy_shows_the_waveforms(sorted_units: Sorted, tmp_path: Path) -> None:
    folder = export(sorted_units, tmp_path / "phy", dat_path=None)

    assert read_python(folder / "params.py")["dat_path"] == ""
    spikes = np.load(folder / "_phy_spikes_subset.spikes.npy")
    waveforms = np.load(folder / "_phy_spikes_subset.waveforms.npy")
    assert len(spikes) == len(waveforms) == 7 * 50
    assert read_phy(folder).unit_ids.size == 7


def test_without_a_table_clusters_are_unsorted(sorted_units: Sorted, tmp_path: Path) -> None:
    folder = export(sorted_units, tmp_path / "phy", table=None)

    assert set(read_phy(folder).get_property("quality")) == {"unsorted"}


def test_principal_components_on_request(sorted_units: Sorted, tmp_path: Path) -> None:
    folder = export(sorted_units, tmp_path / "phy", pc_features=True, unit_ids=[12, 3])

    features = np.load(folder / "pc_features.npy")
    assert len(features) == len(np.load(folder / "spike_times.npy"))


def test_nothing_in_the_folder_is_a_pickle(renamed: Sorted, tmp_path: Path) -> None:
    folder = export(renamed, tmp_path / "phy")

    for path in folder.glob("*.npy"):
        np.load(path, allow_pickle=False)


def test_the_analyzer_is_not_changed(sorted_units: Sorted, tmp_path: Path) -> None:
    analyzer = sorted_units.analyzer.copy()
    analyzer.delete_extension("spike_amplitudes")
    before = set(analyzer.extensions)

    export(Sorted(analyzer, sorted_units.table, sorted_units.dat_path), tmp_path / "phy", unit_ids=[12])

    assert set(analyzer.extensions) == before


def test_a_folder_with_something_in_it_is_left_alone(sorted_units: Sorted, tmp_path: Path) -> None:
    folder = tmp_path / "phy"
    folder.mkdir()
    (folder / "cluster_group.tsv").write_text("cluster_id\tgroup\n0\tgood\n")

    with pytest.raises(StoreError, match="may hold a person's work"):
        export(sorted_units, folder)

    assert [path.name for path in folder.iterdir()] == ["cluster_group.tsv"]


def test_an_empty_folder_is_used(sorted_units: Sorted, tmp_path: Path) -> None:
    folder = tmp_path / "phy"
    folder.mkdir()

    export(sorted_units, folder)

    assert (folder / "params.py").is_file()


def test_no_units_make_a_folder_that_spikeinterface_reads(no_units: Sorted, tmp_path: Path) -> None:
    exported = export_phy_folder(
        no_units.analyzer, tmp_path / "phy", table=no_units.table, dat_path=no_units.dat_path, job_kwargs=JOB_KWARGS
    )

    assert exported.unit_ids == ()
    assert len(read_phy(exported.path).unit_ids) == 0


def test_one_unit_on_one_channel_without_a_position(one_channel: Sorted, tmp_path: Path) -> None:
    folder = export(one_channel, tmp_path / "phy")

    np.testing.assert_array_equal(read_phy(folder).get_unit_spike_train(4), one_channel.trains["4"])
    assert np.load(folder / "channel_positions.npy").shape == (1, 2)
    assert one_channel.analyzer.rec_attributes["probegroup"] is None


def test_labels_of_a_person_go_before_what_was_kept() -> None:
    table = pd.DataFrame(
        {
            "label": ["good", "mua", "rejected", "rejected", "duplicate", "special", "x"],
            "kept": pd.array([True, True, False, False, False, True, None], dtype="boolean"),
            "bombcell_label": ["good", "good", "mua", "noise", "good", "mua", "mua"],
        }
    )

    groups = phy_groups(table)

    assert groups == ["good", "mua", "mua", "noise", "noise", "good", "unsorted"]
