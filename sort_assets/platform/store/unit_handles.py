"""Handles on what is made of the units after the sort: metrics, curation, delivery, report."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sort_assets.config import CurationConfig
from sort_assets.platform.store.details import (
    CurationDetails,
    DeliveryDetails,
    ManualCurationDetails,
    MetricsDetails,
    ReportDetails,
)
from sort_assets.platform.store.handles import Handle, StoredAnalyzer, StoredSorting, read_sorting
from sort_assets.platform.store.layout import DECISIONS_FILE, HISTORY_FILE, MANUAL_FILE, METRICS_FILE, REPORT_FILE

if TYPE_CHECKING:
    import pandas as pd
    from spikeinterface.core import BaseSorting, SortingAnalyzer

    from sort_assets.curation.history import CurationHistory
    from sort_assets.curation.manual import ManualCuration


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
        kept.shift_times(self.sorting.details.start_time_s)
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
