"""A person's work in Phy comes back as it was saved, or is refused."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import spikeinterface.core as si
from spikeinterface.exporters import export_to_phy

from sort_assets.curation.history import UnitId, plain_ids, restructure
from sort_assets.curation.manual import ManualCuration, manual_decisions
from sort_assets.curation.phy import from_phy_folder
from sort_assets.curation.phy_files import GROUPS
from sort_assets.curation.phy_note import NOTE_FILE, changes, note_export, note_import
from sort_assets.errors import CurationError
from sort_assets_tests.curation.conftest import DUPLICATE, Planted


def phy_saves(folder: Path, clusters: np.ndarray, groups: dict[int, str]) -> None:
    """Write what Phy 2.1.0 writes when somebody saves (its `on_save_clustering`, with phylib 2.7.1).

    Clusters in one dimension, groups of the clusters that have one, and a table of everything that Phy shows.
    """
    np.save(folder / "spike_clusters.npy", clusters.astype(np.int32))
    with (folder / "cluster_group.tsv").open("w", newline="") as file:
        rows = csv.writer(file, delimiter="\t")
        rows.writerow(["cluster_id", "group"])
        rows.writerows(sorted(groups.items()))
    with (folder / "cluster_info.tsv").open("w", newline="") as file:
        rows = csv.writer(file, delimiter="\t")
        rows.writerow(["cluster_id", "amp", "group", "n_spikes"])
        for cluster, count in zip(*np.unique(clusters, return_counts=True), strict=True):
            rows.writerow([cluster, 12.345678, groups.get(int(cluster)), count])
    (folder / ".phy").mkdir(exist_ok=True)
    (folder / ".phy" / "spikes_per_cluster.pkl").write_bytes(b"\x80cache")


def plain_folder(sorting: si.BaseSorting, folder: Path) -> Path:
    """The arrays of an export to Phy that say which spike is whose."""
    folder.mkdir()
    spikes = sorting.to_spike_vector()
    np.save(folder / "spike_times.npy", spikes["sample_index"][:, None])
    np.save(folder / "spike_templates.npy", spikes["unit_index"][:, None])
    np.save(folder / "spike_clusters.npy", spikes["unit_index"][:, None])
    return folder


def curated(sorting: si.BaseSorting, manual: ManualCuration) -> si.BaseSorting:
    for step in manual.steps:
        sorting = restructure(sorting, step.curation, censor_ms=step.censor_ms)
    return sorting


def trains_of(sorting: si.BaseSorting) -> set[tuple[int, ...]]:
    return {tuple(sorting.get_unit_spike_train(unit).tolist()) for unit in sorting.unit_ids}


@pytest.fixture
def exported(planted: Planted, tmp_path: Path) -> Path:
    """A folder that SpikeInterface exported, with our note."""
    folder = tmp_path / "phy"
    export_to_phy(
        planted.analyzer,
        folder,
        compute_pc_features=False,
        copy_binary=False,
        verbose=False,
        n_jobs=1,
        progress_bar=False,
    )
    note_export(folder, recording="mouse/day1", sorting_version="20260101-1", data_version="abc")
    return folder


def test_an_export_that_nobody_touched_changes_nothing(planted: Planted, exported: Path) -> None:
    found = changes(exported)
    manual = from_phy_folder(exported, planted.analyzer.sorting)

    assert (found.changed, found.opened, found.pending) == (False, False, False)
    assert plain_ids(curated(planted.analyzer.sorting, manual)) == plain_ids(planted.analyzer.sorting)
    assert manual_decisions(manual) == {}
    assert manual.data_version == "abc"


def test_merges_splits_and_groups_come_back_as_phy_saved_them(planted: Planted, exported: Path) -> None:
    sorting = planted.analyzer.sorting
    ids = plain_ids(sorting)
    clusters = np.load(exported / "spike_clusters.npy").reshape(-1)
    times = np.load(exported / "spike_times.npy").reshape(-1)
    clusters[np.isin(clusters, [0, 9])] = 12
    of_three = np.flatnonzero(clusters == 3)
    clusters[of_three[:100]], clusters[of_three[100:]] = 13, 14
    groups = {1: "good", 8: "noise", 12: "good", 13: "mua", 5: "unsorted"}

    phy_saves(exported, clusters, groups)
    manual = from_phy_folder(exported, sorting, user="anna")

    result = curated(sorting, manual)
    assert [step.title for step in manual.steps] == ["Splits in Phy", "Merges in Phy", "Groups in Phy"]
    assert len(result.unit_ids) == len(ids)
    for cluster in np.unique(clusters):  # unit 9 has spikes of unit 0 once more
        assert tuple(np.unique(times[clusters == cluster]).tolist()) in trains_of(result)
    first, second, merged = [each for each in plain_ids(result) if each not in ids]
    assert len(result.get_unit_spike_train(first)) == 100
    words = manual_decisions(manual)
    assert {unit: word.label for unit, word in words.items()} == {
        ids[1]: "good",
        ids[8]: "noise",
        merged: "good",
        first: "mua",
        second: "",
    }
    assert words[merged].made == f"Merged of {ids[0]}, {ids[9]} by anna"


def test_groups_that_the_export_showed_are_nobodys_word(planted: Planted, exported: Path) -> None:
    clusters = np.load(exported / "spike_clusters.npy").reshape(-1)
    shown = {0: "good", 1: "good", 2: "good", 3: "noise", 4: "noise"}
    phy_saves(exported, clusters, shown)
    note_export(exported, recording="mouse/day1", sorting_version="20260101-1", data_version="abc")

    untouched = manual_decisions(from_phy_folder(exported, planted.analyzer.sorting))
    clusters[clusters == 4] = 12
    phy_saves(exported, clusters, {0: "good", 1: "mua", 3: "noise", 5: "noise", 12: "noise"})
    words = manual_decisions(from_phy_folder(exported, planted.analyzer.sorting))

    assert untouched == {}
    assert {unit: word.labels["quality"] for unit, word in words.items()} == {
        "1": ["mua"],
        "2": ["unsorted"],
        "4": ["noise"],
        "5": ["noise"],
    }
    assert words["2"].label == ""


def test_what_was_saved_is_pending_until_it_is_imported(exported: Path) -> None:
    clusters = np.load(exported / "spike_clusters.npy").reshape(-1)
    clusters[clusters == 0] = 12
    phy_saves(exported, clusters, {12: "good"})

    before = changes(exported)
    note_import(exported)
    after = changes(exported)
    phy_saves(exported, clusters, {12: "noise"})
    later = changes(exported)

    assert (before.pending, before.opened) == (True, True)
    assert before.files == ("cluster_group.tsv", "cluster_info.tsv", "spike_clusters.npy")
    assert (after.changed, after.imported, after.pending) == (True, True, False)
    assert later.pending
    assert later.note.recording == "mouse/day1"


@pytest.mark.parametrize("name", [int, str, "unit_{}".format], ids=["int", "digits", "text"])
@pytest.mark.parametrize("seed", range(5))
def test_any_reassignment_of_spikes_is_reproduced(name: Callable[[int], UnitId], seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    trains = {name(unit): np.sort(rng.integers(0, 300, 30)) for unit in range(6)} | {name(6): np.array([], dtype=int)}
    sorting = si.NumpySorting.from_unit_dict([trains], 1000.0)
    folder = plain_folder(sorting, tmp_path / "phy")
    clusters = np.load(folder / "spike_clusters.npy").reshape(-1)
    moved = rng.choice(len(clusters), 25, replace=False)
    clusters[moved] = rng.integers(0, 9, 25)
    clusters[clusters == 5] = 4
    phy_saves(folder, clusters, {})

    result = curated(sorting, from_phy_folder(folder, sorting))

    times = np.load(folder / "spike_times.npy").reshape(-1)
    expected = {tuple(np.sort(times[clusters == cluster]).tolist()) for cluster in np.unique(clusters)}
    assert trains_of(result) == expected | {()}
    assert len(result.unit_ids) == len(np.unique(clusters)) + 1


def test_groups_are_read_from_the_table_of_clusters_where_they_have_no_file(planted: Planted, exported: Path) -> None:
    clusters = np.load(exported / "spike_clusters.npy").reshape(-1)
    phy_saves(exported, clusters, {2: "noise"})
    (exported / "cluster_group.tsv").unlink()

    words = manual_decisions(from_phy_folder(exported, planted.analyzer.sorting))

    assert [(unit, word.keeps) for unit, word in words.items()] == [("2", False)]


def test_a_folder_of_another_sorting_is_refused(planted: Planted, exported: Path) -> None:
    sorting = planted.analyzer.sorting
    fewer = sorting.select_units(sorting.unit_ids[1:])
    shifted = si.NumpySorting.from_unit_dict(
        [{unit: sorting.get_unit_spike_train(unit) + 1 for unit in sorting.unit_ids}], sorting.sampling_frequency
    )

    for other, said in ((fewer, "other spikes than this sorting"), (shifted, "at other times")):
        with pytest.raises(CurationError, match=said):
            from_phy_folder(exported, other)


def break_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def pickled(path: Path) -> None:
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)


def shorter(path: Path) -> None:
    np.save(path, np.load(path)[:-5])


def negative(path: Path) -> None:
    np.save(path, np.load(path) - 1)


def fractions(path: Path) -> None:
    np.save(path, np.load(path) + 0.5)


@pytest.mark.parametrize("damage", [break_off, pickled, shorter, negative, fractions, Path.unlink, Path.touch])
def test_damaged_clusters_are_refused(planted: Planted, exported: Path, damage: Callable[[Path], None]) -> None:
    path = exported / "spike_clusters.npy"
    if damage is Path.touch:
        path.write_bytes(b"")
    else:
        damage(path)

    with pytest.raises(CurationError, match=r"spike_clusters\.npy"):
        from_phy_folder(exported, planted.analyzer.sorting)


@pytest.mark.parametrize(
    "text",
    [
        "cluster_id\tgroup\r\nfour\tgood\r\n",
        "cluster_id\tgroup\r\n1\tgood\r\n1\tnoise\r\n",
        "",
        "something\r\nelse",
        "cluster_id\tgroup\r\n1\tgood\r\n2",
        "cluster_id\tgr\x00oup\r\n1\tgood\r\n",
    ],
)
def test_a_damaged_table_is_refused_where_no_other_has_the_groups(planted: Planted, exported: Path, text: str) -> None:
    (exported / GROUPS).write_text(text)

    with pytest.raises(CurationError, match=GROUPS) as refused:
        from_phy_folder(exported, planted.analyzer.sorting)
    assert "move it out of the folder" in refused.value.remedy

    clusters = np.load(exported / "spike_clusters.npy").reshape(-1)
    phy_saves(exported, clusters, {2: "noise"})
    (exported / GROUPS).write_text(text)
    manual = from_phy_folder(exported, planted.analyzer.sorting)

    assert [(unit, word.label) for unit, word in manual_decisions(manual).items()] == [("2", "noise")]
    assert manual.notes[0].endswith("The groups are those of cluster_info.tsv.")


@pytest.mark.parametrize(
    "table",
    [
        "cluster_id\tgroup\n1\tgood\n\tnoise\n5\t\n",
        "cluster_id\tgroup\n\n1\tgood\n\t\n",
        "ch\tcluster_id\tnotes\tgroup\n0\t1\t\tgood\n7\t\t\tmua\n3\t2\tlook again\t\n",
        "\ufeffcluster_id,group\r\n1.0,Good\r\n,\r\n",
        "id\tgroup\n1\tgood",
        "cluster_id\tgroup\n1\tgood\n2\n3\tunsorted\n",
        "cluster_id\tgroup\n1\tgood\n99\tnoise\n",
        'cluster_id\tnotes\tgroup\n0\t"an open quotation mark\t\n1\t5" deep\tgood\n',
        "\n\t\ncluster_id\tgroup\n1\tgood\n",
        "cluster_id\tgroup\n1\t\n1\tgood\n1\tnan\n",
        "cluster_id\tgroup\n1\tgood\nnan\t\n",
        "cluster_id\tgroup\n1\tgood\nTotal\t12\n",
        'cluster_id\tnotes\tgroup\n0\t"two\nlines"\t\n1\t\tgood\n',
        "cluster_id\tnotes\tgroup\n1\t20 µm\tgood\n".encode("latin-1"),
        "cluster_id\tgroup\r\n1\tgood\r\n".encode("utf-16"),
    ],
    ids=[
        *("blank id", "blank rows", "other columns", "spreadsheet", "old Phy", "short row", "cluster that is gone"),
        *("quotation marks", "blank first lines", "blank twins", "row of nan", "row of totals"),
        *("lines in a cell", "Latin-1", "UTF-16"),
    ],
)
def test_only_what_is_needed_of_a_table_must_be_whole(planted: Planted, exported: Path, table: str | bytes) -> None:
    (exported / GROUPS).write_bytes(table if isinstance(table, bytes) else table.encode())

    manual = from_phy_folder(exported, planted.analyzer.sorting)

    assert {unit: word.label for unit, word in manual_decisions(manual).items()} == {"1": "good"}


@pytest.mark.parametrize("name", ["cluster_info.tsv", "cluster_info.csv", "cluster_group.csv", "cluster_notes.tsv"])
@pytest.mark.parametrize("text", ["", "\x00\x01", "cluster_id,group\n", "cluster_id\tgroup\n0\t\n\tgood\n"])
def test_a_table_beside_the_one_with_the_groups_does_not_matter(
    planted: Planted, exported: Path, name: str, text: str
) -> None:
    (exported / GROUPS).write_text("cluster_id\tgroup\n1\tmua\n")
    (exported / name).write_text(text)

    manual = from_phy_folder(exported, planted.analyzer.sorting)

    assert {unit: word.label for unit, word in manual_decisions(manual).items()} == {"1": "mua"}
    assert [note[:22] for note in manual.notes] == ["Clusters without a row"]


def test_rows_that_were_left_out_are_told(planted: Planted, exported: Path) -> None:
    (exported / GROUPS).write_text("cluster_id\tgroup\n1\tmua\n\tgood\n99\tnoise\n")

    notes = from_phy_folder(exported, planted.analyzer.sorting).notes

    assert [
        "groups of clusters without spikes, which were left out: 99" in notes[0],
        "rows without a cluster (1)" in notes[1],
    ] == [
        True,
        True,
    ]


@pytest.fixture
def labelled(planted: Planted, exported: Path) -> Path:
    """A folder whose export showed three labels, and which nobody opened."""
    (exported / GROUPS).write_text("cluster_id\tgroup\n0\tgood\n1\tgood\n2\tnoise\n")
    note_export(exported, recording="mouse/day1", sorting_version="20260101-1", data_version="abc")
    return exported


def move_out(path: Path) -> None:
    path.rename(path.with_name("moved.txt"))


def cut_after_a_row(path: Path) -> None:
    path.write_text("cluster_id\tgroup\n0\tgood\n")


def cut_after_the_header(path: Path) -> None:
    path.write_text("cluster_id\tgroup\n")


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (move_out, "The folder has no table of groups (cluster_group.tsv): all clusters keep the labels"),
        (cut_after_a_row, "Clusters without a row in cluster_group.tsv keep the labels that they had, if any: 1, 2, "),
        (cut_after_the_header, "Clusters without a row in cluster_group.tsv keep the labels that they had, if any: 0,"),
    ],
)
def test_a_table_that_is_missing_or_cut_takes_no_label_back(
    planted: Planted, labelled: Path, loss: Callable[[Path], None], said: str
) -> None:
    loss(labelled / GROUPS)

    manual = from_phy_folder(labelled, planted.analyzer.sorting)

    assert manual_decisions(manual) == {}
    assert [note.startswith(said) for note in manual.notes] == [True]


def test_only_a_row_that_says_so_takes_a_label_back(planted: Planted, labelled: Path) -> None:
    (labelled / GROUPS).write_text("cluster_id\tgroup\n0\tunsorted\n1\t\n")

    words = manual_decisions(from_phy_folder(labelled, planted.analyzer.sorting))

    assert {unit: word.labels["quality"] for unit, word in words.items()} == {"0": ["unsorted"], "1": ["unsorted"]}


def test_what_a_table_lacks_is_read_from_the_next_one(planted: Planted, labelled: Path) -> None:
    cut_after_a_row(labelled / GROUPS)
    (labelled / "cluster_info.tsv").write_text("cluster_id\tgroup\n0\tmua\n1\tmua\n2\t\n")

    manual = from_phy_folder(labelled, planted.analyzer.sorting)

    words = manual_decisions(manual)
    assert {unit: word.labels["quality"] for unit, word in words.items()} == {"1": ["mua"], "2": ["unsorted"]}
    assert manual.notes[0] == "Clusters that cluster_group.tsv lacks have the groups of cluster_info.tsv: 1."


@pytest.mark.parametrize(
    ("last", "labels", "said"),
    [
        ("noi", {}, "in the cell 'noi'. It seems to be cut, so that its last row was left out."),
        ("", {}, "in a blank cell. It seems to be cut, so that its last row was left out."),
        ("artif", {"2": "artif"}, "in the cell 'artif'. Look whether that is the whole label."),
    ],
)
def test_a_last_cell_that_may_be_cut_is_told(
    planted: Planted, labelled: Path, last: str, labels: dict[str, str], said: str
) -> None:
    (labelled / GROUPS).write_text(f"cluster_id\tgroup\n0\tgood\n1\tgood\n2\t{last}")

    manual = from_phy_folder(labelled, planted.analyzer.sorting)

    assert {unit: word.labels["quality"][0] for unit, word in manual_decisions(manual).items()} == labels
    assert manual.notes[0] == f"cluster_group.tsv ends without a line break, {said}"


def test_a_merge_in_phy_counts_spikes_once_that_both_clusters_had(planted: Planted, exported: Path) -> None:
    sorting = planted.analyzer.sorting
    first, second = (plain_ids(sorting).index(unit) for unit in (planted.duplicated, DUPLICATE))
    clusters = np.load(exported / "spike_clusters.npy").reshape(-1)
    clusters[np.isin(clusters, [first, second])] = 12
    phy_saves(exported, clusters, {12: "good"})

    result = curated(sorting, from_phy_folder(exported, sorting))

    assert np.array_equal(
        result.get_unit_spike_train(result.unit_ids[-1]), sorting.get_unit_spike_train(planted.duplicated)
    )


def test_labels_outlive_a_crash_that_emptied_the_clusters(planted: Planted, exported: Path) -> None:
    clusters = np.load(exported / "spike_clusters.npy").reshape(-1)
    clusters[np.isin(clusters, [0, 4])] = 12
    phy_saves(exported, clusters, {2: "mua", 12: "good"})
    (exported / "spike_clusters.npy").write_bytes(b"")

    with pytest.raises(CurationError) as refused:
        from_phy_folder(exported, planted.analyzer.sorting)
    assert "export the units again" not in refused.value.remedy
    assert "copy spike_templates.npy onto spike_clusters.npy in the copy" in refused.value.remedy
    copy = shutil.copytree(exported, exported.with_name("copy"))
    shutil.copyfile(copy / "spike_templates.npy", copy / "spike_clusters.npy")
    manual = from_phy_folder(copy, planted.analyzer.sorting)

    assert {unit: word.label for unit, word in manual_decisions(manual).items()} == {"2": "mua"}
    assert "clusters without spikes, which were left out: 12" in manual.notes[0]


def test_a_folder_without_our_note_is_read_and_can_not_be_watched(planted: Planted, exported: Path) -> None:
    (exported / NOTE_FILE).unlink()

    assert from_phy_folder(exported, planted.analyzer.sorting).data_version == ""
    with pytest.raises(CurationError, match="was not exported by sort_assets"):
        changes(exported)
    (exported / NOTE_FILE).write_text('{"recording": ')
    with pytest.raises(CurationError, match=NOTE_FILE):
        changes(exported)


def test_clusters_in_a_row_as_matlab_has_them_are_read(tmp_path: Path) -> None:
    sorting = si.NumpySorting.from_unit_dict([{0: np.arange(10) * 100, 1: np.arange(10) * 100 + 5}], 1000.0)
    folder = plain_folder(sorting, tmp_path / "phy")
    np.save(folder / "spike_clusters.npy", np.full((1, 20), 7))

    assert len(curated(sorting, from_phy_folder(folder, sorting)).unit_ids) == 1
