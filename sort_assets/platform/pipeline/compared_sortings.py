"""The sortings that a comparison is about: which they are, and all that is known of their units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sort_assets.config.comparison import BEFORE, GROUND_TRUTH
from sort_assets.errors import ComparisonError, MissingArtefactError, SortAssetsError
from sort_assets.platform.store.handles import (
    Handle,
    StoredAnalyzer,
    StoredCuration,
    StoredMetrics,
    StoredSorting,
    read_sorting,
)
from sort_assets.platform.store.layout import SORTING_FOLDER
from sort_assets.platform.store.manifest import Manifest
from sort_assets.platform.store.store import Store

if TYPE_CHECKING:
    from spikeinterface.core import BaseSorting, SortingAnalyzer

    from sort_assets.comparisons.sortings import ComparedSorting, SortingComparison

_SECTIONS = ("recording", "sorter")
"""Sections of the configuration that decide what a sorter finds."""


@dataclass(frozen=True)
class Compared:
    """A sorting that is compared.

    Attributes
    ----------
    name : str
        In words.
    units : ComparedSorting
    kind : str
        The asset that it is of, `GROUND_TRUTH`, or "folder".
    kept : frozenset of str or None
        Units that curation kept; None where it was not curated.
    manifest : Manifest or None
        Of the artefact, where it is one of the store.
    pitch_um : float or None
        Distance between the contacts.
    settings : mapping
        What may explain a difference: settings and versions of packages, by name.
    """

    name: str
    units: ComparedSorting
    kept: frozenset[str] | None = None
    kind: str = StoredSorting.asset
    manifest: Manifest | None = None
    pitch_um: float | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ComparedPair:
    """Two sortings of a recording, and what became of the units.

    Attributes
    ----------
    old, new : Compared
    found : SortingComparison
    """

    old: Compared
    new: Compared
    found: SortingComparison

    @property
    def judged(self) -> frozenset[str]:
        """The old units by which a sorting is judged: those that curation had kept, or all where it was not curated."""
        units = frozenset(self.found.old_fates)
        return units if self.old.kept is None else units & self.old.kept

    @property
    def judged_words(self) -> str:
        """What these are, in words."""
        return "units" if self.old.kept is None else "units that curation had kept"

    @property
    def judged_persisting(self) -> int:
        """How many of these are still there."""
        return len(self.judged.intersection(self.found.persisting))

    @property
    def differing_settings(self) -> list[tuple[str, str, str]]:
        """Settings and versions that differ: name, before, now; what only one side knows is a dash."""
        old, new = self.old.settings, self.new.settings
        sides = [(name, old.get(name, "–"), new.get(name, "–")) for name in dict.fromkeys([*old, *new])]
        return [(name, before, now) for name, before, now in sides if before != now]


def sorting_before(store: Store, recording: str, version: str) -> str | None:
    """The newest version of a recording's sorting that is older than another one and still in the store."""
    older = [each for each in store.versions(recording, StoredSorting.asset) if each < version]
    return older[-1] if older else None


def open_sorting(roots: Any, recording: str, version: str | None = None) -> Compared:
    """A version of a recording's sorting, with what was made of it: metrics, templates, and which units were kept.

    Parameters
    ----------
    roots : Roots
    recording : str
        The recording's key.
    version : str or None
        None is the current one.

    Raises
    ------
    MissingArtefactError
        When there is no such version, or retention removed it.
    """
    from sort_assets.comparisons.sortings import ComparedSorting

    stored = StoredSorting(roots, recording, version)
    manifest, details = stored.manifest, stored.details
    metrics = _made_of(stored, StoredMetrics)
    analyzer = _analyzer(_made_of(stored, StoredAnalyzer))
    curated = _made_of(stored, StoredCuration)
    sorter = manifest.config.get("sorter", {}).get("name", "sorter")
    return Compared(
        name=f"{sorter}, sorted {manifest.created:%Y-%m-%d %H:%M} UTC",
        units=ComparedSorting(
            stored.load(), details.duration_s, None if metrics is None else metrics.load(), analyzer=analyzer
        ),
        kept=None if curated is None else frozenset(_kept_units(curated)),
        manifest=manifest,
        pitch_um=_pitch_um(analyzer),
        settings=settings_of(manifest),
    )


