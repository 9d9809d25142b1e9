"""What the library's checks came to, as Dagster's asset checks."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from sort_assets.checks.result import CheckResult

_SEVERITIES = {"warn": dg.AssetCheckSeverity.WARN, "error": dg.AssetCheckSeverity.ERROR}


def check_specs(asset: str, descriptions: Mapping[str, str]) -> list[dg.AssetCheckSpec]:
    """Specifications of checks of an asset, by name what they assure."""
    return [dg.AssetCheckSpec(name, asset=asset, description=text) for name, text in descriptions.items()]


def check_results(results: "Iterable[CheckResult]") -> list[dg.AssetCheckResult]:
    """Verdicts with their numbers."""
    return [
        dg.AssetCheckResult(
            check_name=result.name,
            passed=result.passed,
            severity=_SEVERITIES[result.severity],
            description=result.description,
            metadata=dict(result.values),
        )
        for result in results
    ]
