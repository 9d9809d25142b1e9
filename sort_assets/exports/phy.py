"""Units as a folder that Phy opens, by SpikeInterface's `export_to_phy`, for delivery and for manual curation.

What SpikeInterface (0.105.3) leaves to be done: it numbers clusters wrongly when a unit without spikes stands among
others; it can't read text ids back; it points to the `.dat` only where the recording is that very file, and takes the
file's channels to be those of the recording; it needs channel positions, and at least one unit; every label is
"unsorted"; ids and groups that are Python objects become pickles.
"""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sort_assets.curation.history import UnitId, curation_of, new_unit_ids
from sort_assets.curation.history import plain_ids as plain_unit_ids
from sort_assets.errors import StoreError
from sort_assets.exports.arrays import plain_ids
from sort_assets.exports.plain_table import plain_columns
from sort_assets.recordings.dat_file import DatDescription, read_description
from sort_assets.recordings.probes import planar_probes

if TYPE_CHECKING:
    import pandas as pd
    from spikeinterface.core import SortingAnalyzer

    from sort_assets.recordings.clock import Clock

UNIT_IDS_FILE = "cluster_si_unit_ids.tsv"
"""Which unit each cluster is: `cluster_id`, and `si_unit_id` where ids are numbers or `unit_id` where they are text."""

TIMES_FILE = "spike_times_seconds.npy"
"""The time of each spike of `spike_times.npy` on the recording's clock."""

SUGGESTED_MERGES_FILE = "suggested_merges.json"
"""Suggested merges in SpikeInterface's curation format, for spikeinterface-gui and `import-curation --file`."""
_SUGGESTED = "suggested_merge"
"""The same as a column in Phy: the clusters of a group, as Phy's command `:c` takes them."""

_PHY_GROUPS = ("good", "mua", "noise", "unsorted")
_PHY_OWN = frozenset(
    {"id", "cluster_id", "group", "n_spikes", "fr", "ch", "sh", "depth", "amp", "quality", "channel_group"}
    | {"chan_grp", "ch_group", "si_unit_id", "KSLabel", "num_spikes", "firing_rate"}
)
"""Fields that Phy shows by itself, or to which it or SpikeInterface's reader gives a meaning."""
_ALWAYS_NEEDED = frozenset({"random_spikes", "templates", "template_similarity", "spike_amplitudes", "noise_levels"})
_FOR_WAVEFORMS = frozenset({"waveforms", "principal_components"})


@dataclass(frozen=True)
class PhyFolder:
    """A folder for Phy.

    Attributes
    ----------
    path : Path
        `phy template-gui params.py` in it opens it.
    unit_ids : tuple of str
        The units in it; the number of a cluster is its place among them.
    without_spikes : tuple of str
        Units that are left out, since Phy knows no cluster without spikes.
    """

    path: Path
    unit_ids: tuple[str, ...]
    without_spikes: tuple[str, ...]


def export_phy_folder(
    analyzer: SortingAnalyzer,
    folder: Path,
    *,
    table: pd.DataFrame | None,
    dat_path: Path | None,
    job_kwargs: Mapping[str, Any],
    clock: Clock | None = None,
    unit_ids: Sequence[Any] | None = None,
    pc_features: bool = False,
    suggested_merges: Sequence[Sequence[Any]] = (),
) -> PhyFolder:
    """Export the units of an analyzer.

    Parameters
    ----------
    analyzer : SortingAnalyzer
        With templates, single segment. Nothing is changed in it.
    folder : Path
        The folder to make; it may exist, if it is empty.
    table : pd.DataFrame or None
        Metrics and decisions, index `unit_id` as text: its columns show in Phy's table of clusters. Without it, and
        without a label, clusters are unsorted.
    dat_path : Path or None
        The `.dat` of `recordings.binary` that holds the recording; Phy reads it where it is. Without it Phy shows the
        waveforms that the analyzer holds.
    job_kwargs : mapping
        SpikeInterface's n_jobs, progress_bar, ….
    clock : Clock or None
        The time of each sample: Phy itself shows sample / rate, so the times are put beside its own.
    unit_ids : sequence or None
        Only these units, in this order; None exports all.
    pc_features : bool
        Compute principal components of all spikes, for Phy's feature view; slow.
    suggested_merges : sequence of sequences
        Groups of units that may be one: a column of Phy's table of clusters, and a file in SpikeInterface's format.

    Raises
    ------
    StoreError
        When something is in the folder already: it may be somebody's work.
    DamagedArtefactError, MissingArtefactError
        When the `.dat` is not what its description says, or not there.
    """
    if folder.exists():
        if any(folder.iterdir()):
            raise StoreError(
                f"'{folder}' is not empty: it may hold a person's work.",
                remedy="Import what was done in it, or move it away, and export again.",
                path=str(folder),
            )
        folder.rmdir()
    dat = None if dat_path is None else read_description(dat_path)
    asked = list(analyzer.unit_ids if unit_ids is None else unit_ids)
    with_spikes = [unit_id for unit_id in asked if len(analyzer.sorting.get_unit_spike_train(unit_id))]
    ids = tuple(str(unit_id) for unit_id in with_spikes)
    needed = _ALWAYS_NEEDED if dat is not None and not pc_features else _ALWAYS_NEEDED | _FOR_WAVEFORMS
    chosen = _plain_copy(analyzer, with_spikes, needed)
    if with_spikes:
        _export(chosen, folder, job_kwargs, add_waveforms=dat is None, pc_features=pc_features)
    else:
        _write_no_units(chosen, folder)
    _write_channels(chosen, folder, dat)
    _write_params(chosen, folder, dat_path, dat)
    if clock is not None:
        _write_times(folder, clock)
    _write_clusters(folder, np.asarray(with_spikes), None if table is None else table.loc[list(ids)])
    _write_suggested_merges(folder, plain_unit_ids(chosen.sorting), suggested_merges)
    left_out = tuple(str(unit_id) for unit_id in asked if str(unit_id) not in ids)
    return PhyFolder(folder, ids, left_out)


