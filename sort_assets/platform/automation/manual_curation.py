"""Manual curation: export to a working folder for Phy, and import as a new version that nothing overwrites."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from sort_assets.config import ExecutionConfig
from sort_assets.config.settings import Roots
from sort_assets.curation.manual import ManualCuration
from sort_assets.errors import CurationError, SortAssetsError
from sort_assets.machine.cores import job_kwargs
from sort_assets.platform.arrivals.observations import Observed, report
from sort_assets.platform.automation.retries import request_run
from sort_assets.platform.pipeline.assets.observed import manual_curation
from sort_assets.platform.pipeline.catalog import from_asset
from sort_assets.platform.pipeline.io_manager import VERSION_METADATA
from sort_assets.platform.pipeline.manual_decisions import manual_curation_of
from sort_assets.platform.store.content_hash import hash_json
from sort_assets.platform.store.details import ManualCurationDetails
from sort_assets.platform.store.handles import StoredCuration, StoredManualCuration, StoredSorting
from sort_assets.platform.store.layout import MANUAL_FILE
from sort_assets.platform.store.store import Store

WORKING_FOLDERS = "@curation"
"""Folder of the store in which people work, beside the recordings' artefacts."""
_AUTOMATIC = {"automatic": True}
_FROM_CURATION = from_asset(StoredCuration.asset)


@dataclass(frozen=True)
class Imported:
    """The result of an import.

    Attributes
    ----------
    recording : str
        Its key.
    version : str
        Of `manual_curation` in the store.
    steps : list of str
        Titles of the person's steps.
    trouble : str or None
        Why the import is not applied automatically.
    notes : list of str
        What was left out of what was read.
    """

    recording: str
    version: str
    steps: list[str]
    trouble: str | None
    notes: list[str]


def working_folder(roots: Roots, recording: str) -> Path:
    """The folder to which a recording's units are exported for Phy."""
    return roots.store / WORKING_FOLDERS / recording / "phy"


def export_for_phy(roots: Roots, recording: str, folder: Path | None = None, *, pc_features: bool = False) -> Path:
    """Export all units for manual curation, including rejected ones, with their present labels.

    Where a person has curated the recording before, the units are those of that curation.

    Parameters
    ----------
    roots : Roots
    recording : str
        The recording's key.
    folder : Path or None
        None is `working_folder`. An earlier export is replaced if it was never changed, or its changes were imported.
    pc_features : bool
        Also export the principal components for Phy's feature view, which is slow.

    Returns
    -------
    Path
        The folder; Phy opens its ``params.py``.

    Raises
    ------
    CurationError
        When the folder holds changes that were not imported.
    """
    import shutil

    from sort_assets.curation.phy_note import NOTE_FILE, changes, note_export
    from sort_assets.exports.phy import export_phy_folder

    folder = folder or working_folder(roots, recording)
    replaced = folder.is_dir() and any(folder.iterdir())
    if replaced and not (folder / NOTE_FILE).exists():
        raise CurationError(
            f"'{folder}' holds something that `sort-assets export-phy` did not write.",
            remedy="Name a new or an empty folder with --folder.",
            path=str(folder),
        )
    if replaced and changes(folder).pending:
        raise CurationError(
            f"'{folder}' holds changes that were not imported: {', '.join(changes(folder).files)}.",
            remedy=f"Import it with `sort-assets import-curation {recording} --phy {folder}`, or export to another "
            "folder with --folder.",
            path=str(folder),
        )
    curated = StoredCuration(roots, recording)
    sorting = curated.sorting
    work = job_kwargs(ExecutionConfig())
    analyzer = curated.load_analyzer(job_kwargs=work)
    table = curated.table()
    paths = list(sorting.binary_dat.dat_paths.values())
    fresh = folder.with_name(f"{folder.name}.exporting-{uuid.uuid4().hex[:8]}")
    fresh.parent.mkdir(parents=True, exist_ok=True)
    try:
        export_phy_folder(
            analyzer,
            fresh,
            table=table,
            dat_path=paths[0] if len(paths) == 1 else None,
            job_kwargs=work,
            clock=None if sorting.clock is None else sorting.clock.timeline(),
            pc_features=pc_features,
            suggested_merges=curated.suggested_merges(),
        )
        note_export(
            fresh,
            recording=recording,
            sorting_version=curated.manifest.version,
            data_version=curated.manifest.data_version,
        )
        if replaced:
            shutil.rmtree(folder)
        elif folder.is_dir():
            folder.rmdir()
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def import_phy(
    instance: dg.DagsterInstance,
    roots: Roots,
    recording: str,
    folder: Path | None = None,
    *,
    user: str | None = None,
    replace: bool = False,
) -> Imported:
    """Read a person's changes in a Phy folder.

    Parameters
    ----------
    instance : dg.DagsterInstance
    roots : Roots
    recording : str
        The recording's key.
    folder : Path or None
        None is `working_folder`.
    user : str or None
        The person who decided; None is the user of this process.
    replace : bool
        Import even if that overrides decisions that somebody imported since the export.

    Raises
    ------
    CurationError
        When the folder has other units or can't be read, or another import came in between.
    """
    from sort_assets.curation.history import replay
    from sort_assets.curation.phy import from_phy_folder
    from sort_assets.curation.phy_note import note_import, read_note

    folder = folder or working_folder(roots, recording)
    note = read_note(folder)
    if note.recording != recording:
        raise CurationError(
            f"'{folder}' was exported from '{note.recording}', not from '{recording}'.",
            remedy=f"Import it with `sort-assets import-curation {note.recording} --phy {folder}`.",
        )
    seen = StoredCuration(roots, recording, note.sorting_version)
    _check_present(instance, roots, seen, replace=replace, continued=note.imported_as)
    units = replay(seen.sorting.load(), seen.history)
    manual = from_phy_folder(folder, units, user=user).after(seen.history, _earlier_decisions(seen))
    version = _publish(instance, roots, recording, manual)
    note_import(folder, version)
    return _request_run(instance, roots, recording, manual, version)


