"""How long a silent sorter is tolerated, and what watches it."""

from __future__ import annotations

from typing import Any

import pytest

from sort_assets.backends import SorterBackend
from sort_assets.testing.conformance.subject import SHORT_S, BackendUnderTest, GroundTruth


class InactivityConformance(BackendUnderTest):
    """The tolerance follows the configuration and the recording; without either, or a log, nothing is watched."""

    @pytest.mark.parametrize(
        ("maximum_s", "tolerance_s"),
        [(None, 10 + 60 * SHORT_S / 60), (10.5, 10.5), (10000.0, 10 + 60 * SHORT_S / 60)],
    )
    def test_inactivity_is_tolerated_in_proportion_to_duration(
        self, short: GroundTruth, maximum_s: float | None, tolerance_s: float
    ) -> None:
        execution = {"sorter_inactivity_base_s": 10, "sorter_inactivity_per_min_s": 60}
        backend = self.make_backend(self.make_config(execution={**execution, "sorter_inactivity_max_s": maximum_s}))

        assert backend._resolve_inactivity_timeout_s(short[0]) == pytest.approx(tolerance_s)

    def test_inactivity_is_not_watched_when_that_is_disabled(self, short: GroundTruth) -> None:
        backend = self.make_backend(self.make_config(execution={"sorter_inactivity_timeout": False}))

        assert backend._resolve_inactivity_timeout_s(short[0]) is None

    def test_inactivity_is_not_watched_when_the_duration_is_unknown(self, backend: SorterBackend) -> None:
        of_unknown_duration: Any = object()

        assert backend._resolve_inactivity_timeout_s(of_unknown_duration) is None

    def test_inactivity_is_not_watched_inside_the_process_without_an_active_log(
        self, backend: SorterBackend, short: GroundTruth
    ) -> None:
        assert backend._make_in_process_inactivity_watchdog(short[0], sorter=self.backend_name) is None
