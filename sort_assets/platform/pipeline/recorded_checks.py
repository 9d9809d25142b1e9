"""The results of asset checks that the manifests of a recording hold."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sort_assets.platform.store.details import StoredCheck


@dataclass(frozen=True, kw_only=True)
class RecordedCheck:
    """The result of an asset check, as a manifest has it.

    Attributes
    ----------
    asset, name : str
        The asset, and the check of it.
    passed : bool
    severity : str
        "WARN" or "ERROR": how bad it is if the check did not pass.
    description : str
        What was found; may be empty.
    run_id : str or None
        The run that made the result.
    made_at : datetime or None
        When the result was published.
    """

    asset: str
    name: str
    passed: bool
    severity: str
    description: str
    run_id: str | None
    made_at: datetime | None

    def to_dict(self) -> dict[str, str]:
        """Its object in `sort-assets status --json`."""
        return {"asset": self.asset, "check": self.name, "severity": self.severity, "description": self.description}


def recorded_checks(asset: str, manifest: Mapping[str, Any]) -> Iterator[RecordedCheck]:
    """The checks in a manifest that was read unchecked; what can't be understood is left out."""
    details, run_id = manifest.get("details"), manifest.get("run_id")
    stored = details.get("checks") if isinstance(details, dict) else None
    for each in stored if isinstance(stored, list) else []:
        try:
            check = StoredCheck.model_validate(each)
        except ValueError:
            continue
        yield RecordedCheck(
            asset=asset,
            name=check.name,
            passed=check.passed,
            severity=check.severity,
            description=check.description or "",
            run_id=run_id if isinstance(run_id, str) else None,
            made_at=published_at(manifest),
        )


def published_at(manifest: Mapping[str, Any]) -> datetime | None:
    """The time in a manifest that was read unchecked; None without one, or without its time zone."""
    try:
        time = datetime.fromisoformat(str(manifest.get("created")))
    except ValueError:
        return None
    return time if time.tzinfo is not None else None
