"""An analyzer of the same units on a part of the recording."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sort_assets.errors import RecordingError
from sort_assets.metrics.analyzers import create_analyzer, cut_waveforms
from sort_assets.metrics.extensions import complete_analyzer
from sort_assets.recordings.clock import recording_clock

if TYPE_CHECKING:
    from spikeinterface.core import SortingAnalyzer


def epoch_analyzer(
    analyzer: SortingAnalyzer,
    start_sample: int,
    end_sample: int,
    folder: Path,
    *,
    job_kwargs: Mapping[str, Any],
) -> SortingAnalyzer:
    """Make an analyzer of all units on a part of the recording, as complete as `complete_analyzer` makes it.

    Main channels, sparsity, window and number of waveforms are the given analyzer's; the waveforms are cut out anew,
    from spikes of this part.

    Parameters
    ----------
    analyzer : SortingAnalyzer
        Of the whole recording, in one segment, with waveforms; and with its recording.
    start_sample, end_sample : int
        The part: from the first of these samples until before the second.
    folder : Path
        Where the new analyzer is stored; does not exist yet.
    job_kwargs : Mapping[str, Any]
        How SpikeInterface shares work among workers.

    Returns
    -------
    SortingAnalyzer
        Its samples count from zero at `start_sample`. Units may have no spikes in it.

    Raises
    ------
    RecordingError
        When the analyzer has lost its recording.
    ValueError
        When the part is empty or leaves the recording.
    """
    if not analyzer.has_recording():
        raise RecordingError(
            "The recording is gone, and waveforms of a part of it can't be cut out any more.",
            remedy="Materialize binary_dat again, or decide on the whole recording.",
        )
    num_samples = analyzer.get_num_samples(0)
    if not 0 <= start_sample < end_sample <= num_samples:
        raise ValueError(f"Samples {start_sample} to {end_sample} are no part of the {num_samples} of the recording.")
    spikes = analyzer.get_extension("random_spikes").params
    waveforms = analyzer.get_extension("waveforms").params
    part = create_analyzer(
        analyzer.sorting.frame_slice(start_sample, end_sample),
        analyzer.recording.frame_slice(start_sample, end_sample),
        folder,
        job_kwargs=job_kwargs,
        main_channel_indices=analyzer.get_main_channels(outputs="index"),
        sparse=False,
        sparsity=analyzer.sparsity,
    )
    cut_waveforms(
        part,
        max_spikes_per_unit=spikes["max_spikes_per_unit"],
        ms_before=waveforms["ms_before"],
        ms_after=waveforms["ms_after"],
        seed=spikes["seed"] or 0,
        job_kwargs=job_kwargs,
        joins=recording_clock(analyzer.recording).cut(start_sample, end_sample).joins,
    )
    complete_analyzer(part, job_kwargs=job_kwargs)
    return part
