"""The configuration of one recording's way from raw file to waveforms: plain, immutable, validated."""

from typing import Any, Literal

from pydantic import Field, model_validator

from sort_assets.config.comparison import ComparisonConfig
from sort_assets.config.hybrid import HybridConfig
from sort_assets.config.resources import ResourcesConfig
from sort_assets.config.section import NonNegativeFloat, Parameters, PositiveFloat, Section
from sort_assets.config.units import CurationConfig, DeliveryConfig, MetricsConfig

FILTER_STEPS = ("bandpass_filter", "highpass_filter", "filter", "gaussian_filter")
"""Steps of a SpikeInterface preprocessing pipeline that take the place of the default band-pass."""


class BinaryConfig(Section):
    """What a plain binary file does not say of itself: samples one after the other, all channels of a sample together.

    Microvolts per count are the recording's `gain_to_uv` and `offset_to_uv`.
    """

    sampling_hz: PositiveFloat = Field(description="Samples per second of each channel.")
    channels: int = Field(gt=0, description="Number of channels in the file, also of those that are not sorted.")
    dtype: Literal["int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"] = Field(
        description="Type of a sample, as numpy names it."
    )
    byte_order: Literal["little", "big"] = Field(
        "little", description="Which byte of a sample comes first: the lowest (little, as PCs write) or the highest."
    )
    header_bytes: int = Field(0, ge=0, description="Bytes at the beginning of the file that are no samples.")
    channel_names: tuple[str, ...] = Field(
        (), description="Names of the channels in the order of the file; empty numbers them from 0."
    )

    @model_validator(mode="after")
    def _check_names(self) -> "BinaryConfig":
        if self.channel_names and len(self.channel_names) != self.channels:
            raise ValueError(f"channel_names names {len(self.channel_names)} channels, and there are {self.channels}")
        repeated = sorted({name for name in self.channel_names if self.channel_names.count(name) > 1})
        if repeated:
            raise ValueError(f"channel_names repeats {', '.join(repeated)}")
        return self


_IN_EVERY_HASH = frozenset(
    {"format", "binary", "probe_file", "stream", "start_s", "end_s", "first_minutes", "gain_to_uv", "offset_to_uv"}
    | {"freq_min", "freq_max", "preprocessing", "bad_channels", "bad_channel_ids", "bad_channel_seed", "split_by"}
    | {"dat_dtype", "dat_gain_to_uv"}
)
"""Fields of `RecordingConfig` that were there when data versions were first made of all of them."""


