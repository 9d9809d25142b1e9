"""What each asset leaves in its manifest for its readers: one model per asset, stored as `Manifest.details`.

Only fields that were set are written, so that a field that is not known stays absent. Every field that an older version
of sort_assets did not write has a default here, so that its manifests still load.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

FORMAT_VERSION = "format_version"


class Details(BaseModel):
    """Base of all details; by itself it takes any fields, for assets that declare none.

    Attributes
    ----------
    format_version : int
        Raised when the meaning of a field changes. Manifests without it have version 1.
    """

    model_config = ConfigDict(frozen=True, extra="allow", defer_build=True)

    newest_format: ClassVar[int] = 1
    """The newest version that this code can read, and the one that it writes."""

    format_version: int = 1

    @field_validator(FORMAT_VERSION)
    @classmethod
    def _is_known(cls, version: int) -> int:
        if version > cls.newest_format:
            raise ValueError(f"format {version} was written by a newer version of sort_assets")
        return version

    @classmethod
    def parse(cls, stored: object) -> Self | None:
        """The details in a manifest that was read unchecked; None when they can't be understood."""
        try:
            return cls.model_validate(stored)
        except ValidationError:
            return None

    def to_json(self) -> dict[str, Any]:
        """As the manifest stores them: the format's version, and the fields that were set."""
        return {FORMAT_VERSION: self.newest_format, **self.model_dump(mode="json", exclude_unset=True)}


class StoredCheck(BaseModel):
    """The result of an asset check, for the report.

    Attributes
    ----------
    name : str
    passed : bool
    severity : str
        "WARN" or "ERROR".
    description : str or None
    """

    model_config = ConfigDict(frozen=True, defer_build=True)

    name: str
    passed: bool
    severity: str
    description: str | None = None


