"""Why Kilosort4 may find nothing in a recording that clearly has spikes, the likeliest cause first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sort_assets.backends.kilosort4.shape import BUILT_IN_WAVEFORMS, reference_holds_spikes, why_no_drift
from sort_assets.errors import TooFewSpikesError, TooShortRecordingError
from sort_assets.recordings.steps import FEWEST_FOR_REFERENCE

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

    from sort_assets.errors import UnsortableRecordingError
    from sort_assets.recordings.clear_spikes import ClearSpikes

_FEWEST_SILENT, _GOOD_PART = 3, 0.2
_DEFAULT_THRESHOLDS = {"Th_universal": 9, "Th_learned": 8, "Th_single_ch": 6}


def likely_causes(
    recording: BaseRecording, params: Mapping[str, Any], reason: UnsortableRecordingError, spikes: ClearSpikes
) -> Iterator[str]:
    """The causes, each with its remedy, as sentences.

    Parameters
    ----------
    recording : BaseRecording
        What was sorted.
    params : Mapping[str, Any]
        What Kilosort ran with, its defaults included.
    reason : UnsortableRecordingError
        What it said.
    spikes : ClearSpikes
        What the recording shows.
    """
    channels = recording.get_num_channels()
    learns = params[BUILT_IN_WAVEFORMS]
    if params["do_CAR"] and reference_holds_spikes(recording):
        yield (
            f"sorter.params.do_CAR is true: the median of {channels} channels takes away spikes that most of them "
            "see. Set it to false, or leave it out."
        )
    no_drift = why_no_drift(recording)
    if params["nblocks"] and params.get("do_correction", True) and no_drift is not None:
        yield (
            f"sorter.params.nblocks is {params['nblocks']}. {no_drift}: too few for an estimate of drift, and a wrong "
            "one moves the spikes away. Set it to 0, or leave it out."
        )
    raised = [name for name, usual in _DEFAULT_THRESHOLDS.items() if params[name] > usual]
    if raised:
        asked = ", ".join(f"sorter.params.{name} is {params[name]:g}" for name in raised)
        usual = ", ".join(f"{name} {_DEFAULT_THRESHOLDS[name]:g}" for name in raised)
        yield f"{asked}, above Kilosort's default ({usual}): leave it out."
    else:
        first = "sorter.params.Th_single_ch (6) to 5 or 4, then " if learns else "sorter.params."
        yield (
            f"The thresholds may still be too high for this recording: lower {first}Th_universal (9) and Th_learned "
            "(8) by one or two."
        )
    batch_s = params["batch_size"] / float(recording.sampling_frequency)
    if learns and not isinstance(reason, TooShortRecordingError) and _is_silent_first(spikes, batch_s):
        yield (
            f"Kilosort learns waveforms from every 25th batch of {batch_s:g} s, beginning with the first, and the "
            f"{spikes.empty_before} stretches that were looked at in the first {spikes.first_s:.0f} s show no clear "
            "spikes: if nothing is wanted of that time, let the recording begin there (recording.start_s)."
        )
    if learns and channels < FEWEST_FOR_REFERENCE and isinstance(reason, TooFewSpikesError):
        yield (
            "A few cells of 1 to 3 Hz may leave Kilosort too few spikes to learn from, as it looks at one batch in 25 "
            "for that: set sorter.params.templates_from_data to false, nt to 61 and n_pcs to 6, and it takes its "
            "built-in waveforms; or sort again with the preset mountainsort5."
        )


def _is_silent_first(spikes: ClearSpikes, batch_s: float) -> bool:
    """Whether a good part of the recording, from its beginning on, was looked at and has no clear spikes."""
    if spikes.first_s is None or spikes.first_s <= batch_s:
        return False
    return spikes.empty_before >= max(_FEWEST_SILENT, _GOOD_PART * spikes.stretches)