class RecordingConfig(Section):
    """How the raw file becomes the filtered recording in microvolts, and then the `.dat`."""

    format: str | None = Field(
        None, description="Name of the format to read the file as, such as maxwell; null recognises it."
    )
    binary: BinaryConfig | None = Field(
        None, description="Description of a plain binary file, which says nothing of itself; null for all others."
    )
    reader: str | None = Field(
        None,
        min_length=1,
        description="Name of the reader in SpikeInterface's list to open the recording with, such as mcsh5, whatever "
        "the recording's name is; null lets the format choose.",
    )
    arguments: Parameters = Field(
        default_factory=dict,
        description="Arguments of that reader beside the recording's path; paths among them start at the recording's "
        "folder.",
    )
    probe_file: str | None = Field(
        None,
        min_length=1,
        description=(
            "probeinterface JSON file with the electrodes' positions and wiring, which replaces what the recording "
            "says; a relative path is looked for beside the recording and in the folders above it. With {stream}, "
            "which stands for the stream's name ('_' for '/'), streams without such a file keep their own probe."
        ),
    )
    stream: str | None = Field(
        None, description="Name of the stream to sort where a file has several; the recording key's stream goes first."
    )
    gaps: Literal["split", "refuse", "zeros"] = Field(
        "split",
        description=(
            "What to do where the recording's clock has a gap: split sorts the samples as they follow each other, with "
            "the times of the clock; zeros puts zeros in the place of the missing samples after all filters; or refuse."
        ),
    )
    max_zeros_percent: float = Field(
        5.0,
        gt=0,
        lt=100,
        description="Largest part of the recording, in percent, that gaps: zeros may fill; more is refused.",
    )
    max_rate_difference_ppm: NonNegativeFloat | None = Field(
        None,
        description=(
            "Largest difference of sampling rates, in parts per million, of files that are concatenated, each on its "
            "own clock; null allows less than one sample over the shorter file."
        ),
    )
    accept_incomplete: bool = Field(
        False,
        description=(
            "Sort a recording that is not whole (cut off by a crash, a part lost) as far as it is, and mark the result "
            "degraded; off refuses it."
        ),
    )
    start_s: NonNegativeFloat = Field(0.0, description="Start of the part to sort, in seconds from the first sample.")
    end_s: PositiveFloat | None = Field(
        None, description="End of the part to sort, in seconds from the first sample; null is the end of the recording."
    )
    first_minutes: PositiveFloat | None = Field(
        None, description="Sort only this many minutes, counted from start_s; null sorts everything."
    )
    gain_to_uv: PositiveFloat | None = Field(
        None, description="Microvolts per count, for all channels; null takes the gain that the file states."
    )
    offset_to_uv: float | None = Field(
        None,
        description=(
            "Microvolts at count zero, for all channels; null takes the offset that the file states, scaled with "
            "gain_to_uv where that is set."
        ),
    )
    freq_min: PositiveFloat | None = Field(
        300.0, description="Lower edge of the band-pass filter in Hz; null leaves the low frequencies in."
    )
    freq_max: PositiveFloat | None = Field(
        6000.0, description="Upper edge of the band-pass filter in Hz; null leaves the high frequencies in."
    )
    preprocessing: dict[str, Parameters] = Field(
        default_factory=dict,
        description=(
            "SpikeInterface preprocessing steps by name with their parameters, in order, also correct_motion; the "
            "band-pass goes first unless a filter stands among the steps (bandpass_filter takes freq_min and freq_max "
            "from above)."
        ),
    )
    bad_channels: Literal["auto", "list", "none"] = Field(
        "auto",
        description=(
            "Which channels are dropped: those that SpikeInterface detects as dead or noisy, those of "
            "bad_channel_ids, or none."
        ),
    )
    bad_channel_ids: tuple[str, ...] = Field(
        (), description="Ids of the channels to drop, as text, when bad_channels is list."
    )
    bad_channel_seed: int = Field(
        0, ge=0, description="Seed for the choice of the data on which bad channels are detected."
    )
    split_by: str | None = Field(
        None,
        description=(
            "Channel property, such as group, by which the recording is split: one .dat and one sort for each value, "
            "the units brought together again."
        ),
    )
    dat_dtype: Literal["int16", "float32"] = Field(
        "int16", description="Sample type of the .dat; int16 is scaled so that nothing is clipped."
    )
    dat_gain_to_uv: PositiveFloat | None = Field(
        None, description="Microvolts per count of an int16 .dat; null chooses it from the recording."
    )

    @model_validator(mode="after")
    def _check_ranges(self) -> "RecordingConfig":
        if self.freq_min is not None and self.freq_max is not None and self.freq_min >= self.freq_max:
            raise ValueError(f"freq_min ({self.freq_min} Hz) must be below freq_max ({self.freq_max} Hz)")
        if self.end_s is not None and self.start_s >= self.end_s:
            raise ValueError(f"start_s ({self.start_s} s) must be below end_s ({self.end_s} s)")
        if self.bad_channel_ids and self.bad_channels != "list":
            raise ValueError("bad_channel_ids is only read when bad_channels is 'list'")
        if self.binary is not None and self.format is not None:
            raise ValueError(f"binary describes a plain binary file, and format says that it is '{self.format}'")
        if self.reader is not None and (self.binary is not None or self.format is not None):
            raise ValueError(f"reader says that '{self.reader}' opens it, so format and binary must be null")
        if self.arguments and self.reader is None:
            raise ValueError("arguments are those of a reader, and reader names none")
        return self

    def for_data_version(self) -> dict[str, Any]:
        """The fields of which a data version is made, as plain values.

        A field that a new version of sort_assets brings is left out while it has its default, so that the data versions
        of what is in a store stay the same.
        """
        defaults = type(self)().model_dump(mode="json")
        return {
            name: value
            for name, value in self.model_dump(mode="json").items()
            if name in _IN_EVERY_HASH or value != defaults[name]
        }


