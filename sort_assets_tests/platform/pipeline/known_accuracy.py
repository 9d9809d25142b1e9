"""Measurements of accuracy whose outcome is known, in the store of a real home."""

from typing import Any

from sort_assets.hybrid.accuracy import UnitAccuracy
from sort_assets.platform.store.store import Artefact, Store
from sort_assets.platform.store.stored_hybrid import AccuracyDetails, StoredAccuracy


def measured_units(recall: float, number: int = 5) -> tuple[UnitAccuracy, ...]:
    """Units over the range of signal-to-noise ratios, all with the same recall."""
    return tuple(
        UnitAccuracy(f"injected-{each}", "7", 3.0 + 3.0 * each, 30.0 * (each + 1), 50.0 * each, 20.0, 5.0, 100)
        if not recall
        else UnitAccuracy(
            *(f"injected-{each}", "7", 3.0 + 3.0 * each, 30.0 * (each + 1), 50.0 * each, 20.0, 5.0, 100),
            *("3", round(100 * recall) + 2, round(100 * recall)),
        )
        for each in range(number)
    )


def publish_measurement(
    store: Store,
    key: str,
    recall: float,
    *,
    channels: int = 16,
    sorter: str = "mountainsort5",
    params: dict[str, Any] | None = None,
    run_id: str = "measured",
    data_version: str | None = None,
) -> Artefact:
    """Make a measurement the current one of a recording."""
    units = measured_units(recall)
    with store.stage(key, StoredAccuracy.asset, run_id=run_id) as staging:
        return staging.publish(
            data_version=data_version or f"{key} {recall}",
            config={"sorter": {"name": sorter, "params": params or {}}},
            config_sources={},
            inputs={},
            details=AccuracyDetails(
                units=tuple(one.to_dict() for one in units),
                recall=recall,
                precision=0.98,
                found_well=0,
                channels=channels,
                device="CPU",
                duration_s=300.0,
                num_units_found=9,
            ),
        )
