"""What the sorters have in common that are put together from `spikeinterface.sortingcomponents`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from sort_assets.backends.failure_rules import FailureRule, failure_rule
from sort_assets.backends.spikeinterface_backend import SpikeInterfaceBackend
from sort_assets.errors import TooFewSpikesError

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

COMMON_REFERENCE_CHANNELS = 32
"""From this many channels on, these sorters take the median of all channels as reference."""

_NO_PEAKS = (
    # The prototype of a waveform is the median of no peaks, and then not a number (matched_filtering.py), or the share
    # of the peaks that are clustered is that of none (tridesclous2.py, lupin.py); the traceback shows the line.
    r"Prototype should have a (?:negative|positive) peak",
    r"all_peaks\.size / peaks\.size[\s\S]*ZeroDivisionError",
)


class SortingComponentsBackend(SpikeInterfaceBackend):
    """A sorter that whitens the recording as it reads it, in several passes.

    The whitened recording is computed again in each pass instead of being held: memory does not grow with the
    recording, and no copy of it is written. That costs up to two thirds more computation (tridesclous2, 64 channels).
    SpikeInterface would hold it in shared memory: of that, a container has 64 MB by default, a killed sorter leaves it
    behind, and with workers that are threads, SpikeInterface 0.105.3 unlinks it more than once. Where there is room,
    configuring the sorter's own parameter for it, mode "memory", is faster.

    Two runs may differ in a few spikes. In SpikeInterface 0.105.3 these sorters hand their seed to most, not all of
    what is random in them: not to the thresholds of matched-filter detection (spykingcircus2, lupin), the choice of
    the peaks that are clustered (lupin, tridesclous2), or the whitening (tridesclous2).
    """

    failure_rules: ClassVar[tuple[FailureRule, ...]] = tuple(
        failure_rule(
            pattern,
            TooFewSpikesError,
            "No sample of the recording crosses the detection threshold.",
            "Look at the recording: it may be silent. If it has spikes, lower sorter.params.detect_threshold (of "
            "spykingcircus2 sorter.params.detection.method_kwargs.detect_threshold), or set peak_sign to 'both'.",
        )
        for pattern in _NO_PEAKS
    )

    @property
    def library_threads(self) -> int:
        # The workers are threads that share torch: with several threads each, they would stand in each other's way.
        return 1

    def machine_params(self, recording: BaseRecording) -> dict[str, Any]:
        return {"job_kwargs": self.job_kwargs}

    def sorter_input(self, recording: BaseRecording) -> BaseRecording:
        """The recording with the common reference that the sorter would take after its own filter.

        These sorters can skip their filter only together with the reference.
        """
        from spikeinterface.preprocessing import common_reference

        referenced = "common_reference" in self.config.recording.preprocessing
        few = recording.get_num_channels() < COMMON_REFERENCE_CHANNELS
        if few or referenced or not self.recording_is_filtered:
            return recording
        return common_reference(recording, dtype="float32")