def phy_groups(table: pd.DataFrame) -> list[str]:
    """Phy's label of each unit of a table of decisions: good, mua, noise or unsorted.

    A label that Phy knows stays. Otherwise kept units are good; rejected ones are mua where Bombcell says so, else
    noise; and what was not decided is unsorted.
    """
    columns = plain_columns(table)
    missing = [""] * len(table)
    groups = []
    for label, kept, bombcell in zip(
        columns.get("label", missing),
        columns.get("kept", missing),
        columns.get("bombcell_label", missing),
        strict=True,
    ):
        if label in _PHY_GROUPS:
            groups.append(str(label))
        elif str(kept) in ("", "-1"):
            groups.append("unsorted")
        elif kept:
            groups.append("good")
        else:
            groups.append("mua" if bombcell == "mua" else "noise")
    return groups


def _plain_copy(analyzer: SortingAnalyzer, unit_ids: Sequence[Any], needed: frozenset[str]) -> SortingAnalyzer:
    """An analyzer in memory of its own with the units, and channels in a plane: in one column if no place is known."""
    from probeinterface import ProbeGroup, generate_linear_probe

    # Waveforms of many units take gigabytes, and `select_units` copies every extension that it sees.
    view = copy.copy(analyzer)
    view.extensions = {name: one for name, one in analyzer.extensions.items() if name in needed}
    chosen = view.select_units(list(unit_ids), format="memory")
    probegroup = chosen.rec_attributes["probegroup"]
    if probegroup is None:
        probe = generate_linear_probe(analyzer.get_num_channels())
        probe.set_device_channel_indices(np.arange(analyzer.get_num_channels()))
        probegroup = ProbeGroup()
        probegroup.add_probe(probe)
    else:
        # Of recordings that were sorted when a probe in space stayed in space: Phy reads two coordinates.
        probegroup, _ = planar_probes(probegroup)
    chosen.rec_attributes = {**chosen.rec_attributes, "probegroup": probegroup}
    return chosen


def _export(
    analyzer: SortingAnalyzer,
    folder: Path,
    job_kwargs: Mapping[str, Any],
    *,
    add_waveforms: bool,
    pc_features: bool,
) -> None:
    from spikeinterface.exporters import export_to_phy

    can_compute = analyzer.has_recording() or analyzer.has_temporary_recording()
    with warnings.catch_warnings():
        # Many channels without sparsity: the analyzer is dense only where it was configured to be.
        warnings.filterwarnings("ignore", message="Exporting to Phy with many channels")
        export_to_phy(
            analyzer,
            folder,
            compute_pc_features=pc_features and can_compute,
            compute_amplitudes=can_compute or analyzer.has_extension("spike_amplitudes"),
            add_waveforms=add_waveforms and analyzer.has_extension("waveforms"),
            copy_binary=False,
            add_quality_metrics=False,
            add_template_metrics=False,
            verbose=False,
            **job_kwargs,
        )


def _write_no_units(analyzer: SortingAnalyzer, folder: Path) -> None:
    """What SpikeInterface's reader needs of a sorting without units; Phy itself opens none."""
    folder.mkdir(parents=True)
    for name in ("spike_times", "spike_templates", "spike_clusters"):
        np.save(folder / f"{name}.npy", np.zeros((0, 1), dtype="int64"))
    np.save(folder / "templates.npy", np.zeros((0, 1, analyzer.get_num_channels())))
    np.save(folder / "channel_positions.npy", analyzer.get_channel_locations().astype("float32"))


