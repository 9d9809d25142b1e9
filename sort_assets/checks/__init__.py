"""What a person would look for in finished results, each as a function that returns a `CheckResult`.

Nothing here knows Dagster. A check never raises because there is nothing to check: without units, positions or enough
spikes it passes, and its description says why.
"""

from sort_assets.checks.batch_edges import holes_at_batch_edges
from sort_assets.checks.drift import drift_within_pitch
from sort_assets.checks.refractory import refractory_violations
from sort_assets.checks.result import CheckResult
from sort_assets.checks.spikes import duplicate_fraction, spikes_in_order
from sort_assets.checks.stability import stability
from sort_assets.checks.usual import noise_level, yield_as_usual

__all__ = [
    "CheckResult",
    "drift_within_pitch",
    "duplicate_fraction",
    "holes_at_batch_edges",
    "noise_level",
    "refractory_violations",
    "spikes_in_order",
    "stability",
    "yield_as_usual",
]
