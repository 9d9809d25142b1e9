"""Which of Kilosort4's parameters drive its memory in each stage, and the order in which they are reduced.

The shapes of its tensors decide (Kilosort 4.1.7):

- drift correction and detection hold about 2 MB for each universal template and 60000 samples of a batch
  (`spikedetect.template_match`): proportional to `batch_size`;
- clustering holds 1 kB and the features for each spike of one centre, whatever the batch, where we bound it
  (`clustering_memory`, which also takes a centre that a GPU can't hold to the CPU), and 2.6 kB where the installed
  Kilosort is one that we do not know. What gives is fragmentation of the GPU's memory (`clear_cache`), and more centres
  across a wide probe (`x_centers`). Comparing with fewer spikes than by default (`cluster_downsampling`,
  `max_cluster_subset`) saves less than 1 % and loses units of quiet centres, so only more than that is undone;
- matching and merging hold the square of the number of clusters (`template_matching.prepare_matching`), of which there
  are too many when `cluster_downsampling` is far below its default (MouseLand/Kilosort#1027), and clusters times batch;
- the host holds the features of all spikes, `nearest_chans` x `n_pcs` float32 each (`spikedetect.run`).

Thresholds decide what is found, and are never changed here.
"""

from __future__ import annotations

import math

from sort_assets.backends.kilosort4.stages import (
    DETECTION,
    DRIFT,
    FINAL_CLUSTERING,
    FIRST_CLUSTERING,
    MATCHING,
    MERGING,
    PREPROCESSING,
    SAVING,
)
from sort_assets.backends.oom_schedule import MemoryParameter, OomSchedule
from sort_assets.errors import HostOutOfMemoryError, SortAssetsError

SMALLEST_BATCH_S = 0.5
"""The smallest batch that Kilosort's documentation recommends, for very many channels (hardware.rst)."""
_RATE_UNLESS_KNOWN_HZ = 30000.0
_CENTRE_WIDTH_UM = 250.0
"""Kilosort's documentation asks for one x centre per 200 to 300 micrometres (parameters.rst)."""

CLEAR_CACHE = MemoryParameter("sorter.params.clear_cache", default=False, limit=True)
# Kilosort's defaults, for a configuration that asks for more: with 1, over-splitting and memory grow (4.1.0 to 4.1.2).
DEFAULT_SUBSET = (
    MemoryParameter("sorter.params.cluster_downsampling", default=20, limit=20, at_once=True, raised=True),
    MemoryParameter("sorter.params.max_cluster_subset", default=25000, limit=25000, at_once=True),
)
# Half of the default. Detection compares a spike's channel with as many neighbours, so that not all can be spared.
NEAREST_CHANNELS = MemoryParameter("sorter.params.nearest_chans", default=10, limit=5)


def batch_size(sampling_frequency: float = _RATE_UNLESS_KNOWN_HZ) -> MemoryParameter:
    """The batch, down to half a second."""
    return MemoryParameter(
        "sorter.params.batch_size", default=60000, limit=round(SMALLEST_BATCH_S * sampling_frequency)
    )


def oom_schedule(failure: Exception | None) -> OomSchedule:
    """What to change after a failure.

    Parameters
    ----------
    failure : Exception or None
        Classified, with its stage, and among its diagnostics `sampling_frequency`, `probe_width_um` and `device`.
        None, or an unknown stage, means the batch, whose stages come first and last longest.
    """
    stage = failure.stage if isinstance(failure, SortAssetsError) else None
    known = failure.diagnostics if isinstance(failure, SortAssetsError) else {}
    batch = batch_size(float(known.get("sampling_frequency") or _RATE_UNLESS_KNOWN_HZ))
    if isinstance(failure, HostOutOfMemoryError):
        # An array that numpy could not allocate holds all spikes. What was killed on the CPU may as well have been at
        # the work that is the device's elsewhere.
        of_the_device = known.get("device") == "cpu" and known.get("bytes_asked") is None
        return ((NEAREST_CHANNELS,), *(_of_stage(stage, batch, known) if of_the_device else ()))
    return _of_stage(stage, batch, known)


def _of_stage(
    stage: str | None, batch: MemoryParameter, known: dict[str, str | int | float | bool | None]
) -> OomSchedule:
    if stage in (None, PREPROCESSING, DRIFT, DETECTION):
        return ((batch,),)
    if stage in (FIRST_CLUSTERING, FINAL_CLUSTERING):
        centres = math.ceil(float(known.get("probe_width_um") or 0) / _CENTRE_WIDTH_UM)
        across: OomSchedule = ()
        if centres > 1:
            across = ((MemoryParameter("sorter.params.x_centers", None, limit=centres, at_once=True, raised=True),),)
        # On the CPU there is no such cache.
        cache: OomSchedule = () if known.get("device") == "cpu" else ((CLEAR_CACHE,),)
        return (*cache, DEFAULT_SUBSET, *across)
    if stage == MATCHING:
        return (DEFAULT_SUBSET, (batch,))
    if stage == MERGING:
        return (DEFAULT_SUBSET,)
    return ((CLEAR_CACHE,),) if stage == SAVING else ()
