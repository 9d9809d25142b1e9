"""The backend of Kilosort4 (https://github.com/MouseLand/Kilosort), through SpikeInterface."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sort_assets.backends.failure_rules import FailureRule
from sort_assets.backends.kilosort4 import memory_needed, oom_schedule
from sort_assets.backends.kilosort4.built_in_waveforms import (
    learns_as_by_default,
    waveforms_in_package,
    waveforms_of_package,
)
from sort_assets.backends.kilosort4.clustering_memory import centres_on_the_cpu, clustering_in_less_memory
from sort_assets.backends.kilosort4.expandable_segments import allocator_setting, use_expandable_segments
from sort_assets.backends.kilosort4.failures import FAILURE_RULES
from sort_assets.backends.kilosort4.few_spikes import FEWEST_SPIKES_TO_DIVIDE, few_spikes_divided, undivided_places
from sort_assets.backends.kilosort4.gpu_utilisation import without_gpu_utilisation
from sort_assets.backends.kilosort4.missed_spikes import likely_causes
from sort_assets.backends.kilosort4.shape import BUILT_IN_WAVEFORMS, shape_defaults
from sort_assets.backends.kilosort4.stages import STAGES
from sort_assets.backends.oom_schedule import OomSchedule
from sort_assets.backends.shape import ShapeChoice, ShapeChoices, Shaped, values
from sort_assets.backends.sorter_run import SORTER_FOLDER, SPIKEINTERFACE_FOLDER
from sort_assets.backends.spikeinterface_backend import SpikeInterfaceBackend
from sort_assets.checks.result import counted
from sort_assets.errors import BadChannelsError, ConfigError, TooFewChannelsError, UnsortableRecordingError
from sort_assets.machine.gpu_share import keep_to_share
from sort_assets.machine.preflight import NO_ESTIMATE, MemoryNeeded
from sort_assets.recordings.steps import FEWEST_FOR_REFERENCE
from sort_assets.running.job import OUTPUT_FILE
from sort_assets.running.progress import Stage, read_ends

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording, BaseSorting

    from sort_assets.recordings.clear_spikes import ClearSpikes


DIVIDE_FEW_SPIKES = "sorter.divide_few_spikes"
UNDIVIDED_PLACES = "undivided_places"
"""Annotation of a sorting: numbers of spikes around the places that Kilosort took for one unit each."""

CENTRES_ON_THE_CPU = "centres_on_the_cpu"
"""Beside the effective parameters: numbers of spikes of the centres that the GPU's memory could not hold."""