class SorterConfig(Section):
    """Which sorter runs, where, and with which parameters."""

    name: str = Field("kilosort4", min_length=1, description="Registered name of the sorter's backend.")
    params: Parameters = Field(
        default_factory=dict,
        description="The sorter's own parameters that differ from its defaults, as SpikeInterface names them.",
    )
    device: Literal["auto", "cuda", "cpu"] = Field(
        "auto",
        description=(
            "Where a sorter that can use a GPU runs; auto takes the CPU only where no NVIDIA card is seen (see "
            "execution.cpu_if_gpu_fails)."
        ),
    )
    divide_few_spikes: bool = Field(
        True,
        description="Let Kilosort4, on fewer than 16 channels, divide fewer than 1000 spikes around one place into "
        "units; without this it takes them for one.",
    )


class WaveformConfig(Section):
    """How waveforms are cut out around the spikes."""

    ms_before: PositiveFloat = Field(1.0, description="Milliseconds before the spike's sample.")
    ms_after: PositiveFloat = Field(2.0, description="Milliseconds after the spike's sample.")
    max_spikes_per_unit: int = Field(
        500, gt=0, description="Largest number of spikes per unit whose waveforms are kept, chosen at random."
    )
    sparse: bool = Field(True, description="Keep only the channels near each unit; off keeps all channels.")
    radius_um: PositiveFloat = Field(
        100.0, description="Distance in micrometres from a unit's main channel up to which channels are kept."
    )
    seed: int = Field(0, ge=0, description="Seed for the choice of spikes.")

    def samples(self, rate_hz: float) -> tuple[int, int]:
        """Samples of a waveform before the spike's own sample, and from that on, as SpikeInterface rounds them."""
        return int(self.ms_before * rate_hz / 1000), int(self.ms_after * rate_hz / 1000)


