"""The sorters that need only a page each: four that SpikeInterface runs, with what is special about each.

A new sorter of this kind is a class here and an entry in `registry`. Kilosort4, which has more to it, is a folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from sort_assets.backends.failure_rules import FailureRule, failure_rule
from sort_assets.backends.oom_schedule import MemoryParameter
from sort_assets.backends.shape import INPUT_REFERENCE, ShapeChoice, ShapeChoices
from sort_assets.backends.spikeinterface_backend import SpikeInterfaceBackend
from sort_assets.checks.result import counted
from sort_assets.errors import TooFewSpikesError

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

COMMON_REFERENCE_CHANNELS = 32
"""Number of channels from which on these sorters take the median of all channels as reference."""

_NO_PEAKS = (
    # The prototype of a waveform is the median of no peaks, and then not a number (matched_filtering.py), or the share
    # of the peaks that are clustered is that of none (tridesclous2.py, lupin.py); the traceback shows the line.
    r"Prototype should have a (?:negative|positive) peak",
    r"all_peaks\.size / peaks\.size[\s\S]*ZeroDivisionError",
)


class SortingComponentsBackend(SpikeInterfaceBackend):
    """A sorter put together from `spikeinterface.sortingcomponents`: it whitens while it reads, in several passes.

    The whitened recording is computed again in each pass instead of being kept: memory does not grow with the
    recording, and no copy of it is written. This takes up to two thirds more computation (tridesclous2, 64 channels).
    SpikeInterface would hold it in shared memory: of that, a container has 64 MB by default, a killed sorter leaves it
    behind, and with workers that are threads, SpikeInterface 0.105.3 unlinks it more than once. Where there is room,
    configuring the sorter's own parameter for it, mode "memory", is faster.

    Two runs may differ in a few spikes. In SpikeInterface 0.105.3 these sorters hand their seed to most, not all of
    what is random in them: not to the thresholds of matched-filter detection (spykingcircus2, lupin), the choice of
    the peaks that are clustered (lupin, tridesclous2), or the whitening (tridesclous2).
    """

    failure_rules: ClassVar[tuple[FailureRule, ...]] = (
        # SpikeInterface 0.105.3 does not get as far as to return no spikes (matching/main.py).
        failure_rule(
            r"cannot access local variable 'node0'",
            TooFewSpikesError,
            "No template was left after the clustering.",
            "Look at the recording: it may be noise alone. If it has spikes, record for longer, or try another sorter.",
        ),
        *(
            failure_rule(
                pattern,
                TooFewSpikesError,
                "No sample of the recording crosses the detection threshold.",
                "Look at the recording: it may be silent. If it has spikes, lower sorter.params.detect_threshold (of "
                "spykingcircus2 sorter.params.detection.method_kwargs.detect_threshold), or set peak_sign to 'both'.",
            )
            for pattern in _NO_PEAKS
        ),
    )

    @property
    def takes_gpu(self) -> bool:
        # On the CPU unless its parameters name the device, as sorter.params.matching.method_kwargs.torch_device.
        return _names_cuda(self.config.sorter.params)

    @property
    def library_threads(self) -> int:
        # The workers are threads that share torch: with several threads each, they would slow each other down.
        return 1

    def machine_params(self, recording: BaseRecording) -> dict[str, Any]:
        return {"job_kwargs": self.job_kwargs}

    def sorter_input(self, recording: BaseRecording) -> BaseRecording:
        """The recording with the common reference that the sorter would take after its own filter.

        These sorters can skip their filter only together with the reference.
        """
        from spikeinterface.preprocessing import common_reference

        reference = self.input_choices(recording).get(INPUT_REFERENCE)
        if reference is None or not reference.value:
            return recording
        return common_reference(recording, dtype="float32")

    def input_choices(self, recording: BaseRecording) -> ShapeChoices:
        # Without our filter the sorter takes both, its filter and its reference; and nobody needs a second one.
        if not self.recording_is_filtered or "common_reference" in self.config.recording.preprocessing:
            return {}
        channels = recording.get_num_channels()
        together = f"{counted(channels, 'channel')} {'is' if channels == 1 else 'are'} sorted together"
        if channels < COMMON_REFERENCE_CHANNELS:
            reason = f"{together}: no reference of fewer than {COMMON_REFERENCE_CHANNELS}, which may hold their spikes."
        else:
            reason = f"{together}: the sorter's own reference, the median of all, is taken of the filtered recording."
        return {INPUT_REFERENCE: ShapeChoice(channels >= COMMON_REFERENCE_CHANNELS, reason)}


def _names_cuda(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_names_cuda(one) for one in value.values())
    if isinstance(value, list | tuple):
        return any(_names_cuda(one) for one in value)
    return isinstance(value, str) and value.partition(":")[0] == "cuda"


class SpykingCircus2Backend(SortingComponentsBackend):
    """SpyKING CIRCUS 2 (Yger et al. 2018), as rewritten within SpikeInterface; it whitens what we filtered."""

    name = "spykingcircus2"
    threshold_field = "sorter.params.detection.method_kwargs.detect_threshold"
    negative_only = ("sorter.params.detection.method_kwargs.peak_sign", "'both'")
    # Filter and common reference; the whitening has a switch of its own and stays on.
    filter_off: ClassVar[Mapping[str, Any]] = {"apply_preprocessing": False}
    own_defaults: ClassVar[Mapping[str, Any]] = {
        # Motion is corrected once for all sorters, where recording.preprocessing asks for it; an estimate from few
        # channels or minutes does harm.
        "apply_motion_correction": False,
        "seed": 0,
        # See SortingComponentsBackend.
        "cache_preprocessing": {"mode": "no-cache"},
    }
    memory_parameters: ClassVar[tuple[MemoryParameter, ...]] = (
        # Peaks that are clustered, each with its waveform's features: the larger of the two counts. Every unit needs
        # some tens of them.
        MemoryParameter("sorter.params.selection.method_kwargs.n_peaks_per_channel", default=5000, limit=1000),
        MemoryParameter("sorter.params.selection.method_kwargs.min_n_peaks", default=100000, limit=20000),
    )


class Tridesclous2Backend(SortingComponentsBackend):
    """Tridesclous 2 (https://github.com/tridesclous/tridesclous), as rewritten within SpikeInterface."""

    name = "tridesclous2"
    threshold_field = "sorter.params.detect_threshold"
    negative_only = ("sorter.params.peak_sign", "'both'")
    # No steps in place of filter and common reference; apply_preprocessing=False would also skip the whitening.
    filter_off: ClassVar[Mapping[str, Any]] = {"preprocessing_dict": []}
    own_defaults: ClassVar[Mapping[str, Any]] = {
        "seed": 0,
        # See SortingComponentsBackend.
        "cache_preprocessing_mode": "no-cache",
        # Intermediate results, all peaks among them: useful only for developing the sorter.
        "save_array": False,
    }
    memory_parameters: ClassVar[tuple[MemoryParameter, ...]] = (
        # Peaks that are clustered, each with its waveform's features. Every unit needs some tens of them.
        MemoryParameter("sorter.params.n_peaks_per_channel", default=5000, limit=1000),
    )


class LupinBackend(SortingComponentsBackend):
    """Lupin, SpikeInterface's own sorter, put together from the best parts of others."""

    name = "lupin"
    threshold_field = "sorter.params.detect_threshold"
    negative_only = ("sorter.params.peak_sign", "'both'")
    # No steps in place of filter and common reference; apply_preprocessing=False would also skip the whitening.
    filter_off: ClassVar[Mapping[str, Any]] = {"preprocessing_dict": []}
    own_defaults: ClassVar[Mapping[str, Any]] = {
        "seed": 0,
        # See SortingComponentsBackend.
        "cache_preprocessing_mode": "no-cache",
        # Intermediate results, all peaks among them: useful only for developing the sorter.
        "save_array": False,
    }
    memory_parameters: ClassVar[tuple[MemoryParameter, ...]] = (
        # Peaks that are clustered, each with its waveform's features. Every unit needs some tens of them.
        MemoryParameter("sorter.params.n_peaks_per_channel", default=5000, limit=1000),
    )


class MountainSort5Backend(SpikeInterfaceBackend):
    """MountainSort 5 (https://github.com/flatironinstitute/mountainsort5), whitening what we filtered.

    It reads from a flat file only, so SpikeInterface writes the whitened recording as float32, twice the size of an
    int16 `.dat`, and removes it afterwards.
    """

    name = "mountainsort5"
    imported_ahead = ("mountainsort5",)
    threshold_field = "sorter.params.detect_threshold"
    negative_only = ("sorter.params.detect_sign", "0")
    # Only the filter; the whitening, which the sorter relies on, has a switch of its own.
    filter_off: ClassVar[Mapping[str, Any]] = {"filter": False}
    own_defaults: ClassVar[Mapping[str, Any]] = {
        # The whitening is estimated from random parts; nothing else is random.
        "whitening_seed": 0,
    }
    copies_recording = True
    temporary_copy = "recording"
    memory_parameters: ClassVar[tuple[MemoryParameter, ...]] = (
        # All training data are held in memory, with all channels of every spike in them. A minute holds the hundreds
        # of spikes per unit that the classifier takes (200), down to rates of some hertz.
        MemoryParameter("sorter.params.scheme2_training_duration_sec", default=300, limit=60),
    )

    def machine_params(self, recording: BaseRecording) -> dict[str, Any]:
        return self.job_kwargs