class Kilosort4Backend(SpikeInterfaceBackend):
    """Kilosort4, reading our `.dat` in place and keeping its own whitening."""

    name = "kilosort4"
    uses_gpu = True
    failure_rules: ClassVar[tuple[FailureRule, ...]] = FAILURE_RULES
    stages: ClassVar[tuple[Stage, ...]] = STAGES
    log_name: ClassVar[str] = "kilosort4.log"
    imported_ahead: ClassVar[tuple[str, ...]] = ("torch", "kilosort.run_kilosort", "kilosort.plots")
    harmless_fields: ClassVar[frozenset[str]] = SpikeInterfaceBackend.harmless_fields | {oom_schedule.CLEAR_CACHE.field}
    # Only of recordings without a .dat, which a notebook may hand in.
    temporary_copy = "recording.dat"

    @property
    def batch_samples(self) -> int:
        size = self.config.sorter.params.get("batch_size", _kilosort_defaults()["batch_size"])
        if not isinstance(size, int) or size < 1:
            raise ConfigError(
                f"sorter.params.batch_size is {size!r}; Kilosort4 takes a whole number of samples, at least 1.",
                remedy="Set it to 60000, its default, or leave it out.",
            )
        return size

    def batch_samples_for(self, recording: BaseRecording) -> int:
        return int(values(self.shape_choices(recording)).get("batch_size", self.batch_samples))

    def check_recording(self, recording: BaseRecording, rec_path: Path) -> None:
        super().check_recording(recording, rec_path)
        # Without common reference, Kilosort ends in an error of the Fourier transform.
        bad = self.config.sorter.params.get("bad_channels") or ()
        if set(range(recording.get_num_channels())) <= set(bad):
            raise BadChannelsError(
                f"No channel of '{rec_path.name}' (or of a group of its channels) is left: sorter.params.bad_channels "
                "lists all of them.",
                remedy="List only the channels that are bad, or leave sorter.params.bad_channels out.",
            )
        if recording.get_num_channels() == 1 and self.config.sorter.params.get("do_CAR", False):
            raise TooFewChannelsError(
                f"'{rec_path.name}' (or a group of its channels) has one channel, and sorter.params.do_CAR is true: "
                "the common reference of one channel is that channel, and leaves nothing of it.",
                remedy="Leave sorter.params.do_CAR out, or set it to false.",
                num_channels=1,
            )

    def shape_defaults(self, recording: Shaped) -> ShapeChoices:
        choices = shape_defaults(recording)
        if not learns_as_by_default(self.config.sorter.params) or waveforms_in_package() is None:
            return {name: choice for name, choice in choices.items() if name != BUILT_IN_WAVEFORMS}
        return choices

    def likely_causes(
        self, recording: BaseRecording, reason: UnsortableRecordingError, spikes: ClearSpikes
    ) -> Iterator[str]:
        yield from super().likely_causes(recording, reason, spikes)
        params = (
            _kilosort_defaults() | {"do_CAR": True} | values(self.shape_choices(recording)) | self.config.sorter.params
        )
        yield from likely_causes(recording, params, reason, spikes)

    def input_choices(self, recording: BaseRecording) -> ShapeChoices:
        channels, sorter = recording.get_num_channels(), self.config.sorter
        usual = int(_kilosort_defaults()["cluster_downsampling"])
        # Compared with more than every 20th of them, repeated spikes are divided into too many units.
        closer = sorter.params.get("cluster_downsampling", usual) < usual
        if channels >= FEWEST_FOR_REFERENCE or closer or not sorter.divide_few_spikes:
            return {}
        reason = (
            f"{counted(channels, 'channel')} {'has' if channels == 1 else 'have'} few spikes, and Kilosort takes fewer "
            f"than {FEWEST_SPIKES_TO_DIVIDE} around one place for one unit: there, it is given each several times."
        )
        return {DIVIDE_FEW_SPIKES: ShapeChoice(True, reason)}

    def run_here(self, recording: BaseRecording, folder: Path) -> None:
        if self.config.sorter.device != "cpu":
            use_expandable_segments()
            keep_to_share(self.gpu_parts)
        few = few_spikes_divided() if self.input_choices(recording) else nullcontext()
        with waveforms_of_package(), few, clustering_in_less_memory(), without_gpu_utilisation():
            super().run_here(recording, folder)

    def effective_params(self, output_folder: Path) -> dict[str, Any]:
        params = super().effective_params(output_folder)
        on_the_cpu = centres_on_the_cpu(output_folder / SPIKEINTERFACE_FOLDER / SORTER_FOLDER / self.log_name)
        return {
            **params,
            **allocator_setting(read_ends(output_folder / OUTPUT_FILE)),
            **({CENTRES_ON_THE_CPU: on_the_cpu} if on_the_cpu else {}),
        }

    def sort(
        self,
        recording: BaseRecording,
        rec_path: Path | None,
        recording_dat_path: Path | None,
        output_folder: Path,
    ) -> BaseSorting:
        found = super().sort(recording, rec_path, recording_dat_path, output_folder)
        log_path = output_folder / SPIKEINTERFACE_FOLDER / SORTER_FOLDER / self.log_name
        found.annotate(**{UNDIVIDED_PLACES: undivided_places(log_path)})
        return found

    def doubts(self, recording: BaseRecording, sorting: BaseSorting) -> list[str]:
        channels, undivided = recording.get_num_channels(), sorting.get_annotation(UNDIVIDED_PLACES) or []
        # On a larger probe there are always places without cells, around which there are few spikes.
        if sorting.get_num_units() == 0 or channels >= FEWEST_FOR_REFERENCE or not undivided:
            return []
        spikes = ", ".join(str(count) for count in undivided)
        off = "" if self.input_choices(recording) else f" (with {DIVIDE_FEW_SPIKES}, it would divide 50 and more)"
        return [
            f"Around {counted(len(undivided), 'place')} among {counted(channels, 'channel')}, Kilosort4 found few "
            f"spikes ({spikes}), and took them for one unit each, which may be several cells{off}: record for longer, "
            "or sort again with the preset mountainsort5."
        ]

    def oom_schedule(self, failure: Exception | None) -> OomSchedule:
        return oom_schedule.oom_schedule(failure)

    def memory_needed(self, recording: Shaped, *, gpu: bool | None = None) -> MemoryNeeded:
        on_gpu = self.gpu is not None if gpu is None else gpu
        params = _kilosort_defaults() | values(self._params_by_shape(recording)) | self.config.sorter.params
        channels, duration_s = recording.get_num_channels(), recording.get_duration()
        host = memory_needed.START_BYTES + memory_needed.features_bytes(channels, duration_s, params)
        if not recording.has_probe():
            return MemoryNeeded(host=host) if on_gpu else NO_ESTIMATE
        locations = recording.get_channel_locations()[:, :2]
        templates = memory_needed.universal_templates(
            locations,
            recording.get_channel_groups(),
            dmin=params["dmin"],
            dminx=params["dminx"],
            max_channel_distance=params["max_channel_distance"],
        )
        detection = memory_needed.detection_bytes(templates, channels, params)
        if not on_gpu:
            spikes = memory_needed.spikes_of_a_centre(
                locations, duration_s, dmin=params["dmin"], x_centers=params["x_centers"]
            )
            features = min(params["nearest_chans"], channels) * params["n_pcs"]
            return MemoryNeeded(host=host + max(detection, memory_needed.clustering_bytes(spikes, features)))
        return MemoryNeeded(host=host, gpu=detection)

    def machine_params(self, recording: BaseRecording) -> dict[str, Any]:
        return {"torch_device": self.config.sorter.device, **self.job_kwargs}

    def default_params(self) -> dict[str, Any]:
        from spikeinterface.core.globals import get_global_job_kwargs
        from spikeinterface.sorters.external.kilosort4 import Kilosort4Sorter

        return {**_kilosort_defaults(), **Kilosort4Sorter._si_default_params, **get_global_job_kwargs()}

    def _clean_up(self, output_folder: Path) -> None:
        super()._clean_up(output_folder)
        # After a failure the handlers stay, and the next sort of this process would write into both logs.
        logger = logging.getLogger("kilosort")
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
            handler.close()


def _kilosort_defaults() -> dict[str, Any]:
    """Kilosort's own parameters, read from its file, because importing kilosort takes many seconds."""
    package = importlib.util.find_spec("kilosort")
    assert package is not None
    assert package.origin is not None
    spec = importlib.util.spec_from_file_location(
        "kilosort_parameters", Path(package.origin).with_name("parameters.py")
    )
    assert spec is not None
    assert spec.loader is not None
    parameters = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(parameters)
    # These are taken from the recording.
    taken = ("fs", "n_chan_bin", "tmin", "tmax")
    described = parameters.MAIN_PARAMETERS | parameters.EXTRA_PARAMETERS
    return {name: parameter["default"] for name, parameter in described.items() if name not in taken}
