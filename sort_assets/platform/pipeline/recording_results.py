"""The results of each recording as the store holds them, and the table of all recordings that have results.

Only manifests and records of failures are read, never arrays, so that thousands of recordings take seconds. A result
that is missing, damaged or being written leaves its own columns empty, and affects no other recording.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sort_assets.errors import MissedSpikesError
from sort_assets.forecasts.history import PastStep
from sort_assets.metrics.columns import Column, Kind
from sort_assets.platform.pipeline.catalog import PIPELINE, SUMMARIZED
from sort_assets.platform.pipeline.recorded_checks import RecordedCheck, published_at, recorded_checks
from sort_assets.platform.pipeline.step_history import past_step
from sort_assets.platform.store.failures import FailedAttempt, failed_attempts, failure_folder, was_made_good
from sort_assets.platform.store.layout import FAILED
from sort_assets.platform.store.store import Store

if TYPE_CHECKING:
    import pandas as pd

SORTING = "sorting"
_BEFORE_SORTING = PIPELINE[: PIPELINE.index(SORTING) + 1]
INDEX = "recording"
"""The name of the table's index, which holds the recordings' keys."""

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
    Column("drift_um", "float", "µm", "Median over units of their drift."),
    Column("unsortable", "text", "", "Why there was nothing to sort."),
    Column(
        "degraded",
        "bool",
        "",
        "Whether memory ran out and the sorter ran with less than was configured, the recording is not whole, or the "
        "spikes of a group of channels were missed.",
    ),
    Column("failed_checks", "text", "", "Checks of the present results that did not pass."),
    Column("failure", "text", "", "Class of the newest failure that no success followed."),
    Column("failed_asset", "text", "", "The asset that failed."),
    Column("failed_at", "text", "", "When, in UTC."),
    Column("failure_message", "text", "", "What happened."),
    Column("overcome", "text", "", "Classes of failures on record that a success followed."),
)
"""The columns of the table, in their order; `_TIMES` hold times, not text."""
_OLD_DEFAULTS = (
    "Made before the settings were chosen by the number of channels, with settings that take away the spikes of few "
    "channels: launch the job sort_again"
)
_FEW_CHANNELS = 32
"""Sorted together; from here on the shape changes none of the settings that take spikes away."""
_TIMES = ("sorted_at", "failed_at")
_DTYPES: dict[Kind, str] = {"text": "string", "int": "Int64", "float": "float64", "bool": "boolean"}


@dataclass(frozen=True, kw_only=True)
class RecordingSummary:
    """What the store says of a recording: an attribute for each of `COLUMNS`, and a few more.

    What is unknown, or not there yet, is None. Results that were made before the current sorting belong to another one,
    and are left out.

    Attributes
    ----------
    missed_groups : dict of str to str
        By group of channels whose spikes the sorter missed while it found others: what happened; counts as failed.
    unsortable_by_old_defaults : bool
        Whether it was found unsortable by a version that took the same settings for few channels as for many, which
        take the spikes of few away.
    first_made_at : datetime or None
        When the oldest version of its results was begun, also of one whose files were removed: unlike `sorted_at` it
        stays when the recording is sorted or curated again.
    curated_by : str or None
        The person who decided on the units, where one did.
    run_id : str or None
        The run that made the current sorting.
    fingerprint : str or None
        Fingerprint of the raw data that was preprocessed.
    checks : tuple of RecordedCheck
        The verdicts of all checks, in the order of the pipeline.
    past_steps : tuple of PastStep
        What making the current results took, where that is known.
    disk_bytes : int
        Size of the current results.
    standing : FailedAttempt or None
        The newest failed attempt that no success of the same asset followed.
    failure_folder : Path or None
        Folder with the record and the logs of that attempt.
    """

    sorted_at: datetime | None = None
    sorter: str | None = None
    duration_s: float | None = None
    channels: int | None = None
    noise_uv: float | None = None
    units_found: int | None = None
    units_kept: int | None = None
    units_rejected: int | None = None
    curated_by: str | None = None
    snr: float | None = None
    isi_violations_percent: float | None = None
    amplitude_uv: float | None = None
    drift_um: float | None = None
    unsortable: str | None = None
    degraded: bool | None = None
    is_incomplete: bool = False
    missed_groups: Mapping[str, str] = field(default_factory=dict)
    unsortable_by_old_defaults: bool = False
    overcome: str | None = None
    run_id: str | None = None
    fingerprint: str | None = None
    first_made_at: datetime | None = None
    checks: tuple[RecordedCheck, ...] = ()
    past_steps: tuple[PastStep, ...] = ()
    disk_bytes: int = 0
    standing: FailedAttempt | None = None
    failure_folder: Path | None = None

    @property
    def checks_not_passed(self) -> tuple[RecordedCheck, ...]:
        """The checks that did not pass."""
        return tuple(check for check in self.checks if not check.passed)

    @property
    def failed_checks(self) -> str | None:
        """The names of the checks that did not pass."""
        return ", ".join(check.name for check in self.checks_not_passed) or None

    @property
    def failure(self) -> str | None:
        """The class of the standing failure."""
        if self.standing is None:
            return MissedSpikesError.__name__ if self.missed_groups else None
        return type(self.standing.error).__name__

    @property
    def failed_asset(self) -> str | None:
        """The asset of the standing failure."""
        if self.standing is None:
            return SORTING if self.missed_groups else None
        return self.standing.asset

    @property
    def failed_at(self) -> datetime | None:
        """The time of the standing failure."""
        if self.standing is None:
            return self.sorted_at if self.missed_groups else None
        return self.standing.time

    @property
    def failure_message(self) -> str | None:
        """The message of the standing failure."""
        if self.standing is None:
            return " ".join(self.missed_groups.values()) or None
        return self.standing.error.message

    @property
    def outcome(self) -> str:
        """The current sorting in a phrase: "8 units, 6 kept by anna (degraded)"; empty when there is none."""
        if self.unsortable is not None:
            doubt = f". {_OLD_DEFAULTS}" if self.unsortable_by_old_defaults else ""
            return f"unsortable: {self.unsortable.rstrip('.') if doubt else self.unsortable}{doubt}"
        if self.units_found is None:
            return ""
        kept = "" if self.units_kept is None else f", {self.units_kept} kept"
        person = f" by {self.curated_by}" if self.curated_by else ""
        reasons = ["the recording is not whole"] if self.is_incomplete else []
        if self.missed_groups:
            reasons.append(f"spikes were missed on the channels of {', '.join(self.missed_groups)}")
        degraded = f" (degraded{': ' if reasons else ''}{'; '.join(reasons)})" if self.degraded or reasons else ""
        return f"{self.units_found} unit{'' if self.units_found == 1 else 's'}{kept}{person}{degraded}"


def recording_summary(store: Store, recording: str) -> RecordingSummary:
    """The results of a recording; all None when there are none.

    Parameters
    ----------
    store : Store
    recording : str
        The recording's key.
    """
    try:
        present = {*os.listdir(store.root / recording)}  # noqa: PTH208 - quick
    except OSError:
        return RecordingSummary()  # never processed, purged this instant, or unreadable
    assets = [asset for asset in PIPELINE if asset in present]
    stored = {asset: _manifest(store, recording, asset) for asset in assets}
    manifests = {asset: manifest for asset, manifest in stored.items() if asset in SUMMARIZED}
    sorting, preprocessed = manifests.get(SORTING), _details(manifests.get("preprocessed_recording"))
    details = _details(sorting)
    current = {
        asset: manifest if asset in _BEFORE_SORTING else _of_sorting(manifest, sorting)
        for asset, manifest in manifests.items()
    }
    medians = _mapping(_details(current.get("unit_metrics")).get("medians"))
    curated = _details(current.get("curated_units"))
    units, kept = _whole(curated.get("num_units")), _whole(curated.get("num_kept"))
    standing, overcome = _failures(store, recording, assets)
    return RecordingSummary(
        sorted_at=None if sorting is None else published_at(sorting),
        sorter=_text(_mapping(_mapping(_mapping(sorting).get("config")).get("sorter")).get("name")),
        duration_s=_number(details.get("duration_s")),
        channels=_whole(preprocessed.get("channels")),
        noise_uv=_number(preprocessed.get("median_noise_uv")),
        units_found=_whole(details.get("num_units")),
        units_kept=kept,
        units_rejected=units - kept if units is not None and kept is not None else None,
        curated_by=_text(curated.get("person")),
        snr=_number(medians.get("snr")),
        isi_violations_percent=_number(medians.get("isi_violations_percent")),
        amplitude_uv=_number(medians.get("amplitude_uv")),
        drift_um=_number(medians.get("drift_ptp")),
        unsortable=_text(details.get("unsortable")),
        degraded=bool(details.get("degraded")) if sorting is not None else None,
        is_incomplete=bool(details.get("missing_parts")),
        missed_groups={group: str(why) for group, why in _mapping(details.get("missed_groups")).items()},
        unsortable_by_old_defaults=_is_of_old_defaults(details, _whole(preprocessed.get("channels"))),
        overcome=", ".join(sorted(overcome)) or None,
        run_id=_text(_mapping(sorting).get("run_id")),
        fingerprint=_text(preprocessed.get("fingerprint")),
        first_made_at=_first_made_at(store, recording, assets),
        checks=tuple(check for asset, one in current.items() if one for check in recorded_checks(asset, one)),
        past_steps=tuple(step for one in stored.values() if one and (step := past_step(one))),
        disk_bytes=sum(size for one in stored.values() for size in _sizes(one)),
        standing=standing,
        failure_folder=failure_folder(store, recording, standing.asset, standing.version) if standing else None,
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


def _first_made_at(store: Store, recording: str, assets: Iterable[str]) -> datetime | None:
    names: list[str] = []
    for asset in assets:
        if asset in _BEFORE_SORTING:
            with contextlib.suppress(OSError):
                names += os.listdir(f"{store.root}/{recording}/{asset}")  # noqa: PTH208 - quick
    first = min((name for name in names if name[:1].isdigit()), default="")
    try:
        return datetime.strptime(first.partition("-")[0], "%Y%m%dT%H%M%S%f").replace(tzinfo=UTC)
    except ValueError:
        return None


def _failures(store: Store, recording: str, assets: Iterable[str]) -> tuple[FailedAttempt | None, set[str]]:
    """The newest failed attempt that no success followed, and the classes of those that a success followed."""
    standing: list[FailedAttempt] = []
    overcome: list[FailedAttempt] = []
    for asset in assets:
        # Of thousands of recordings few have failed.
        if not os.path.isdir(f"{store.root}/{recording}/{asset}/{FAILED}"):  # noqa: PTH112 - a Path takes several times as long
            continue
        attempts = failed_attempts(store, recording, asset)
        # Once the last attempt is followed by a success, so are all before it, wherever the clock was.
        last_stands = bool(attempts) and not was_made_good(store, attempts[-1])
        if last_stands:
            standing.append(attempts[-1])
        overcome += [one for one in attempts if not last_stands or was_made_good(store, one)]
    newest = max(standing, key=lambda one: one.time, default=None)
    return newest, {type(one.error).__name__ for one in overcome}


def _is_of_old_defaults(sorting: dict[str, Any], channels: int | None) -> bool:
    """Whether a sort of few channels found nothing, made before the recording's shape decided on settings."""
    if sorting.get("unsortable") is None or sorting.get("chosen_by_shape"):
        return False
    groups = max(1, len(_mapping(sorting.get("effective_params"))))
    return channels is not None and channels / groups < _FEW_CHANNELS


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


def _sizes(manifest: dict[str, Any] | None) -> Iterable[int]:
    return (size for size in _mapping(_mapping(manifest).get("files")).values() if isinstance(size, int))


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
