"""Making an analyzer: choosing spikes, cutting their waveforms out of the recording, averaging them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sort_assets.metrics.compiled import keep_compiled
from sort_assets.metrics.spikes_from_recording import main_channels, read_spikes

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording, BaseSorting, SortingAnalyzer

_PICKLE_SUFFIXES = (".pkl", ".pickle")


def create_analyzer(
    sorting: BaseSorting, recording: BaseRecording, folder: Path, *, job_kwargs: Mapping[str, Any], **options: Any
) -> SortingAnalyzer:
    """Create an analyzer in a folder, without waveforms.

    Its waveforms are going to be mapped from their file instead of being held, so that memory does not grow with the
    number of units.

    Parameters
    ----------
    sorting : BaseSorting
        Any number of units, also none.
    recording : BaseRecording
        With or without a probe.
    folder : Path
        Does not exist yet.
    job_kwargs : Mapping[str, Any]
        How SpikeInterface shares work among workers.
    **options : Any
        Further arguments of `spikeinterface.core.create_sorting_analyzer`.

    Returns
    -------
    SortingAnalyzer
        Of the format "binary_folder"; without a probe, if the recording has none.
    """
    from spikeinterface.core import SortingAnalyzer, create_sorting_analyzer

    keep_compiled()
    placed = recording if recording.has_probe() else _placed_anyhow(recording)
    if "main_channel_indices" not in options:
        options["main_channel_indices"] = main_channels(
            placed, sorting, seed=options.get("seed"), job_kwargs=job_kwargs
        )
    with warnings.catch_warnings():
        # True of what is in memory, and no loss: the folder holds a copy of the spikes, and whoever loads the analyzer
        # gives it its recording.
        warnings.filterwarnings("ignore", message="The extractor is not serializable to file")
        warnings.filterwarnings("ignore", message="The Recording is not serializable")
        analyzer = create_sorting_analyzer(
            sorting,
            placed,
            format="binary_folder",
            folder=folder,
            lazy=True,
            return_in_uV=True,
            job_kwargs=dict(job_kwargs),
            **options,
        )
    # SpikeInterface notes where recording and sorting came from, as pickles where JSON can't hold it.
    for path in folder.rglob("*"):
        if path.suffix in _PICKLE_SUFFIXES:
            path.unlink()
    if not recording.has_probe():
        (folder / "recording_info" / "probegroup.json").unlink()
        analyzer = SortingAnalyzer.load_from_binary_folder(folder, recording=recording, lazy=True)
    return analyzer


def cut_waveforms(
    analyzer: SortingAnalyzer,
    *,
    max_spikes_per_unit: int,
    ms_before: float,
    ms_after: float,
    seed: int,
    job_kwargs: Mapping[str, Any],
    joins: Sequence[int] = (),
) -> None:
    """Compute random spikes, waveforms, templates (their average and standard deviation) and noise levels.

    Amplitudes and positions of the spikes too, where they can be had in the same pass over the recording.

    Parameters
    ----------
    analyzer : SortingAnalyzer
        With its recording.
    max_spikes_per_unit : int
        How many spikes of each unit are chosen at most.
    ms_before, ms_after : float
        What is cut out around a spike.
    seed : int
        Of the choice of spikes, and of the stretches of recording from which noise is estimated.
    job_kwargs : Mapping[str, Any]
        How SpikeInterface shares work among workers.
    joins : sequence of int
        Samples of the recording that do not go on from the one before (`Clock.joins`). Spikes whose waveform reaches
        over one are not chosen, unless a unit has no others.
    """
    analyzer.compute("random_spikes", max_spikes_per_unit=max_spikes_per_unit, seed=seed)
    if len(joins):
        per_ms = analyzer.sampling_frequency / 1000
        _leave_out_joins(analyzer, joins, int(ms_before * per_ms), int(ms_after * per_ms))
    if not read_spikes(analyzer, ms_before=ms_before, ms_after=ms_after, job_kwargs=job_kwargs):
        analyzer.compute("waveforms", ms_before=ms_before, ms_after=ms_after, **job_kwargs)
        analyzer.compute("templates", operators=["average", "std"])
    analyzer.compute("noise_levels", random_slices_kwargs={"seed": seed}, **job_kwargs)


def _leave_out_joins(analyzer: SortingAnalyzer, joins: Sequence[int], before: int, after: int) -> None:
    """Take the spikes at joins out of those that were chosen."""
    import numpy as np

    from sort_assets.recordings.joins import at_join

    chosen = analyzer.get_extension("random_spikes")
    indices = chosen.data["random_spikes_indices"]
    spikes = analyzer.sorting.to_spike_vector()[indices]
    inside = ~at_join(spikes["sample_index"], joins, before, after)
    has_others = np.isin(spikes["unit_index"], spikes["unit_index"][inside])
    kept = indices[inside | ~has_others]
    if len(kept) < len(indices):
        chosen.set_data("random_spikes_indices", kept)
        chosen.save()


def _placed_anyhow(recording: BaseRecording) -> BaseRecording:
    """The recording with its channels in a row: SpikeInterface 0.105.3 creates no analyzer without a probe."""
    import numpy as np

    placed = recording.select_channels(recording.channel_ids)
    placed.set_dummy_probe_from_locations(np.arange(recording.get_num_channels())[:, None] * [0.0, 20.0])
    return placed
