"""Light handles that assets pass to each other; each opens the SpikeInterface object on demand, memory-mapped.

A handle names a recording, an asset and a version. It reads nothing until it is asked to, so that what is wrong with
an artefact is reported inside the step that uses it.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, cast

from sort_assets.config import CurationConfig, SortingPipelineConfig, WaveformConfig
from sort_assets.config.settings import Roots
from sort_assets.errors import MissingArtefactError, RecordingError, SortAssetsError
from sort_assets.platform.store.details import (
    BinaryDetails,
    CurationDetails,
    DeliveryDetails,
    Details,
    ManualCurationDetails,
    MetricsDetails,
    RecordingDetails,
    ReportDetails,
    SortingDetails,
    WaveformsDetails,
)
from sort_assets.platform.store.layout import (
    ANALYZER_FOLDER,
    DECISIONS_FILE,
    HISTORY_FILE,
    MANUAL_FILE,
    METRICS_FILE,
    REPORT_FILE,
    SORTING_FOLDER,
    SUGGESTED_MERGES_FILE,
)
from sort_assets.platform.store.manifest import DetailsT, InputVersion, Manifest
from sort_assets.platform.store.store import Artefact, Store

if TYPE_CHECKING:
    import pandas as pd
    from spikeinterface.core import BaseRecording, BaseSorting, SortingAnalyzer

    from sort_assets.curation.history import CurationHistory, UnitId
    from sort_assets.curation.manual import ManualCuration
    from sort_assets.recordings.clock import Clock

UNGROUPED = ""
"""Name of the only group of a recording that is not split."""


@dataclass(frozen=True)
class Handle(Generic[DetailsT]):
    """A version of an asset of a recording.

    Parameters
    ----------
    roots : Roots
        Where recordings and artefacts are.
    recording : str
        The recording's key.
    version : str or None
        The store's version; None is the current one, decided when the handle is first used.
    """

    roots: Roots
    recording: str
    version: str | None = None

    asset: ClassVar[str]
    details_model: ClassVar[type[Details]] = Details

    @cached_property
    def artefact(self) -> Artefact:
        """The published artefact, checked against its manifest.

        Raises
        ------
        MissingArtefactError, DamagedArtefactError
        """
        return Store(self.roots.store).artefact(self.recording, self.asset, self.version)

    @property
    def path(self) -> Path:
        """The artefact's folder."""
        return self.artefact.path

    @property
    def manifest(self) -> Manifest:
        """How the artefact was made."""
        return self.artefact.manifest

    @cached_property
    def details(self) -> DetailsT:
        """What the asset that wrote the artefact left for its readers.

        Raises
        ------
        DamagedArtefactError
            When this version of sort_assets does not understand them.
        """
        return cast(DetailsT, self.manifest.details_as(self.details_model))

    @property
    def input_version(self) -> InputVersion:
        """What a manifest that read this artefact names."""
        return InputVersion(version=self.manifest.version, data_version=self.manifest.data_version)

    def upstream_version(self, asset: str) -> str:
        """The version of an upstream asset that this artefact was made from."""
        return self._lineage.inputs[asset].version

    @property
    def _lineage(self) -> Manifest:
        """The manifest, also of a version of which retention kept nothing else: what was made of it stays loadable."""
        try:
            return self.manifest
        except MissingArtefactError:
            removed = Store(self.roots.store).removed_manifest(self.recording, self.asset, self.version)
            if removed is None:
                raise
            return removed


class StoredRecording(Handle[RecordingDetails]):
    """The preprocessed recording: not its samples, but how to open and prepare the raw file again."""

    asset = "preprocessed_recording"
    details_model = RecordingDetails

    @property
    def config(self) -> SortingPipelineConfig:
        """The configuration with which it is opened: nothing is left to estimate from the data."""
        return SortingPipelineConfig.model_validate(self.details.frozen_config)

    @property
    def raw_path(self) -> Path:
        """The raw recording's file or folder."""
        return self.roots.recordings / self.details.raw_path

    def load(self, *, steps: Mapping[str, Any] | None = None) -> BaseRecording:
        """The filtered recording in microvolts, lazily.

        Parameters
        ----------
        steps : Mapping or None
            Other steps of preprocessing in place of the recording's own, with their parameters.

        Raises
        ------
        RecordingError
            When the raw file or its probe file can't be opened, or is not the one that was preprocessed.
        """
        from sort_assets.backends import create_backend
        from sort_assets.recordings.fingerprint import fingerprint
        from sort_assets.recordings.probe_files import probe_file_of, probe_fingerprint

        raw_path, asked = self.raw_path, self.config.recording
        if raw_path.exists() and fingerprint(raw_path) != self.details.fingerprint:
            raise _changed(raw_path)
        if probe_fingerprint(raw_path, asked.probe_file, asked.stream) != self.details.probe_fingerprint:
            raise _changed(probe_file_of(raw_path, asked.probe_file, asked.stream) or Path(str(asked.probe_file)))

        config = self.config
        if steps is not None:
            changed = config.recording.model_copy(update={"preprocessing": dict(steps)})
            config = config.model_copy(update={"recording": changed})
        backend = create_backend(config)
        backend.frozen_folder = self.path
        return backend.load_recording(raw_path)


