"""What came out of all recordings that have results, in one table.

Only manifests are read, never arrays, so that thousands of recordings take seconds. Whatever is missing, damaged or
just being written is missing in the table, and costs no other recording its row.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sort_assets.metrics.columns import Column, Kind
from sort_assets.platform.store.failures import FAILED, FailedAttempt, failed_attempts, was_made_good
from sort_assets.platform.store.store import CURRENT, Store

if TYPE_CHECKING:
    import pandas as pd

SORTING = "sorting"
INDEX = "recording"
"""Name of the table's index; it holds the recordings' keys."""

COLUMNS: tuple[Column, ...] = (
    Column("sorted_at", "text", "", "When the current sorting was finished, in UTC."),
    Column("sorter", "text", "", "The sorter."),
    Column("duration_s", "float", "s", "Length of what was sorted."),
    Column("channels", "int", "", "Channels that were sorted."),
    Column("noise_uv", "float", "µV", "Median noise over channels."),
    Column("units_found", "int", "", "Units that the sorter found."),
    Column("units_kept", "int", "", "Units that curation kept."),
    Column("units_rejected", "int", "", "Units that curation rejected."),
    Column("snr", "float", "", "Median over units of the signal-to-noise ratio."),
    Column("isi_violations_percent", "float", "%", "Median over units of the intervals below 1.5 ms."),
    Column("amplitude_uv", "float", "µV", "Median over units of the amplitude."),
    Column("unsortable", "text", "", "Why there was nothing to sort."),
    Column("degraded", "bool", "", "Whether memory ran out, so that the sorter ran with less than was configured."),
    Column("failure", "text", "", "Class of the newest failure that no success followed."),
    Column("failed_asset", "text", "", "What then failed to be made."),
    Column("failed_at", "text", "", "When, in UTC."),
    Column("failure_message", "text", "", "What happened."),
    Column("overcome", "text", "", "Classes of failures on record that a success followed."),
)
"""The columns of the table, in their order; those of times hold times, not text."""
_TIMES = ("sorted_at", "failed_at")
_DTYPES: dict[Kind, str] = {"text": "string", "int": "Int64", "float": "float64", "bool": "boolean"}


@dataclass(frozen=True, kw_only=True)
class RecordingSummary:
    """What came out of a recording: an attribute for each of `COLUMNS`.

    None is what is not known, or not there yet. Results that were made before the current sorting are of another one,
    and left out.
    """

    sorted_at: datetime | None = None
    sorter: str | None = None
    duration_s: float | None = None
    channels: int | None = None
    noise_uv: float | None = None
    units_found: int | None = None
    units_kept: int | None = None
    units_rejected: int | None = None
    snr: float | None = None
    isi_violations_percent: float | None = None
    amplitude_uv: float | None = None
    unsortable: str | None = None
    degraded: bool | None = None
    failure: str | None = None
    failed_asset: str | None = None
    failed_at: datetime | None = None
    failure_message: str | None = None
    overcome: str | None = None


def units_summary(store: Store) -> dict[str, RecordingSummary]:
    """What came out of every recording that has a sorting or a failure on record, by key.

    Parameters
    ----------
    store : Store
    """
    return {key: found for key in store.recordings() if (found := recording_summary(store, key)) is not None}


def recording_summary(store: Store, recording: str) -> RecordingSummary | None:
    """What came out of a recording; None when there is neither a sorting nor a failure on record."""
    try:
        assets = sorted(os.listdir(store.root / recording))  # noqa: PTH208 - quick
    except OSError:
        return None  # forgotten this instant, or not to be read
    failures = _failures(store, recording, assets)
    if not failures and not os.path.lexists(f"{store.root}/{recording}/{SORTING}/{CURRENT}"):
        return None
    sorting = _manifest(store, recording, SORTING)
    made = {
        asset: manifest
        for asset in ("preprocessed_recording", "unit_metrics", "curated_units")
        if asset in assets and (manifest := _manifest(store, recording, asset)) is not None
    }
    details, preprocessed = _details(sorting), _details(made.get("preprocessed_recording"))
    medians = _mapping(_details(_of_sorting(made.get("unit_metrics"), sorting)).get("medians"))
    curated = _details(_of_sorting(made.get("curated_units"), sorting))
    units, kept = _whole(curated.get("num_units")), _whole(curated.get("num_kept"))
    standing = [one for one in failures if not was_made_good(store, one)]
    newest = max(standing, key=lambda one: one.time, default=None)
    overcome = {type(one.error).__name__ for one in failures if one not in standing}
    return RecordingSummary(
        sorted_at=_time(_mapping(sorting).get("created")),
        sorter=_text(_mapping(_mapping(_mapping(sorting).get("config")).get("sorter")).get("name")),
        duration_s=_number(details.get("duration_s")),
        channels=_whole(preprocessed.get("channels")),
        noise_uv=_number(preprocessed.get("median_noise_uv")),
        units_found=_whole(details.get("num_units")),
        units_kept=kept,
        units_rejected=units - kept if units is not None and kept is not None else None,
        snr=_number(medians.get("snr")),
        isi_violations_percent=_number(medians.get("isi_violations_percent")),
        amplitude_uv=_number(medians.get("amplitude_uv")),
        unsortable=_text(details.get("unsortable")),
        degraded=bool(details.get("degraded")) if sorting is not None else None,
        failure=type(newest.error).__name__ if newest else None,
        failed_asset=newest.asset if newest else None,
        failed_at=newest.time if newest else None,
        failure_message=newest.error.message if newest else None,
        overcome=", ".join(sorted(overcome)) or None,
    )


def summary_table(summaries: Mapping[str, RecordingSummary]) -> pd.DataFrame:
    """The table, one row for each recording in the order of the keys; its index `recording` holds the keys.

    Without recordings it has all columns and no rows.
    """
    import pandas as pd

    rows = sorted(summaries.items())
    columns = {}
    for column in COLUMNS:
        values = [getattr(summary, column.name) for _, summary in rows]
        dtype = "datetime64[us, UTC]" if column.name in _TIMES else _DTYPES[column.kind]
        columns[column.name] = pd.Series(values, dtype=dtype)
    index = pd.Index([key for key, _ in rows], name=INDEX, dtype=str)
    return pd.DataFrame(columns).set_axis(index)


def standing_failures(summaries: Iterable[RecordingSummary]) -> Counter[str]:
    """By class, recordings with a failure that no success followed."""
    return Counter(summary.failure for summary in summaries if summary.failure is not None)


def overcome_failures(summaries: Iterable[RecordingSummary]) -> Counter[str]:
    """By class, recordings with failures on record that a success followed."""
    return Counter(name for summary in summaries for name in (summary.overcome or "").split(", ") if name)


def _failures(store: Store, recording: str, assets: Iterable[str]) -> list[FailedAttempt]:
    return [
        attempt
        for asset in assets
        # Of thousands of recordings few have failed.
        if os.path.isdir(f"{store.root}/{recording}/{asset}/{FAILED}")  # noqa: PTH112 - a Path takes several times as long
        for attempt in failed_attempts(store, recording, asset)
    ]


def _manifest(store: Store, recording: str, asset: str) -> dict[str, Any] | None:
    manifest = store.summary(recording, asset)
    return manifest if isinstance(manifest, dict) else None


def _of_sorting(manifest: dict[str, Any] | None, sorting: dict[str, Any] | None) -> dict[str, Any] | None:
    """The manifest of something made of units, unless it was begun before the sorting."""
    if manifest is None or sorting is None:
        return manifest
    # A version's name begins with the time at which it was begun.
    begun, sorted_since = _text(manifest.get("version")), _text(sorting.get("version"))
    return manifest if begun is None or sorted_since is None or begun > sorted_since else None


def _details(manifest: dict[str, Any] | None) -> dict[str, Any]:
    return _mapping(_mapping(manifest).get("details"))


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _time(value: object) -> datetime | None:
    try:
        time = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return time if time.tzinfo is not None else None
