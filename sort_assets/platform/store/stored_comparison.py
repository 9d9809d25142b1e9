"""The handle of `sorting_comparison`: what became of the units of one sorting in another one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sort_assets.platform.store.details import AssetDetails
from sort_assets.platform.store.handles import Handle, StoredSorting
from sort_assets.platform.store.layout import FIGURES, REPORT_FILE

if TYPE_CHECKING:
    import pandas as pd

PAIRS_FILE: Final = "unit_pairs.parquet"


class ComparisonDetails(AssetDetails):
    """Of `sorting_comparison`.

    Attributes
    ----------
    baseline : str
        What was asked for: before, a version, another asset, ground_truth, or a path.
    baseline_kind : str
        The asset that the baseline is of, ground_truth, or folder.
    baseline_name, name : str
        The two sortings, in words.
    version, data_version : str
        The version of `sorting` that was compared, and the hash of its content.
    baseline_version : str or None
        The version of the baseline's asset, where it is of one.
    headline : str
        The result in a sentence.
    units_before, units_now, persisting : int
        Units of the baseline, of the sorting, and of the baseline's those that are still there.
    kept_before, kept_persisting : int
        The same of the units that curation had kept; of all, where the baseline was not curated.
    counts : dict
        Units by what became of them.
    median_agreement : float or None
        Over the units of the baseline.
    """

    baseline: str
    baseline_kind: str
    baseline_name: str
    name: str
    version: str
    data_version: str
    baseline_version: str | None = None
    headline: str
    units_before: int
    units_now: int
    persisting: int
    kept_before: int
    kept_persisting: int
    counts: Mapping[str, int]
    median_agreement: float | None = None

    @property
    def share(self) -> float | None:
        """Share of the kept units that are still there; None where there were none."""
        return self.kept_persisting / self.kept_before if self.kept_before else None


class StoredComparison(Handle[ComparisonDetails]):
    """A sorting of a recording against another one of the same recording."""

    asset = "sorting_comparison"
    details_model = ComparisonDetails

    @property
    def sorting(self) -> StoredSorting:
        """The very version that was compared."""
        return StoredSorting(self.roots, self.recording, self.details.version)

    @property
    def page(self) -> Path:
        """The HTML page."""
        return self.path / FIGURES / REPORT_FILE

    def load(self) -> pd.DataFrame:
        """One row for each pair of units that belong together, and for each unit that is lost or new."""
        import pandas as pd

        return pd.read_parquet(self.path / PAIRS_FILE)