def import_json(
    instance: dg.DagsterInstance,
    roots: Roots,
    recording: str,
    path: Path,
    *,
    user: str | None = None,
    replace: bool = False,
) -> Imported:
    """Read a curation in SpikeInterface's format, of the curated units or of the units of the sorting.

    The file replaces the labels and removals of an earlier import; merges and splits that led to the units of the file
    remain.

    Parameters
    ----------
    instance, roots, recording, user
        As for `import_phy`.
    path : Path
        The JSON file.
    replace : bool
        Import even if that overrides another person's decisions, or the file is older than the sorting.

    Raises
    ------
    CurationError
        When the file can't be read, or has other units.
    """
    from sort_assets.curation.history import replay
    from sort_assets.curation.manual import current_user, from_curation_json

    seen = StoredCuration(roots, recording)
    sorting, earlier = seen.sorting, _earlier_decisions(seen)
    _check_present(instance, roots, seen, replace=replace)
    _check_file(path, sorting, earlier, user or current_user(), replace=replace)
    found, data_version = sorting.load(), sorting.manifest.data_version
    try:
        curated = from_curation_json(path, replay(found, seen.history), user=user, data_version=data_version)
        manual = curated.after(seen.history)
    except CurationError as about_curated:
        try:
            manual = from_curation_json(path, found, user=user, data_version=data_version)
        except CurationError:
            raise about_curated from None
    version = _publish(instance, roots, recording, manual)
    return _request_run(instance, roots, recording, manual, version)


def _check_file(
    path: Path, sorting: StoredSorting, earlier: ManualCuration | None, user: str, *, replace: bool
) -> None:
    """Refuse a file that is older than the sorting, or that would override another person's decisions."""
    if replace or not path.is_file():
        return
    written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    if written < sorting.manifest.created:
        raise CurationError(
            f"'{path}' was written on {written:%Y-%m-%d %H:%M} UTC, before the present sorting was made "
            f"({sorting.manifest.created:%Y-%m-%d %H:%M} UTC): it describes other spikes, even if its units have "
            "the same ids.",
            remedy="Curate the present units; or, if the file describes these units, import it with --replace.",
        )
    if earlier is not None and earlier.user != user:
        raise CurationError(
            f"{earlier.user} has curated these units ({earlier.made_at:%Y-%m-%d %H:%M} UTC), and this file would "
            "override that.",
            remedy="Import it with --replace if you want that; the earlier decisions stay in the store.",
        )