def _changed(path: Path) -> RecordingError:
    return RecordingError(
        f"'{path}' has changed since it was preprocessed.",
        remedy="Materialize preprocessed_recording again, and what depends on it.",
    )


class StoredBinary(Handle[BinaryDetails]):
    """The `.dat`, one per group when the recording is split; none when the sorter needs none."""

    asset = "binary_dat"
    details_model = BinaryDetails

    @property
    def preprocessed_recording(self) -> StoredRecording:
        """The very version that was written."""
        return StoredRecording(self.roots, self.recording, self.upstream_version(StoredRecording.asset))

    @property
    def dat_paths(self) -> dict[str, Path]:
        """The files by group; the only file of a recording that is not split stands under ``""``."""
        return {group: self.path / name for group, name in self.details.dat_files.items()}

    def load_groups(self) -> dict[str, BaseRecording]:
        """The memory-mapped recordings by group."""
        from sort_assets.recordings.dat_file import read_dat

        return {group: read_dat(path) for group, path in self.dat_paths.items()}

    def load(self) -> BaseRecording:
        """The memory-mapped recording; groups are brought together again as channels of one recording.

        Raises
        ------
        LookupError
            When the sorter needed no `.dat`.
        """
        from sort_assets.recordings import aggregate_recordings

        groups = self.load_groups()
        if not groups:
            raise LookupError(f"'{self.recording}' has no .dat: its sorter reads the recording itself.")
        return groups[UNGROUPED] if set(groups) == {UNGROUPED} else aggregate_recordings(groups)


class StoredSorting(Handle[SortingDetails]):
    """Spike trains."""

    asset = "sorting"
    details_model = SortingDetails

    @property
    def binary_dat(self) -> StoredBinary:
        """The very version that was sorted."""
        return StoredBinary(self.roots, self.recording, self.upstream_version(StoredBinary.asset))

    def load_recording(self) -> BaseRecording:
        """The recording that was sorted: the memory-mapped `.dat`, or the lazy recording where there is none."""
        binary = self.binary_dat
        return binary.load() if binary.dat_paths else binary.preprocessed_recording.load()

    @staticmethod
    def write(sorting: BaseSorting, folder: Path) -> None:
        """Write a sorting into an artefact, in SpikeInterface's own format.

        Unit properties that are Python objects become text: numpy could store them only as pickles.
        """
        for name in sorting.get_property_keys():
            values = sorting.get_property(name)
            if values.dtype == object:
                sorting.set_property(name, values.astype(str))
        with warnings.catch_warnings():
            # That neither the sorter's folder nor the recording can be found from it; our manifest names both.
            warnings.filterwarnings("ignore", module="spikeinterface")
            sorting.save(folder=folder / SORTING_FOLDER, format="numpy_folder")

    def load(self) -> BaseSorting:
        """The sorting, memory-mapped, with its unit properties, and with times that begin where the recording's do.

        Raises
        ------
        UnreadableRecordingError
            When somebody put pickled data among the properties.
        """
        sorting = read_sorting(self.path)
        self.set_times(sorting)
        self.mark_joins(sorting)
        return sorting

    @property
    def clock(self) -> Clock | None:
        """The time of each sample; None in sortings that were made before there were clocks."""
        from sort_assets.recordings.clock import Clock

        stored = self.details.clock
        return None if stored is None else Clock.from_dict(dict(stored))

    def set_times(self, sorting: BaseSorting) -> None:
        """Give the units of this sorting the times of the recording."""
        clock = self.clock
        if clock is None:
            sorting.shift_times(self.details.start_time_s)
            return
        timeline = clock.timeline()
        if timeline.is_plain:
            sorting.shift_times(timeline.start_time_s)
        else:
            from sort_assets.recordings.times import TimesRecording

            sorting.register_recording(TimesRecording(timeline), check_spike_frames=False)

    @property
    def waveform_config(self) -> WaveformConfig:
        """How long waveforms were configured to be."""
        return WaveformConfig.model_validate(self.manifest.config["waveform"])

    def mark_joins(self, sorting: BaseSorting) -> None:
        """Annotate units of this sorting with their spikes at joins: "spikes_at_joins", positions by unit."""
        from sort_assets.recordings.joins import annotate_spikes_at_joins

        joins = () if self.clock is None else self.clock.joins
        annotate_spikes_at_joins(sorting, joins, *self.waveform_config.samples(float(sorting.sampling_frequency)))


