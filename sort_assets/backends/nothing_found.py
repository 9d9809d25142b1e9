"""What follows when a sorter found nothing: the recording itself is asked before it is called unsortable."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sort_assets.backends.base import UNSORTABLE
from sort_assets.errors import MissedSpikesError, TooFewSpikesError, TooShortRecordingError, UnsortableRecordingError
from sort_assets.recordings.clear_spikes import FEWEST_SPIKES, ClearSpikes, look_for_clear_spikes

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording, BaseSorting

    from sort_assets.backends.spikeinterface_backend import SpikeInterfaceBackend


def nothing_to_sort(
    backend: SpikeInterfaceBackend, recording: BaseRecording, reason: UnsortableRecordingError
) -> BaseSorting:
    """A sorting without units, unless the recording has spikes.

    Parameters
    ----------
    backend : SpikeInterfaceBackend
        That found nothing.
    recording : BaseRecording
        What it sorted.
    reason : UnsortableRecordingError
        Why it found nothing; what was seen in the recording is added to its message.

    Returns
    -------
    BaseSorting
        Without units, with the annotation `UNSORTABLE`.

    Raises
    ------
    MissedSpikesError
        When the recording clearly has spikes, or may have some.
    """
    from spikeinterface.core import NumpySorting

    spikes = look_for_clear_spikes(recording, filtered=backend.recording_is_filtered)
    if spikes.certain or spikes.suspected:
        raise _missed(backend, recording, reason, spikes) from reason
    reason.message = f"{reason.message} A look at the recording itself shows {spikes}."
    reason.diagnostics |= {"clear_spikes": spikes.count, "looked_at_s": spikes.looked_at_s}
    empty = NumpySorting.from_unit_dict([{}], recording.sampling_frequency)
    empty.annotate(**{UNSORTABLE: reason.to_dict()})
    return empty


def no_units(sorter: str) -> TooFewSpikesError:
    """The reason where a sorter ended well, without units."""
    return TooFewSpikesError(
        f"{sorter} found no units.",
        remedy="Look at the traces: was the probe in tissue, and connected? If there are weak spikes, lower the "
        "sorter's thresholds.",
    )


def _missed(
    backend: SpikeInterfaceBackend, recording: BaseRecording, reason: UnsortableRecordingError, spikes: ClearSpikes
) -> MissedSpikesError:
    return MissedSpikesError(
        f"{backend.name} found nothing to sort, but {_seen(spikes)}. What the sorter said: {reason.message}",
        remedy=_numbered([*backend.likely_causes(recording, reason, spikes), _OTHER_SORTER]),
        stage=reason.stage,
        log_excerpt=reason.log_excerpt,
        **{
            **reason.diagnostics,
            "clear_spikes": spikes.count,
            "looked_at_s": spikes.looked_at_s,
            "busiest_channel": spikes.channel,
        },
    )


def _seen(spikes: ClearSpikes) -> str:
    high = f"{spikes}, {spikes.height:.0f} times as high as the noise" if spikes.count else str(spikes)
    if spikes.certain:
        return f"the recording clearly has spikes, or artefacts that look like them: {high}"
    if not spikes.count:
        return f"what may be a cell amid the wires, or artefacts, was seen in the recording: {high}"
    some = "a few" if spikes.count < FEWEST_SPIKES else "some"
    return f"{some} clear spikes, or artefacts that look like them, were seen in the recording: {high}"


def too_short(reason: UnsortableRecordingError) -> Iterable[str]:
    """The cause, where it is the length of the recording."""
    if isinstance(reason, TooShortRecordingError):
        yield "It is too short for this sorter: record for longer, or sort it together with others (a folder of files)."


_OTHER_SORTER = (
    "If none of this is the cause, take another sorter (presets mountainsort5, spykingcircus2, tridesclous2, lupin), "
    "or, if what is seen are artefacts, leave that time or those channels out (recording.start_s, recording.end_s, "
    "recording.bad_channel_ids)."
)


def _numbered(causes: Iterable[str]) -> str:
    return " ".join(f"({number}) {cause}" for number, cause in enumerate(causes, start=1))