def back_to_automatic(instance: dg.DagsterInstance, roots: Roots, recording: str) -> Imported:
    """Return a recording to automatic curation; imported decisions stay in the store."""
    Store(roots.store).artefact(recording, StoredSorting.asset)  # raises without a sorting
    version = _publish(instance, roots, recording, None)
    return _request_run(instance, roots, recording, None, version)


def _check_present(
    instance: dg.DagsterInstance, roots: Roots, seen: StoredCuration, *, replace: bool, continued: str | None = None
) -> None:
    """Refuse decisions on units that are outdated: sorted again since, or changed by another person's import since.

    Work that continues the import `continued` contains it already.
    """
    recording = seen.recording
    if StoredSorting(roots, recording).manifest.data_version != seen.sorting.manifest.data_version:
        raise CurationError(
            f"'{recording}' was sorted again since these units were curated, and other spikes were found.",
            remedy="Export the new units with `sort-assets export-phy` into another folder. The old sorting and its "
            "curation stay in the store.",
        )
    newest = manual_curation_of(instance, roots, recording)
    manual = None if newest is None else newest.load()
    included = seen.manifest.inputs.get(StoredManualCuration.asset)
    if newest is None or manual is None or replace or newest.manifest.version == continued:
        return
    if not manual.is_about(seen.sorting.load()):
        return
    if included is None or included.version != newest.manifest.version:
        raise CurationError(
            f"{manual.user} has curated '{recording}' since (imported {manual.made_at:%Y-%m-%d %H:%M} UTC), and this "
            "would override that.",
            remedy="Materialize curated_units, export to another folder (--folder), and continue there; or import with "
            "--replace (the other person's decisions stay in the store).",
        )


def _earlier_decisions(seen: StoredCuration) -> ManualCuration | None:
    """The decisions of a person that these units already contain."""
    included = seen.manifest.inputs.get(StoredManualCuration.asset)
    return None if included is None else StoredManualCuration(seen.roots, seen.recording, included.version).load()


def _publish(instance: dg.DagsterInstance, roots: Roots, recording: str, manual: ManualCuration | None) -> str:
    """Publish a person's decisions as a new version, and report it to Dagster; returns the version."""
    asset = manual_curation.key.to_user_string()
    content = _AUTOMATIC if manual is None else manual.model_dump(mode="json")
    data_version = hash_json(content)
    with Store(roots.store).stage(recording, asset, run_id=f"import{uuid.uuid4().hex}") as staging:
        if manual is not None:
            (staging.path / MANUAL_FILE).write_text(manual.model_dump_json(indent=1), encoding="utf-8")
        artefact = staging.publish(
            data_version=data_version,
            config={},
            config_sources={},
            inputs={},
            details=ManualCurationDetails(user=None if manual is None else manual.user),
        )
    seen = {
        "by": "nobody: automatic" if manual is None else manual.user,
        "steps": ", ".join(_steps(manual)) or "none",
        "from": "" if manual is None else manual.path,
        "folder": dg.MetadataValue.path(artefact.path),
        VERSION_METADATA: artefact.manifest.version,
    }
    report(instance, recording, {asset: Observed(data_version, seen)}, "Imported with `sort-assets import-curation`.")
    return artefact.manifest.version


def _request_run(
    instance: dg.DagsterInstance, roots: Roots, recording: str, manual: ManualCuration | None, version: str
) -> Imported:
    """Request a run of what depends on the decisions."""
    trouble = None
    try:
        request_run(instance, roots, recording, _FROM_CURATION, reason=f"curation-{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
    except SortAssetsError as error:
        trouble = f"It is in the store, but no run can be requested: {error} Materialize curated_units by hand."
    return Imported(recording, version, _steps(manual), trouble, [] if manual is None else manual.notes)


def _steps(manual: ManualCuration | None) -> list[str]:
    return [] if manual is None else [step.title for step in manual.steps]