def read_sorting(folder: Path) -> BaseSorting:
    """The sorting that `StoredSorting.write` put into an artefact, memory-mapped; its times begin at 0.

    Raises
    ------
    UnreadableRecordingError
        When somebody put pickled data among the properties.
    """
    from spikeinterface.core import NumpyFolderSorting

    from sort_assets.recordings import refuse_pickles

    refuse_pickles(folder / SORTING_FOLDER)
    return NumpyFolderSorting(folder / SORTING_FOLDER)


def read_analyzer(folder: Path, recording: BaseRecording | None) -> SortingAnalyzer:
    """The analyzer in an artefact. What is computed with it stays in memory; `save_as` keeps it.

    Parameters
    ----------
    folder : Path
        The artefact's.
    recording : BaseRecording or None
        Of which it was made; None where that is gone.

    Raises
    ------
    UnreadableRecordingError
        When somebody put pickled data into the folder.
    """
    from spikeinterface.core import SortingAnalyzer
    from spikeinterface.core.sortinganalyzer import get_extension_class

    from sort_assets.metrics.compiled import keep_spike_trains_compiled
    from sort_assets.recordings import refuse_pickles

    keep_spike_trains_compiled()
    refuse_pickles(folder / ANALYZER_FOLDER)
    analyzer = SortingAnalyzer.load_from_binary_folder(folder / ANALYZER_FOLDER, recording=recording)
    for name in analyzer.get_saved_extension_names():
        # Waveforms of many units do not fit into memory; SpikeInterface's lazy mode, which leaves everything in its
        # file, does not go with the format below.
        loaded = get_extension_class(name).load(analyzer, lazy=name == "waveforms")
        if loaded is not None:
            analyzer.extensions[name] = loaded
    # Otherwise computing an extension would overwrite the published one; SpikeInterface's own read_only mode does so
    # for waveforms (0.105.3).
    analyzer.format, analyzer.folder = "memory", None
    return analyzer


class StoredAnalyzer(Handle[WaveformsDetails]):
    """Waveforms and templates, as a SpikeInterface `SortingAnalyzer`."""

    asset = "waveforms"
    details_model = WaveformsDetails

    @property
    def waveform_config(self) -> WaveformConfig:
        """How the waveforms were cut out."""
        return WaveformConfig.model_validate(self._lineage.config["waveform"])

    @property
    def sorting(self) -> StoredSorting:
        """The very version whose units these are."""
        return StoredSorting(self.roots, self.recording, self.upstream_version(StoredSorting.asset))

    def load(self) -> SortingAnalyzer:
        """The analyzer, with its recording when that is still there.

        What is computed with it stays in memory; `save_as` keeps it.

        Raises
        ------
        UnreadableRecordingError
            When somebody put pickled data into the folder.
        """
        try:
            recording = self.sorting.load_recording()
        except SortAssetsError:
            recording = None
        return read_analyzer(self.path, recording)


class StoredMetrics(Handle[MetricsDetails]):
    """The quality metrics of the sorted units."""

    asset = "unit_metrics"
    details_model = MetricsDetails

    @property
    def waveforms(self) -> StoredAnalyzer:
        """The very version of which they are."""
        return StoredAnalyzer(self.roots, self.recording, self.upstream_version(StoredAnalyzer.asset))

    @property
    def failed(self) -> dict[str, str]:
        """Why metrics could not be computed, by metric."""
        return dict(self.details.failed)

    def load(self) -> pd.DataFrame:
        """The table, one row per unit; its columns are declared in `sort_assets.metrics.columns`."""
        from sort_assets.metrics.tables import read_table

        return read_table(self.path / METRICS_FILE)