class AssetDetails(Details):
    """Details of an asset of the pipeline.

    Attributes
    ----------
    checks : tuple of StoredCheck
        The results of its asset checks.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    checks: tuple[StoredCheck, ...] = ()


class RecordingDetails(AssetDetails):
    """Of `preprocessed_recording`.

    Attributes
    ----------
    raw_path : str
        Relative to the recordings root.
    fingerprint : str
        Of the raw recording.
    probe_fingerprint : str or None
        Of its probe file, where one was configured.
    frozen_config : dict
        The configuration with which the recording is opened again: nothing is left to estimate.
    channels : int or None
        How many are left.
    sampling_hz : float or None
    median_noise_uv : float or None
        Median over channels.
    clock_start_s : float or None
        Time of the raw recording's first sample on its own clock, also of samples that `recording.start_s` leaves out.
    begins_in_file_s : float or None
        Where `recording.start_s` leads beyond the first file of several: how far into its file the first sample is.
    missing_parts : tuple of str
        What the recording lacks, in sentences; empty where it is whole.
    clock_doubts : tuple of str
        What is doubtful about its times, in sentences.
    """

    raw_path: str
    fingerprint: str
    probe_fingerprint: str | None = None
    frozen_config: Mapping[str, Any]
    channels: int | None = None
    sampling_hz: float | None = None
    median_noise_uv: float | None = None
    clock_start_s: float | None = None
    begins_in_file_s: float | None = None
    missing_parts: tuple[str, ...] = ()
    clock_doubts: tuple[str, ...] = ()


class BinaryDetails(AssetDetails):
    """Of `binary_dat`.

    Attributes
    ----------
    dat_files : dict
        By group, the file's path within the artefact; empty when the sorter reads the recording itself.
    """

    dat_files: Mapping[str, str]


class SortingDetails(AssetDetails):
    """Of `sorting`.

    Attributes
    ----------
    num_units, num_spikes : int
    excess_spikes : int
        Spikes beyond the end of the recording, which were left out.
    duration_s : float
        Length of what was sorted.
    start_time_s : float
        The time of the recording's first sample.
    clock : dict or None
        The time of each sample, as `Clock.to_dict` gives it; None in sortings that were made before there were clocks.
    device : str
        Name of the GPU, or "CPU".
    effective_params : dict
        By group, the parameters that the sorter really ran with.
    chosen_by_shape : dict
        By group, the sorter's parameters that nobody set and the recording's shape decided, and whether the sorter was
        given the recording with a common reference: of each its `value` and the `reason`. Absent where a sort was made
        before the shape decided anything.
    unsortable : str or None
        Why there was nothing to sort.
    unsortable_groups : dict
        The same by group of channels.
    missed_groups : dict
        By group of channels that has spikes of which the sorter found none, while other groups have units: what
        happened, with the likely causes.
    degraded : bool
        Whether memory ran out, so that the sorter ran with parameters that change its result, the recording is not
        whole, or the spikes of a group were missed.
    missing_parts : tuple of str
        What the recording lacks, in sentences.
    scaled : dict
        Fields that were scaled, each with the configured value and the one that ran.
    failed_attempts : tuple of dict
        The failures of the attempts before, as `SortAssetsError.to_dict` gives them.
    lesson : str or None
        The sorting whose memory profile set the parameters.
    """

    num_units: int
    num_spikes: int
    excess_spikes: int = 0
    duration_s: float
    start_time_s: float
    clock: Mapping[str, Any] | None = None
    device: str
    effective_params: Mapping[str, Mapping[str, Any]] = Field(default_factory=dict)
    chosen_by_shape: Mapping[str, Mapping[str, Mapping[str, Any]]] = Field(default_factory=dict)
    unsortable: str | None = None
    unsortable_groups: Mapping[str, str] = Field(default_factory=dict)
    missed_groups: Mapping[str, str] = Field(default_factory=dict)
    degraded: bool = False
    missing_parts: tuple[str, ...] = ()
    scaled: Mapping[str, Any] = Field(default_factory=dict)
    failed_attempts: tuple[Mapping[str, Any], ...] = ()
    lesson: str | None = None


class WaveformsDetails(AssetDetails):
    """Of `waveforms`.

    Attributes
    ----------
    num_units : int
    failed_extensions : dict
        Why extensions of the analyzer could not be computed, by name.
    """

    num_units: int
    failed_extensions: Mapping[str, str] = Field(default_factory=dict)


class MetricsDetails(AssetDetails):
    """Of `unit_metrics`.

    Attributes
    ----------
    num_units, channels : int
    medians : dict
        Medians over units, by metric; None where no unit has the metric.
    failed : dict
        Why metrics could not be computed, by name.
    """

    num_units: int
    channels: int
    medians: Mapping[str, float | None]
    failed: Mapping[str, str]


class CurationDetails(AssetDetails):
    """Of `curated_units`.

    Attributes
    ----------
    num_units, num_kept : int
    labels : dict
        How many units have each label.
    rejected_by : dict
        How many units fail each criterion.
    notes, suggestions : tuple of str
    person : str or None
        Whose manual curation was applied.
    persons_work_not_applied : str or None
        Why a manual curation was not applied.
    """

    num_units: int
    num_kept: int
    labels: Mapping[str, int] = Field(default_factory=dict)
    rejected_by: Mapping[str, int] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    suggestions: tuple[str, ...] = ()
    person: str | None = None
    persons_work_not_applied: str | None = None


class ReportDetails(AssetDetails):
    """Of `sorting_report`.

    Attributes
    ----------
    attention : int
        How many points need attention.
    figures_left_out : dict
        Why figures were left out, by title.
    """

    attention: int
    figures_left_out: Mapping[str, str] = Field(default_factory=dict)


class DeliveryDetails(AssetDetails):
    """Of `spike_data`.

    Attributes
    ----------
    files : tuple of str
        Paths within the artefact.
    absent : tuple of str
        What archives require and is not known.
    """

    files: tuple[str, ...]
    absent: tuple[str, ...] = ()


class ManualCurationDetails(Details):
    """Of `manual_curation`.

    Attributes
    ----------
    user : str or None
        Who decided; None when the person went back to the automatic curation.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    user: str | None


class SummaryDetails(Details):
    """Of `units_across_recordings`: counts over all recordings."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    recordings: int
    sorted_recordings: int
    units_found: int
    units_kept: int
    unsortable_recordings: int
    degraded_recordings: int
    failing_recordings: int
    recordings_with_failed_checks: int = 0