def open_baseline(sorting: StoredSorting, baseline: str) -> Compared:
    """What a sorting is compared with.

    Parameters
    ----------
    sorting : StoredSorting
        The one that is compared.
    baseline : str
        As `ComparisonConfig.baseline` describes it.

    Raises
    ------
    ComparisonError
        When there is no such baseline.
    MissingArtefactError
        When the store does not have it, or not any more.
    """
    roots, recording = sorting.roots, sorting.recording
    store = Store(roots.store)
    if baseline == BEFORE:
        version = sorting_before(store, recording, sorting.manifest.version)
        if version is None:
            raise ComparisonError(
                f"The store has no earlier sorting of '{recording}': it was sorted once, or retention removed the "
                "others.",
                remedy="Sort it again, or name another baseline: comparison.baseline.",
            )
        return open_sorting(roots, recording, version)
    if baseline == GROUND_TRUTH:
        return _ground_truth(sorting)
    if Path(baseline).is_absolute():
        return _of_folder(sorting, Path(baseline))
    if "/" not in baseline and (store.asset_folder(recording, StoredSorting.asset) / baseline).is_dir():
        return open_sorting(roots, recording, baseline)
    asset, _, version = baseline.partition("@")
    if asset == StoredSorting.asset:
        return open_sorting(roots, recording, version or None)
    if asset in store.assets(recording):
        return _of_asset(sorting, asset, version or None)
    versions = ", ".join(store.versions(recording, StoredSorting.asset)) or "none"
    raise ComparisonError(
        f"'{baseline}' is no sorting of '{recording}'.",
        remedy=f"Name {BEFORE}, {GROUND_TRUTH}, an asset with a sorting, the absolute path of a saved sorting, or one "
        f"of the versions of sorting: {versions}.",
    )


def compare_stored(sorting: StoredSorting, baseline: str) -> ComparedPair:
    """Compare a version of a recording's sorting with a baseline.

    Parameters
    ----------
    sorting : StoredSorting
    baseline : str
        As `ComparisonConfig.baseline` describes it.

    Raises
    ------
    ComparisonError
        When there is no such baseline, or the two have no time in common.
    MissingArtefactError
        When the store does not have one of them, or not any more.
    """
    from sort_assets.comparisons.sortings import compare_sortings

    old = open_baseline(sorting, baseline)
    new = open_sorting(sorting.roots, sorting.recording, sorting.manifest.version)
    return ComparedPair(old, new, compare_sortings(old.units, new.units, pitch_um=new.pitch_um or old.pitch_um))


def _made_of(sorting: StoredSorting, kind: type[Any]) -> Any:
    """The newest result of a kind that was made of this very version of the sorting and is still there; or None."""
    store = Store(sorting.roots.store)
    version = sorting.manifest.version
    for each in reversed(store.versions(sorting.recording, kind.asset)):
        if each < version:  # older than the sorting
            return None
        made = kind(sorting.roots, sorting.recording, each)
        try:
            if _sorting_of(made) == version:
                made.artefact  # noqa: B018 - damaged ones are as good as missing
                return made
        except (SortAssetsError, KeyError):
            continue
    return None


def _sorting_of(made: Handle[Any]) -> str:
    """The version of the sorting that a result was made of."""
    if isinstance(made, StoredAnalyzer):
        return made.upstream_version(StoredSorting.asset)
    if isinstance(made, StoredMetrics):
        return made.waveforms.upstream_version(StoredSorting.asset)
    curated: StoredCuration = made  # type: ignore[assignment]
    return curated.unit_metrics.waveforms.upstream_version(StoredSorting.asset)


def _analyzer(stored: StoredAnalyzer | None) -> SortingAnalyzer | None:
    return None if stored is None else stored.load()


def _kept_units(curated: StoredCuration) -> set[str]:
    """The sorter's units of which the kept ones were made."""
    decisions = curated.decisions()
    kept = set(decisions.index[decisions["kept"].to_numpy(bool)])
    for step in reversed(curated.history.steps):
        for merge in step.curation["merges"]:
            if str(merge["new_unit_id"]) in kept:
                kept.discard(str(merge["new_unit_id"]))
                kept |= {str(unit) for unit in merge["unit_ids"]}
        for split in step.curation["splits"]:
            parts = {str(unit) for unit in split["new_unit_ids"]}
            if kept & parts:
                kept = (kept - parts) | {str(split["unit_id"])}
    return kept


