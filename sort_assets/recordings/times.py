"""The times of a recording without its samples: what a sorting needs to tell when its spikes were."""

from __future__ import annotations

from typing import Any

import numpy as np
from spikeinterface.core import BaseRecording, BaseRecordingSegment  # noqa: TID253

from sort_assets.recordings.clock import Clock


class TimesRecording(BaseRecording):  # type: ignore[misc]
    """A recording of no channels that knows the time of each of its samples.

    SpikeInterface (0.105.3) keeps times that are no start and rate as one number per sample: 1.7 GB for two hours.

    Parameters
    ----------
    clock : Clock
        Ascending.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__(sampling_frequency=clock.nominal_hz, channel_ids=[], dtype="float32")
        self.add_recording_segment(_TimesSegment(clock))
        self._serializability.update(json=False, memory=False, pickle=False)


class _TimesSegment(BaseRecordingSegment):  # type: ignore[misc]
    def __init__(self, clock: Clock) -> None:
        super().__init__(sampling_frequency=clock.nominal_hz, t_start=clock.start_time_s)
        self._clock = clock

    def get_num_samples(self) -> int:
        return self._clock.num_samples

    def sample_index_to_time(self, sample_ind: Any) -> Any:
        return self._clock.times_s(sample_ind)

    def time_to_sample_index(self, time_s: Any) -> Any:
        return self._clock.samples(time_s)

    def get_traces(self, start_frame: int | None, end_frame: int | None, channel_indices: Any) -> np.ndarray:
        raise NotImplementedError("It holds times, and no samples: load the binary_dat for those.")