class ExecutionConfig(Section):
    """How the work is run on the machine, and how patient and stubborn it is.

    Nothing here changes what a sorter finds, except that a retry after out-of-memory lowers its parameters.
    """

    n_jobs: int = Field(
        -1, ge=-1, description="Number of parallel workers and threads; -1 takes the cores that this process may use."
    )
    chunk_duration_s: PositiveFloat = Field(
        1.0, description="Seconds of recording that each worker reads at a time; bounds the memory."
    )
    isolation: Literal["process", "in_process"] = Field(
        "process",
        description=(
            "Where the sorter runs: in a process of its own, which can be killed and gives all memory back, or inside "
            "the step's."
        ),
    )
    oom_retry_max: int = Field(
        3, ge=0, le=10, description="How often a sort that ran out of memory is tried again with less of it."
    )
    oom_retry_factor: float = Field(
        0.5, gt=0, lt=1, description="Factor by which a retry lowers a parameter that drives memory."
    )
    oom_learn: bool = Field(
        False,
        description=(
            "Whether a sort that succeeded with lowered parameters teaches: later sorts of recordings with the same "
            "channels, rate, sorter and device start from them."
        ),
    )
    oom_lesson_days: PositiveFloat = Field(30.0, description="Days after which what was learned is forgotten.")
    crash_retry_max: int = Field(
        2, ge=0, le=5, description="How often a step or a sorter that was killed or crashed is tried again."
    )
    cpu_if_gpu_fails: bool = Field(
        False,
        description=(
            "Sort on the CPU, with a warning in the result, where sorter.device is auto and the machine's GPU can't be "
            "used; off lets the sort fail, since the CPU takes many times as long."
        ),
    )
    canary_s: PositiveFloat | None = Field(
        None,
        description=(
            "Sort this many seconds from the start first, and stop there if that fails; null sorts everything at once."
        ),
    )
    keep_failed_work: bool = Field(
        False,
        description=(
            "Keep the working folder of a step that failed, for whoever wants to look into it; of one that was killed, "
            "only the logs are kept."
        ),
    )
    resort_curated: bool = Field(
        False,
        description=(
            "Sort a recording again although a person has curated its units; that work stays with the old sorting, "
            "and is not applied to the new one."
        ),
    )
    sorter_inactivity_timeout: bool = Field(
        True, description="Whether a sorter that shows no sign of life (log, CPU, GPU, I/O) for too long is ended."
    )
    sorter_inactivity_base_s: NonNegativeFloat = Field(
        600.0, description="Seconds of silence tolerated for any recording, however short."
    )
    sorter_inactivity_per_min_s: NonNegativeFloat = Field(
        30.0, description="Seconds of silence tolerated on top for each minute of recording."
    )
    sorter_inactivity_max_s: PositiveFloat | None = Field(
        7200.0, description="Longest silence tolerated in seconds; null sets no limit."
    )
    sorter_inactivity_in_process_grace_s: NonNegativeFloat = Field(
        10.0,
        description="Seconds that a silent sorter inside the step's process has to obey before that process is ended.",
    )
    terminate_grace_s: NonNegativeFloat = Field(
        10.0, description="Seconds that a sorter's process has to end by itself before it is killed."
    )
    io_stall_timeout_s: PositiveFloat | None = Field(
        900.0, description="Seconds that a sorter may wait for a disk that does not answer; null does not watch."
    )
    min_free_memory_percent: float | None = Field(
        3.0,
        ge=0,
        lt=100,
        description="The sort is ended when less of the machine's (or container's) memory is free; null: not watched.",
    )
    min_free_disk_gb: NonNegativeFloat | None = Field(
        2.0, description="The sort is ended when less disk, in GB, is free in the store; null does not watch."
    )
    min_gpu_memory_gb: NonNegativeFloat = Field(
        4.0,
        description=(
            "GPUs with less memory, in GB, are not used for sorting where there is one with as much: a card for a "
            "display beside one for computing."
        ),
    )
    max_gpu_memory_percent: float | None = Field(
        None,
        gt=0,
        le=100,
        description=(
            "The sort is ended when more of the GPU's memory is used, by all programs together; null only notes it, "
            "since torch keeps nearly all memory for itself without harm."
        ),
    )
    max_gpu_temperature_c: PositiveFloat | None = Field(
        95.0, description="The sort is ended when the GPU is hotter, in degrees Celsius; null does not watch."
    )

    @model_validator(mode="after")
    def _check_jobs(self) -> "ExecutionConfig":
        if self.n_jobs == 0:
            raise ValueError("n_jobs must be -1 (all cores) or at least 1")
        return self


class SortingPipelineConfig(Section):
    """Everything that decides how one recording is sorted.

    Every sorter backend is built from one of these and reads its parts. It is not to be changed: a change makes a copy.
    """

    recording: RecordingConfig = Field(
        default_factory=RecordingConfig, description="From the raw file to the filtered recording."
    )
    sorter: SorterConfig = Field(default_factory=SorterConfig, description="The sorter and its parameters.")
    waveform: WaveformConfig = Field(default_factory=WaveformConfig, description="Waveforms around the spikes.")
    metrics: MetricsConfig = Field(default_factory=MetricsConfig, description="Quality metrics of the units.")
    curation: CurationConfig = Field(default_factory=CurationConfig, description="Which units are kept.")
    delivery: DeliveryConfig = Field(default_factory=DeliveryConfig, description="Files with the curated units.")
    hybrid: HybridConfig = Field(
        default_factory=HybridConfig, description="Injected units, by which the accuracy of the sorts is measured."
    )
    comparison: ComparisonConfig = Field(
        default_factory=ComparisonConfig, description="With which other sorting a sorting is compared."
    )
    execution: ExecutionConfig = Field(default_factory=ExecutionConfig, description="Use of the machine.")
    resources: ResourcesConfig = Field(
        default_factory=ResourcesConfig, description="What the steps ask of the engine that executes them."
    )