def _pitch_um(analyzer: SortingAnalyzer | None) -> float | None:
    from sort_assets.checks.drift import contact_pitch

    if analyzer is None or analyzer.rec_attributes["probegroup"] is None:
        return None
    return contact_pitch(analyzer.get_channel_locations())


def settings_of(manifest: Manifest) -> dict[str, str]:
    """What may explain a difference between sortings: settings by dotted name, and versions as "package NAME"."""

    def flat(values: Mapping[str, Any], name: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for key, value in values.items():
            inner = f"{name}.{key}"
            found |= flat(value, inner) if isinstance(value, Mapping) and value else {inner: str(value)}
        return found

    settings: dict[str, str] = {}
    for section in _SECTIONS:
        settings |= flat(manifest.config.get(section, {}), section)
    return settings | {f"package {name}": version for name, version in manifest.packages.items()}


def _ground_truth(sorting: StoredSorting) -> Compared:
    from sort_assets.comparisons.sortings import ComparedSorting

    raw = sorting.binary_dat.preprocessed_recording.raw_path
    units = units_in_file(raw, float(sorting.load().get_sampling_frequency()))
    if units is None:
        raise ComparisonError(
            f"'{raw}' holds no units that could be read as ground truth: only NWB files with a table of units do.",
            remedy="Save the known units with SpikeInterface (sorting.save(folder=…, format='numpy_folder')), and name "
            "that folder as comparison.baseline.",
            path=str(raw),
        )
    end_s = sorting.details.start_time_s + sorting.details.duration_s
    return Compared("ground truth in the recording's file", ComparedSorting(units, end_s), kind=GROUND_TRUTH)


def units_in_file(path: Path, sampling_hz: float) -> BaseSorting | None:
    """The units in a recording's NWB file, with samples that count from zero on the file's clock; None without units.

    Parameters
    ----------
    path : Path
        The raw recording.
    sampling_hz : float
        Of the samples.
    """
    if path.suffix != ".nwb" or not path.is_file():
        return None
    import h5py
    from spikeinterface.extractors.nwbextractors import NwbSortingExtractor

    with h5py.File(path, "r") as file:
        if "units" not in file or "spike_times" not in file["units"]:
            return None
    units: BaseSorting = NwbSortingExtractor(
        str(path), sampling_frequency=sampling_hz, t_start=0.0, load_unit_properties=False
    )
    return units


def _of_asset(sorting: StoredSorting, asset: str, version: str | None) -> Compared:
    """The sorting in another asset's artefact, which has the same times as the recording's."""
    from sort_assets.comparisons.sortings import ComparedSorting

    artefact = Store(sorting.roots.store).artefact(sorting.recording, asset, version)
    if not (artefact.path / SORTING_FOLDER).is_dir():
        raise MissingArtefactError(
            f"{asset} of '{sorting.recording}', version {artefact.manifest.version}, holds no sorting.",
            remedy="Name an asset that does, such as curated_units.",
            path=str(artefact.path),
        )
    units = read_sorting(artefact.path)
    sorting.set_times(units)
    return Compared(
        name=f"{asset}, made {artefact.manifest.created:%Y-%m-%d %H:%M} UTC",
        units=ComparedSorting(units, sorting.details.duration_s),
        kind=asset,
        manifest=artefact.manifest,
        settings=settings_of(artefact.manifest),
    )


def _of_folder(sorting: StoredSorting, folder: Path) -> Compared:
    from spikeinterface.core import NumpyFolderSorting

    from sort_assets.comparisons.sortings import ComparedSorting
    from sort_assets.recordings import refuse_pickles

    if not folder.is_dir():
        raise ComparisonError(
            f"'{folder}' is no folder.", remedy="Name the folder of a saved sorting.", path=str(folder)
        )
    refuse_pickles(folder)
    try:
        units = NumpyFolderSorting(folder)
    except (OSError, KeyError, ValueError, AssertionError) as error:
        raise ComparisonError(
            f"'{folder}' can't be read as a sorting: {error}",
            remedy="Save it with SpikeInterface: sorting.save(folder=…, format='numpy_folder').",
            path=str(folder),
        ) from error
    sorting.set_times(units)
    return Compared(f"'{folder}'", ComparedSorting(units, sorting.details.duration_s), kind="folder")
