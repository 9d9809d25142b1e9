"""Recordings times assets: what is done, what is not, and how the last run ended."""

from dataclasses import dataclass

import dagster as dg

from sort_assets.automation.jobs import PIPELINE
from sort_assets.errors import StoreError
from sort_assets.partitions import RECORDINGS_PARTITIONS
from sort_assets.storage import Store

_PARTITION_TAG = "dagster/partition"
_RUNS_LOOKED_AT = 5000


@dataclass(frozen=True)
class RecordingStatus:
    """Where a recording stands.

    Attributes
    ----------
    recording : str
        Its key.
    assets : dict
        By asset, whether it was materialized.
    units : int or None
        Units of the current sorting.
    last_run, last_run_status : str or None
        The newest run of this partition.
    """

    recording: str
    assets: dict[str, bool]
    units: int | None
    last_run: str | None
    last_run_status: str | None


def recording_statuses(instance: dg.DagsterInstance, store: Store) -> list[RecordingStatus]:
    """The status of every registered recording, in the order of their keys."""
    done = {asset: instance.get_materialized_partitions(dg.AssetKey(asset)) for asset in PIPELINE}
    last_runs: dict[str, dg.DagsterRun] = {}
    for run in instance.get_runs(limit=_RUNS_LOOKED_AT):
        last_runs.setdefault(run.tags.get(_PARTITION_TAG, ""), run)
    statuses = []
    for key in sorted(instance.get_dynamic_partitions(RECORDINGS_PARTITIONS)):
        last = last_runs.get(key)
        statuses.append(
            RecordingStatus(
                recording=key,
                assets={asset: key in done[asset] for asset in PIPELINE},
                units=_units(store, key),
                last_run=last.run_id if last else None,
                last_run_status=last.status.value if last else None,
            )
        )
    return statuses


def _units(store: Store, recording: str) -> int | None:
    try:
        return int(store.artefact(recording, "sorting").manifest.details["num_units"])
    except StoreError:
        return None
