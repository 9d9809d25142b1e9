"""Handles on recordings with injected units, and on how well those were found."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sort_assets.platform.store.details import AssetDetails
from sort_assets.platform.store.handles import (
    Handle,
    StoredMetrics,
    StoredRecording,
    StoredSorting,
    read_sorting,
)

if TYPE_CHECKING:
    import pandas as pd
    from spikeinterface.core import BaseRecording, BaseSorting

    from sort_assets.hybrid.accuracy import UnitAccuracy
    from sort_assets.hybrid.placement import InjectedUnit

TEMPLATES_FILE = "templates_uv.npy"
"""Of the injected units, shape (units, samples, channels), in microvolts."""
QUALITY_FILE = "quality.html"
"""The page of the rig, among the figures."""


class HybridDetails(AssetDetails):
    """Of `hybrid_recording`.

    Attributes
    ----------
    units : tuple of dict
        The injected units, as `InjectedUnit.to_dict` gives them.
    num_spikes : int
        Injected spikes.
    before : int
        Samples of a template before the spike's own.
    start_sample, end_sample : int
        The stretch of the sorted recording of which it consists.
    seed : int
        Decided places, spikes and amplitudes.
    drifting : bool
        Whether the units follow the motion that was estimated when the recording was preprocessed.
    channels : int
    """

    units: tuple[Mapping[str, Any], ...]
    num_spikes: int
    before: int
    start_sample: int
    end_sample: int
    seed: int
    drifting: bool
    channels: int


class AccuracyDetails(AssetDetails):
    """Of `hybrid_accuracy`.

    Attributes
    ----------
    units : tuple of dict
        What became of the injected units, as `UnitAccuracy.to_dict` gives it.
    recall : float or None
        Mean over them.
    precision : float or None
        Mean over those that were found.
    found_well : int
        How many were found with an accuracy of at least 0.8.
    channels : int
    device : str
    duration_s : float
        Length of what was sorted.
    num_units_found : int
        All that the sorter found, the recording's own units among them.
    """

    units: tuple[Mapping[str, Any], ...]
    recall: float | None = None
    precision: float | None = None
    found_well: int = 0
    channels: int
    device: str
    duration_s: float
    num_units_found: int


class StoredHybrid(Handle[HybridDetails]):
    """A stretch of a recording with injected units: not its samples, but what is added to those of the recording."""

    asset = "hybrid_recording"
    details_model = HybridDetails

    @property
    def unit_metrics(self) -> StoredMetrics:
        """The very version of which the donors were chosen."""
        return StoredMetrics(self.roots, self.recording, self.upstream_version(StoredMetrics.asset))

    @property
    def sorting(self) -> StoredSorting:
        """The sorting whose units they are, and as which the stretch is sorted."""
        return self.unit_metrics.waveforms.sorting

    @cached_property
    def units(self) -> list[InjectedUnit]:
        """The injected units."""
        import numpy as np

        from sort_assets.hybrid.placement import InjectedUnit

        templates = np.load(self.path / TEMPLATES_FILE)
        return [
            InjectedUnit(**values, template_uv=template)
            for values, template in zip(self.details.units, templates, strict=True)
        ]

    def load_truth(self) -> BaseSorting:
        """The injected spikes, in samples of the stretch.

        Raises
        ------
        UnreadableRecordingError
            When somebody put pickled data among the properties.
        """
        return read_sorting(self.path)

    def load(self) -> BaseRecording:
        """The stretch with the injected units, lazily: microvolts, float32.

        Raises
        ------
        MissingArtefactError
            When retention has removed the `.dat` of the sorting.
        RecordingError
            When the raw file is needed, and can't be opened or is not the one that was preprocessed.
        """
        from spikeinterface.core import NumpySorting

        from sort_assets.config import RecordingConfig
        from sort_assets.hybrid.injection import inject
        from sort_assets.recordings.preprocessing import cut_to_range

        details, base = self.details, HybridBase(self.sorting)
        spikes = self.load_truth().to_spike_vector().copy()
        spikes["sample_index"] += details.start_sample
        recording = base.load()
        truth = NumpySorting(spikes, recording.sampling_frequency, [unit.unit_id for unit in self.units])
        hybrid = base.finish(
            inject(
                recording,
                self.units,
                truth,
                before=details.before,
                motion=base.motion() if details.drifting else None,
                locations_um=self.sorting.load_recording().get_channel_locations() if details.drifting else None,
                seed=details.seed,
            )
        )
        rate_hz = float(hybrid.sampling_frequency)
        stretch = RecordingConfig(start_s=details.start_sample / rate_hz, end_s=details.end_sample / rate_hz)
        return cut_to_range(hybrid, stretch)


class StoredAccuracy(Handle[AccuracyDetails]):
    """How well the injected units of a recording were found."""

    asset = "hybrid_accuracy"
    details_model = AccuracyDetails

    @property
    def hybrid_recording(self) -> StoredHybrid:
        """The very version that was sorted."""
        return StoredHybrid(self.roots, self.recording, self.upstream_version(StoredHybrid.asset))

    @property
    def units(self) -> list[UnitAccuracy]:
        """What became of each injected unit."""
        from sort_assets.hybrid.accuracy import UnitAccuracy

        return [UnitAccuracy(**values) for values in self.details.units]

    def load(self) -> pd.DataFrame:
        """One row per injected unit: how it was injected, and its recall, precision and accuracy."""
        from sort_assets.hybrid.accuracy import accuracy_table

        return accuracy_table(self.units)

    def load_sorting(self) -> BaseSorting:
        """All that the sorter found in the hybrid recording, the recording's own units among it.

        Raises
        ------
        UnreadableRecordingError
            When somebody put pickled data among the properties.
        """
        return read_sorting(self.path)


class HybridBase:
    """The recording into which units are injected: before its motion is corrected, where it is.

    Injected units follow the motion then, and are put back by its correction as all others are.

    Parameters
    ----------
    sorting : StoredSorting
        Of the recording.
    """

    def __init__(self, sorting: StoredSorting) -> None:
        self._sorting = sorting
        self._preprocessed: StoredRecording = sorting.binary_dat.preprocessed_recording

    @property
    def is_corrected(self) -> bool:
        """Whether the motion of the recording is corrected before it is sorted."""
        from sort_assets.recordings.steps import INTERPOLATE_MOTION

        return INTERPOLATE_MOTION in self._preprocessed.config.recording.preprocessing

    def load(self) -> BaseRecording:
        """The recording in microvolts, float32, with all its samples."""
        from spikeinterface.preprocessing import scale

        if self.is_corrected:
            return self._preprocessed.load(steps=self._steps()[0])
        sorted_one = self._sorting.load_recording()
        gains, offsets = sorted_one.get_channel_gains(), sorted_one.get_channel_offsets()
        recording = scale(sorted_one, gain=gains, offset=offsets, dtype="float32")
        recording.set_channel_gains(1.0)
        recording.set_channel_offsets(0.0)
        return recording

    def finish(self, recording: BaseRecording) -> BaseRecording:
        """What is still to be done to a recording from `load` before it is sorted."""
        if not self.is_corrected:
            return recording
        from sort_assets.recordings.steps import apply_steps

        return apply_steps(recording, self._steps()[1], frozen_folder=self._preprocessed.path, n_jobs=1)

    def motion(self) -> Any:
        """The motion that was estimated when the recording was preprocessed, a SpikeInterface `Motion`; or None."""
        from spikeinterface.core.motion import Motion

        from sort_assets.recordings.steps import MOTION_FOLDER

        return Motion.load(self._preprocessed.path / MOTION_FOLDER) if self.is_corrected else None

    def _steps(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The steps before the correction of motion, and from that on."""
        from sort_assets.recordings.steps import INTERPOLATE_MOTION

        steps = self._preprocessed.config.recording.preprocessing
        at = list(steps).index(INTERPOLATE_MOTION)
        return dict(list(steps.items())[:at]), dict(list(steps.items())[at:])
