"""The library's check results as Dagster's asset checks."""

import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from sort_assets.errors import UnsortableRecordingError
from sort_assets.platform.pipeline.partitions import recordings

if TYPE_CHECKING:
    from sort_assets.checks.result import CheckResult

_COLUMNS = ("level", "subject", "detail", "remedy", "failure_class")
_SEVERITIES = {"warn": dg.AssetCheckSeverity.WARN, "error": dg.AssetCheckSeverity.ERROR}


def check_specs(
    asset: str, descriptions: Mapping[str, str], *, blocking: Collection[str] = ()
) -> list[dg.AssetCheckSpec]:
    """Specifications of checks of an asset, by name what they assure.

    They are partitioned by recording, as the asset is: otherwise Dagster keeps one verdict for all recordings, and the
    next recording's replaces it.

    Parameters
    ----------
    asset : str
    descriptions : mapping
    blocking : collection of str
        Names of the checks that keep what comes after the asset from being made when they fail.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)  # Dagster calls the partitions of checks a preview
        return [
            dg.AssetCheckSpec(name, asset=asset, description=text, blocking=name in blocking, partitions_def=recordings)
            for name, text in descriptions.items()
        ]


def check_results(results: "Iterable[CheckResult]") -> list[dg.AssetCheckResult]:
    """Results with their numbers."""
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


def preflight_check(name: str, results: "Sequence[CheckResult]") -> dg.AssetCheckResult:
    """The check that passes when nothing spoils a sort.

    Unsortable recordings are a warning too: their sort succeeds, with an empty result.
    """
    open_points = [result for result in results if result.level != "ok"]
    errors = [result.error for result in results if result.error is not None]
    fails = any(not isinstance(error, UnsortableRecordingError) for error in errors)
    return dg.AssetCheckResult(
        check_name=name,
        passed=not open_points,
        severity=dg.AssetCheckSeverity.ERROR if fails else dg.AssetCheckSeverity.WARN,
        description=" ".join(f"{point.name}: {point.description.rstrip('.')}." for point in open_points) or None,
        metadata={
            # Dagster can't tell the columns of a table without rows.
            "findings": dg.MetadataValue.table(
                [dg.TableRecord(dict(result.to_dict())) for result in results],
                schema=dg.TableSchema([dg.TableColumn(column) for column in _COLUMNS]),
            ),
            **({"remedy": dg.MetadataValue.md(_remedies(open_points))} if open_points else {}),
            **({"unsortable": type(errors[0]).__name__} if errors and not fails else {}),
        },
    )


def _remedies(results: "Sequence[CheckResult]") -> str:
    return "\n".join(f"- {result.name}: {result.remedy}" for result in results)
