"""What a person decided of a recording's units is never lost to a new sort."""

from collections.abc import Callable

from sort_assets.config import ExecutionConfig
from sort_assets.config.settings import Roots
from sort_assets.errors import CuratedByPersonError, MissingArtefactError
from sort_assets.platform.store.handles import StoredManualCuration, StoredSorting


def manual_curation_of(roots: Roots, recording: str) -> StoredManualCuration | None:
    """The newest imported curation of a recording; None where there is none, or the person withdrew it."""
    stored = StoredManualCuration(roots, recording)
    try:
        return stored if stored.load() is not None else None
    except MissingArtefactError:
        return None


def refuse_resort(roots: Roots, recording: str, execution: ExecutionConfig, warn: Callable[[str], None]) -> None:
    """Refuse to sort again what a person has curated, unless the configuration permits it.

    Parameters
    ----------
    roots : Roots
    recording : str
        The recording's key.
    execution : ExecutionConfig
        Its `resort_curated` permits it.
    warn : callable
        Told that the person's work is not going to apply.

    Raises
    ------
    CuratedByPersonError
        When a person's curation is about the present sorting.
    """
    stored = manual_curation_of(roots, recording)
    manual = None if stored is None else stored.load()
    if stored is None or manual is None:
        return
    try:
        present = StoredSorting(roots, recording).load()
    except MissingArtefactError:
        return
    if not manual.is_about(present):
        return
    if execution.resort_curated:
        warn(
            f"{manual.user} has curated the present sorting of {recording}. That work stays, with that sorting, and "
            "applies to the new one only if it finds the very same spikes."
        )
        return
    raise CuratedByPersonError(
        f"{manual.user} has curated the units of '{recording}' (imported {manual.made_at:%Y-%m-%d %H:%M} UTC); another "
        "sort would find other units, to which that work does not apply.",
        remedy="To sort again nevertheless, set execution.resort_curated: true in the run's config; the old sorting "
        "and its curation stay in the store. To decide otherwise on the present units, materialize curated_units.",
        manual_curation=stored.manifest.version,
    )
