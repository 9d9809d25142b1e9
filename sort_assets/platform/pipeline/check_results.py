"""What the library's checks came to, as Dagster's asset checks."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from sort_assets.checks import Verdict

_SEVERITIES = {"warn": dg.AssetCheckSeverity.WARN, "error": dg.AssetCheckSeverity.ERROR}


def check_specs(asset: str, descriptions: Mapping[str, str]) -> list[dg.AssetCheckSpec]:
    """Specifications of checks of an asset, by name what they assure."""
    return [dg.AssetCheckSpec(name, asset=asset, description=text) for name, text in descriptions.items()]


def check_results(verdicts: "Iterable[Verdict]") -> list[dg.AssetCheckResult]:
    """Verdicts with their numbers."""
    return [
        dg.AssetCheckResult(
            check_name=verdict.name,
            passed=verdict.passed,
            severity=_SEVERITIES[verdict.severity],
            description=verdict.description,
            metadata=dict(verdict.values),
        )
        for verdict in verdicts
    ]