def _write_channels(analyzer: SortingAnalyzer, folder: Path, dat: DatDescription | None) -> None:
    """Which column of the `.dat` each channel is, its id, and the number of its shank or tetrode."""
    channel_ids = np.asarray(analyzer.channel_ids)
    columns = np.arange(len(channel_ids), dtype="int32")
    if dat is not None:
        column_of = {str(channel_id): column for column, channel_id in enumerate(dat.channel_ids)}
        columns = np.asarray([column_of[str(channel_id)] for channel_id in channel_ids], dtype="int32")
    groups = analyzer.rec_attributes["properties"].get("group")
    shanks = np.zeros(len(channel_ids), dtype="int32")
    if groups is not None:
        shanks = np.unique(np.asarray(groups).astype(str), return_inverse=True)[1].astype("int32")
    np.save(folder / "channel_map.npy", columns)
    np.save(folder / "channel_map_si.npy", plain_ids(channel_ids))
    np.save(folder / "channel_groups.npy", shanks)
    np.save(folder / "channel_shanks.npy", shanks)


def _write_params(analyzer: SortingAnalyzer, folder: Path, dat_path: Path | None, dat: DatDescription | None) -> None:
    if dat_path is None or dat is None:
        # Phy's words for "no raw data".
        raw, num_channels, dtype = "", analyzer.get_num_channels(), np.dtype(analyzer.get_dtype()).name
    else:
        raw, num_channels, dtype = str(dat_path.resolve()), len(dat.channel_ids), dat.dtype
    lines = {
        "dat_path": raw,
        "n_channels_dat": num_channels,
        "dtype": dtype,
        "offset": 0,
        "sample_rate": float(analyzer.sampling_frequency),
        "hp_filtered": bool(analyzer.is_filtered()),
    }
    text = "".join(f"{name} = {value!r}\n" for name, value in lines.items())
    if dat is not None:
        text += (
            f"# One count of the .dat is {dat.gain_to_uv!r} microvolts; templates and amplitudes are in microvolts.\n"
        )
    (folder / "params.py").write_text(text, encoding="utf-8")


def _write_times(folder: Path, clock: Clock) -> None:
    """When each spike of `spike_times.npy`, which holds samples, was; in a file that Phy does not take for its own."""
    samples = np.load(folder / "spike_times.npy", allow_pickle=False).reshape(-1)
    np.save(folder / TIMES_FILE, clock.times_s(samples))
    with (folder / "params.py").open("a", encoding="utf-8") as params:
        params.write(
            f"# Phy shows samples divided by sample_rate. {TIMES_FILE} has the time of each spike of spike_times.npy\n"
            f"# in seconds on the clock of the recording ({clock.source}; starts at {clock.start_time_s:.6f} s).\n"
        )


def _write_clusters(folder: Path, unit_ids: np.ndarray, table: pd.DataFrame | None) -> None:
    """The tables of clusters: ids, labels, and a file for each metric and decision."""
    (folder / UNIT_IDS_FILE).unlink(missing_ok=True)
    groups = ["unsorted"] * len(unit_ids) if table is None else phy_groups(table)
    _write_tsv(folder / "cluster_group.tsv", "group", groups)
    if len(unit_ids) == 0:
        return
    if np.issubdtype(unit_ids.dtype, np.integer):
        _write_tsv(folder / UNIT_IDS_FILE, "si_unit_id", unit_ids.tolist())
    else:
        _write_tsv(folder / UNIT_IDS_FILE, "unit_id", [str(unit_id) for unit_id in unit_ids])
    if table is None:
        return
    for name, values in plain_columns(table).items():
        if name not in _PHY_OWN:
            _write_tsv(folder / f"cluster_{name}.tsv", name, _phy_values(values))


def _write_suggested_merges(folder: Path, unit_ids: list[UnitId], groups: Sequence[Sequence[Any]]) -> None:
    cluster_of = {str(unit_id): cluster for cluster, unit_id in enumerate(unit_ids)}
    here = [
        [cluster_of[str(each)] for each in group] for group in groups if all(str(each) in cluster_of for each in group)
    ]
    if not here:
        return
    suggested = [""] * len(unit_ids)
    for group in here:
        for cluster in group:
            suggested[cluster] = " ".join(map(str, group))
    _write_tsv(folder / f"cluster_{_SUGGESTED}.tsv", _SUGGESTED, suggested)
    names = new_unit_ids(unit_ids, len(here), "merge")
    merges = {name: [unit_ids[cluster] for cluster in group] for name, group in zip(names, here, strict=True)}
    text = json.dumps(curation_of(unit_ids, merges=merges), indent=1)
    (folder / SUGGESTED_MERGES_FILE).write_text(text, encoding="utf-8")


def _phy_values(values: np.ndarray) -> list[Any]:
    """Numbers and texts; a missing number is an empty cell, and a truth value 1 or 0."""
    if values.dtype.kind == "f":
        return ["" if np.isnan(value) else float(value) for value in values]
    if values.dtype.kind in "bi":
        return [int(value) for value in values]
    return [str(value) for value in values]


def _write_tsv(path: Path, name: str, values: Sequence[Any]) -> None:
    rows = [f"cluster_id\t{name}"]
    rows += [f"{cluster}\t{' '.join(str(value).split())}" for cluster, value in enumerate(values)]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
