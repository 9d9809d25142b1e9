"""Handles on sortings of a recording with another sorter or other parameters."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from sort_assets.config.variant_names import UNITS_SUFFIX
from sort_assets.platform.store.details import AssetDetails, SortingDetails
from sort_assets.platform.store.handles import Handle, StoredBinary, read_analyzer, read_sorting
from sort_assets.platform.store.layout import DECISIONS_FILE, FIGURES, METRICS_FILE, REPORT_FILE

if TYPE_CHECKING:
    import pandas as pd
    from spikeinterface.core import BaseSorting, SortingAnalyzer

    from sort_assets.hybrid.accuracy import UnitAccuracy

CONSENSUS_FILE: Final = "consensus.parquet"
VARIANTS_FILE: Final = "variants.parquet"


class VariantDetails(SortingDetails):
    """Of a variant's sorting.

    Attributes
    ----------
    differs : str
        In what the sorting differs from the recording's own, in words.
    hybrid_version : str or None
        The version of `hybrid_recording` that was sorted in the same way, by which the variant is judged.
    injected_units : tuple of dict
        What became of the units injected there, as `UnitAccuracy.to_dict` gives it.
    """

    differs: str
    hybrid_version: str | None = None
    injected_units: tuple[Mapping[str, Any], ...] = ()

    @property
    def accuracy(self) -> list[UnitAccuracy]:
        """What became of each injected unit."""
        from sort_assets.hybrid.accuracy import UnitAccuracy

        return [UnitAccuracy(**values) for values in self.injected_units]


class StoredVariant(Handle[VariantDetails]):
    """Spike trains that a variant found in the recording's `.dat`; `asset` names it."""

    asset: ClassVar[str] = "variant"
    details_model = VariantDetails

    @property
    def binary_dat(self) -> StoredBinary:
        """The very version that was sorted."""
        return StoredBinary(self.roots, self.recording, self.upstream_version(StoredBinary.asset))

    def load(self) -> BaseSorting:
        """The sorting, in samples of the `.dat`, memory-mapped.

        Raises
        ------
        UnreadableRecordingError
            When somebody put pickled data among the properties.
        """
        return read_sorting(self.path)


class VariantUnitsDetails(AssetDetails):
    """Of what is known of a variant's units.

    Attributes
    ----------
    num_units : int
    num_kept : int
        Those that pass the recording's own criteria of curation.
    """

    num_units: int
    num_kept: int


class StoredVariantUnits(Handle[VariantUnitsDetails]):
    """Waveforms, metrics and decisions of the units of a variant; `asset` names it."""

    asset: ClassVar[str] = "variant_units"
    details_model = VariantUnitsDetails

    @property
    def variant(self) -> StoredVariant:
        """The very version whose units these are."""
        asset = self.asset.removesuffix(UNITS_SUFFIX)
        return variant_handle(asset)(self.roots, self.recording, self.upstream_version(asset))

    def load(self) -> pd.DataFrame:
        """One row per unit, as `unit_metrics` has it."""
        from sort_assets.metrics.tables import read_table

        return read_table(self.path / METRICS_FILE)

    def load_analyzer(self) -> SortingAnalyzer:
        """The waveforms and templates, without the recording.

        Raises
        ------
        UnreadableRecordingError
            When somebody put pickled data into the folder.
        """
        return read_analyzer(self.path, None)

    def decisions(self) -> pd.DataFrame:
        """Of each unit, whether it passes the recording's criteria, and why not."""
        from sort_assets.metrics.tables import read_table

        return read_table(self.path / DECISIONS_FILE)


@cache
def variant_handle(asset: str) -> type[StoredVariant]:
    """The handle of a variant's asset.

    Parameters
    ----------
    asset : str
        Its name, as `Variant.asset` has it.
    """
    return type("StoredVariant", (StoredVariant,), {"asset": asset, "__doc__": StoredVariant.__doc__})


@cache
def variant_units_handle(asset: str) -> type[StoredVariantUnits]:
    """The handle of the units of a variant.

    Parameters
    ----------
    asset : str
        Its name, as `Variant.units_asset` has it.
    """
    return type("StoredVariantUnits", (StoredVariantUnits,), {"asset": asset, "__doc__": StoredVariantUnits.__doc__})


class ComparedVariantsDetails(AssetDetails):
    """Of `sorting_variants`.

    Attributes
    ----------
    versions : dict
        By asset, the versions that were compared: `sorting`, and the variants' sortings.
    at_least : int
        How many sortings must have a unit of the consensus.
    num_consensus : int
        Units that as many have.
    """

    versions: Mapping[str, str]
    at_least: int
    num_consensus: int


class StoredComparedVariants(Handle[ComparedVariantsDetails]):
    """A recording's own sorting and its variants side by side, and the units on which they agree."""

    asset = "sorting_variants"
    details_model = ComparedVariantsDetails

    @property
    def page(self) -> Path:
        """The HTML page."""
        return self.path / FIGURES / REPORT_FILE

    def load(self) -> BaseSorting:
        """The consensus: of each unit on which enough sortings agree, the spikes that enough of them have.

        Raises
        ------
        UnreadableRecordingError
            When somebody put pickled data among the properties.
        """
        return read_sorting(self.path)

    def consensus_table(self) -> pd.DataFrame:
        """One row per unit of the consensus, with the unit of each sorting."""
        import pandas as pd

        return pd.read_parquet(self.path / CONSENSUS_FILE)

    def variants_table(self) -> pd.DataFrame:
        """One row per sorting."""
        import pandas as pd

        return pd.read_parquet(self.path / VARIANTS_FILE)
