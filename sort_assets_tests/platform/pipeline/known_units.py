"""Recordings whose sorting is known, in the store of a real home: what comes after the sort needs no sorter then."""

from pathlib import Path

import dagster as dg
import numpy as np
from spikeinterface.core import BaseRecording, BaseSorting, NumpySorting

from sort_assets.platform.store.content_hash import hash_sorting
from sort_assets.platform.store.details import SortingDetails
from sort_assets.platform.store.handles import StoredBinary, StoredSorting
from sort_assets.recordings.clock import recording_clock
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.fixtures.home import Home, cheap

AFTER_THE_SORT = ("waveforms", "unit_metrics", "curated_units", "sorting_report", "spike_data")


def with_planted_units(truth: BaseSorting) -> BaseSorting:
    """The true units as 0, 1, …, and besides 100, noise; 101, unit 0 again; 102, of which there is little."""
    rng = np.random.default_rng(0)
    trains = {index: truth.get_unit_spike_train(unit) for index, unit in enumerate(truth.unit_ids)}
    length = max(int(train.max()) for train in trains.values())
    trains[100] = np.sort(rng.choice(length, 400, replace=False))
    kept = rng.random(len(trains[0])) < 0.9
    trains[101] = trains[0][kept] + 1
    trains[102] = trains[1][:20]
    return NumpySorting.from_unit_dict([trains], truth.sampling_frequency)


def publish_sorting(home: Home, key: str, units: BaseSorting, *, run_id: str = "known") -> None:
    """Make a sorting the current one, as the asset would."""
    binary = StoredBinary(home.roots, key)
    recording = binary.load()
    with home.store.stage(key, "sorting", run_id=run_id) as staging:
        StoredSorting.write(units, staging.path)
        staging.publish(
            data_version=hash_sorting(units),
            config=binary.manifest.config,
            config_sources={},
            inputs={"binary_dat": binary.input_version},
            details=SortingDetails(
                num_units=len(units.unit_ids),
                num_spikes=int(units.to_spike_vector().size),
                duration_s=float(recording.get_duration()),
                start_time_s=float(recording.get_start_time()),
                clock=recording_clock(recording).to_dict(),
                device="CPU",
            ),
        )


def prepare(home: Home, recordings: dict[str, BaseRecording], units: BaseSorting, *, folder: str = "") -> str:
    """Write files, register them (those in a folder as one recording), filter them, and publish their sorting."""
    root = home.roots.recordings / folder
    root.mkdir(parents=True, exist_ok=True)
    paths = [write_nwb(recording, root / name) for name, recording in recordings.items()]
    key = home.register(root if folder else paths[0])
    assert home.materialize(key, "preprocessed_recording", "binary_dat", config=cheap()).success
    publish_sorting(home, key, units)
    return key


def checks_of(home: Home, run_id: str) -> dict[str, tuple[bool, str]]:
    """By name, whether a check of a run passed, and its severity."""
    with home.instance() as instance:
        records = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    found = [record.dagster_event.asset_check_evaluation_data for record in records if record.dagster_event]
    return {check.check_name: (check.passed, check.severity.value) for check in found}


def save_in_phy(folder: Path, *, merged: tuple[int, ...], groups: dict[int, str], merged_is: str = "") -> None:
    """Do what Phy does when a person merges the clusters of some units, labels that and others, and saves."""
    header, *rows = (folder / "cluster_si_unit_ids.tsv").read_text(encoding="utf-8").splitlines()
    clusters_of = {int(unit): int(cluster) for cluster, unit in (row.split("\t") for row in rows)}
    gone = [clusters_of[unit] for unit in merged]
    clusters = np.load(folder / "spike_clusters.npy")
    new = int(clusters.max()) + 1
    clusters[np.isin(clusters, gone)] = new
    np.save(folder / "spike_clusters.npy", clusters)
    header, *rows = (folder / "cluster_group.tsv").read_text(encoding="utf-8").splitlines()
    labels = {int(cluster): label for cluster, label in (row.split("\t") for row in rows)}
    labels |= {clusters_of[unit]: label for unit, label in groups.items()}
    if merged_is:
        labels[new] = merged_is
    lines = [header, *(f"{cluster}\t{label}" for cluster, label in labels.items() if cluster not in gone)]
    (folder / "cluster_group.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