class StoredManualCuration(Handle[ManualCurationDetails]):
    """What a person decided of a recording's units, imported with `sort-assets import-curation`."""

    asset = "manual_curation"
    details_model = ManualCurationDetails

    def load(self) -> ManualCuration | None:
        """The decisions; None when the person went back to the automatic curation."""
        from sort_assets.curation.manual import ManualCuration

        path = self.path / MANUAL_FILE
        return ManualCuration.model_validate_json(path.read_text(encoding="utf-8")) if path.is_file() else None


class StoredCuration(Handle[CurationDetails]):
    """Which units are kept and why; merges and splits are applied."""

    asset = "curated_units"
    details_model = CurationDetails

    @property
    def unit_metrics(self) -> StoredMetrics:
        """The very version on which it was decided."""
        return StoredMetrics(self.roots, self.recording, self.upstream_version(StoredMetrics.asset))

    @property
    def sorting(self) -> StoredSorting:
        """The very version that was curated."""
        return self.unit_metrics.waveforms.sorting

    @cached_property
    def history(self) -> CurationHistory:
        """The steps, which `sort_assets.curation.history.replay` takes again."""
        from sort_assets.curation.history import CurationHistory

        return CurationHistory.model_validate_json((self.path / HISTORY_FILE).read_text(encoding="utf-8"))

    def suggested_merges(self) -> list[list[UnitId]]:
        """Groups of units that may be one, on which nobody has decided; none in older versions."""
        path = self.path / SUGGESTED_MERGES_FILE
        if not path.exists():
            return []
        return [merge["unit_ids"] for merge in json.loads(path.read_text(encoding="utf-8"))["merges"]]

    @property
    def config(self) -> CurationConfig:
        """By which it was decided."""
        return CurationConfig.model_validate(self.manifest.config["curation"])

    def decisions(self) -> pd.DataFrame:
        """Label, reason and each criterion's value and verdict, of all units after merges and splits."""
        from sort_assets.metrics.tables import read_table

        return read_table(self.path / DECISIONS_FILE)

    def metrics(self) -> pd.DataFrame:
        """The metrics of all units after merges and splits."""
        from sort_assets.metrics.tables import read_table

        return read_table(self.path / METRICS_FILE)

    def table(self) -> pd.DataFrame:
        """Metrics and decisions side by side."""
        metrics, decisions = self.metrics(), self.decisions()
        return metrics.join(decisions[[name for name in decisions.columns if name not in metrics.columns]])

    def load(self) -> BaseSorting:
        """The units that are kept, memory-mapped, with label and reason as properties, on the recording's times.

        Raises
        ------
        UnreadableRecordingError
            When somebody put pickled data among the properties.
        """
        sorting = read_sorting(self.path)
        kept = sorting.select_units(sorting.unit_ids[self.decisions()["kept"].to_numpy(bool)])
        self.sorting.set_times(kept)
        self.sorting.mark_joins(kept)
        return kept

    def load_analyzer(self, *, job_kwargs: Mapping[str, Any] | None = None) -> SortingAnalyzer:
        """Waveforms and templates of all units after merges and splits, in memory."""
        from sort_assets.curation.history import replay

        return replay(self.unit_metrics.waveforms.load(), self.history, job_kwargs=dict(job_kwargs or {}))


class StoredDelivery(Handle[DeliveryDetails]):
    """The curated units in the forms that analyses read."""

    asset = "spike_data"
    details_model = DeliveryDetails

    @property
    def curated_units(self) -> StoredCuration:
        """The very version that was delivered."""
        return StoredCuration(self.roots, self.recording, self.upstream_version(StoredCuration.asset))

    def load(self) -> dict[str, Path]:
        """The delivered files and folders by their names."""
        return {name: self.path / name for name in self.details.files}


class StoredReport(Handle[ReportDetails]):
    """The report of a recording: one HTML page."""

    asset = "sorting_report"
    details_model = ReportDetails

    def load(self) -> Path:
        """The page, which any browser opens."""
        from sort_assets.platform.store.layout import FIGURES

        return self.path / FIGURES / REPORT_FILE
