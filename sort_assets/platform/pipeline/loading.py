"""Results in a notebook or a script, without Dagster."""

import difflib
import re
from pathlib import Path
from typing import Any

from dotenv import find_dotenv, load_dotenv

from sort_assets.config.settings import Roots, read_environment
from sort_assets.errors import MissingArtefactError
from sort_assets.platform.pipeline.catalog import RESULTS, is_result, pipeline_asset
from sort_assets.platform.store.handles import Handle
from sort_assets.platform.store.store import Store

_KEY = re.compile(r"[A-Za-z0-9._=~@-]+")


def open_result(recording: str, asset: str, *, version: str | None = None, roots: Roots | None = None) -> Handle:
    """A handle on a result: its folder, its manifest, and `load()`.

    Parameters
    ----------
    recording : str
        The recording's key, as `sort-assets status` prints it, or its path below the recordings root.
    asset : str
        One of the pipeline's assets: "sorting", "unit_metrics", "curated_units", …
    version : str or None
        The store's version; None is the current one.
    roots : Roots or None
        Where recordings and results are; None asks the environment, and the nearest `.env`.

    Raises
    ------
    MissingArtefactError
        When there is no such result; says what there is.
    """
    if roots is None:
        if read_environment().store is None:
            load_dotenv(find_dotenv(usecwd=True))
        roots = Roots.from_environment()
    if not is_result(asset):
        raise MissingArtefactError(
            f"There is no result called '{asset}'{_nearest(asset, list(RESULTS))}.",
            remedy=f"Ask for one of {', '.join(RESULTS)}.",
        )
    key = _key(recording, roots)
    handle = pipeline_asset(asset).handle(roots, key, version)
    try:
        handle.artefact  # noqa: B018 - the current version is decided now, and what is missing is said now
    except MissingArtefactError as error:
        store = Store(roots.store)
        there = store.recordings()
        if key not in there:
            raise MissingArtefactError(
                f"The store '{roots.store}' has nothing of '{recording}'{_nearest(key, there)}.",
                remedy="See which recordings there are with `sort-assets status`.",
            ) from error
        raise
    return handle


def load(recording: str, asset: str, *, version: str | None = None, roots: Roots | None = None) -> Any:
    """A result, as the library that people use for it represents it.

    Parameters
    ----------
    recording, asset, version, roots
        As for `open_result`.

    Returns
    -------
    object
        By asset: "preprocessed_recording" and "binary_dat" a SpikeInterface recording, lazy or memory-mapped;
        "sorting" a SpikeInterface sorting; "waveforms" a `SortingAnalyzer`; "unit_metrics" a pandas DataFrame with one
        row per unit; "curated_units" a SpikeInterface sorting of the units that are kept; "spike_data" a dict of
        delivered files; "sorting_report" the path of its page; "sorting_comparison" a pandas DataFrame, one row for
        each pair of units that belong together; "hybrid_recording" the SpikeInterface recording with injected units;
        "hybrid_accuracy" a pandas DataFrame with one row per injected unit; "variant_NAME" a SpikeInterface sorting,
        "variant_NAME_units" the table of its units.

    Raises
    ------
    MissingArtefactError
        When there is no such result; says what there is.
    DamagedArtefactError
        When its files are not what its manifest says.
    """
    return open_result(recording, asset, version=version, roots=roots).load()  # type: ignore[attr-defined]


def _key(recording: str, roots: Roots) -> str:
    """The key, also from a path below the recordings root."""
    path = Path(recording)
    if _KEY.fullmatch(recording):
        return recording
    from sort_assets.recordings.key import RecordingKey  # imports dagster, which takes a second

    if path.is_absolute() and path.is_relative_to(roots.recordings):
        return str(RecordingKey(path.relative_to(roots.recordings).as_posix()))
    return str(RecordingKey(recording))


def _nearest(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f" (the nearest is '{near[0]}')" if near else ""
