"""A sort beside a recording's own sorting, on a device of its own: of other samples, or with other parameters."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from sort_assets.errors import MissedSpikesError
from sort_assets.platform.pipeline.materialization import StagedAsset
from sort_assets.platform.pipeline.sort_gpu import gpu_bytes_needed, gpus_of_last_failure
from sort_assets.platform.pipeline.sort_memory_profile import find_profile, save_profile, sort_shape

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording, BaseSorting


def sort_on_device(
    asset: StagedAsset, recording: "BaseRecording", *, raw_path: Path, dat_path: Path | None, folder: Path
) -> "tuple[BaseSorting, str]":
    """Sort with the asset's backend, under its watchdogs, while a device is leased.

    Parameters
    ----------
    asset : StagedAsset
        In whose pool of Dagster, and with whose attempt's settings, the sort runs.
    recording : BaseRecording
        What is sorted.
    raw_path : Path
        The original file, for metadata.
    dat_path : Path or None
        The `.dat` of `recording`; None for a backend that writes none.
    folder : Path
        Receives the sorter's own files; it does not exist yet.

    Returns
    -------
    sorting : BaseSorting
        Without units where the sorter missed all spikes.
    device : str
        The name of the device.

    Raises
    ------
    SortAssetsError
        As `SorterBackend.sort`, and what waiting for a device raises.
    """
    from spikeinterface.core import NumpySorting

    from sort_assets.platform.execution.leases import CPU
    from sort_assets.platform.execution.sort_device import sort_device
    from sort_assets.platform.pipeline.progress import StepObserver

    log, what = asset.context.log, f"{asset.staging.asset} of {asset.staging.recording}, {asset.backend.name}"
    observer = StepObserver(log.info, log.warning, what)
    asset.backend.observer = observer
    uses_gpu, avoid = asset.backend.takes_gpu, gpus_of_last_failure(asset.attempt)
    with asset.backend.started_ahead(1, [dat_path] if dat_path else []), ExitStack() as device:
        asset.backend.look_ahead(recording, raw_path)
        with asset.meter.waiting():
            lease, doubts = device.enter_context(
                sort_device(
                    asset.config,
                    uses_gpu=uses_gpu,
                    avoid=avoid,
                    needed_bytes=gpu_bytes_needed(asset.attempt, asset.backend, [recording]),
                    log=log.info,
                )
            )
        if lease.device != CPU:
            asset.meter.gpu_taken(lease.label)
            device.callback(asset.meter.gpu_given_back)
        observer.checked(doubts)
        shape = sort_shape(asset.backend.name, lease.name, [recording])
        asset.hold(lease if uses_gpu else None, find_profile(asset.attempt, shape))
        asset.backend.gpu_parts = lease.parts
        asset.backend.device_is_free = device.close
        log.info(f"Sorting {what} on {lease.label}.")
        try:
            found = asset.backend.sort(recording, raw_path, dat_path, folder)
        except MissedSpikesError as error:
            log.error(str(error))
            found = NumpySorting.from_unit_dict([{}], recording.sampling_frequency)
    save_profile(asset.attempt, shape)
    return found, lease.name
