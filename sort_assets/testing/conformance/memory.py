"""Lowering the parameters that drive memory, and restoring them."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest

from sort_assets.backends import SorterBackend
from sort_assets.testing.conformance.subject import BackendUnderTest

_MOST_SCALINGS = 100


class MemoryConformance(BackendUnderTest):
    """Scaling ends somewhere, says whether it changed something, and is undone exactly."""

    @pytest.mark.parametrize("factor", [-1.0, 0.0, 1.0, 2.0, math.nan, math.inf])
    def test_a_factor_that_does_not_lower_changes_nothing(self, backend: SorterBackend, factor: float) -> None:
        config = backend.config

        assert backend.scale_oom_params(factor) is False

        assert backend.config is config

    def test_scaling_says_whether_something_changed_and_ends_at_a_floor(self, backend: SorterBackend) -> None:
        for _ in range(_MOST_SCALINGS):
            before = backend.config
            changed = backend.scale_oom_params(0.5)
            assert changed == (backend.config != before)
            if not changed:
                return
        pytest.fail(f"still scales after {_MOST_SCALINGS} times")

    def test_scaling_replaces_the_configuration_and_leaves_the_old_one_alone(self) -> None:
        config = self.make_config()
        backend = self.make_backend(config)

        scaled = backend.scale_oom_params(0.5)

        assert config == self.make_config()
        assert (backend.config is config) == (not scaled)

    def test_restoring_undoes_all_scaling_also_after_a_failure(self, backend: SorterBackend) -> None:
        before = backend.config
        snapshot = backend.snapshot_oom_params()

        with pytest.raises(MemoryError):
            _scale_and_fail(backend, snapshot)

        assert backend.config == before

    def test_a_snapshot_does_not_change_afterwards(self, backend: SorterBackend) -> None:
        snapshot = backend.snapshot_oom_params()
        copied = copy.deepcopy(snapshot)

        backend.scale_oom_params(0.5)
        backend.restore_oom_params(snapshot)
        backend.scale_oom_params(0.5)

        assert snapshot == copied


def _scale_and_fail(backend: SorterBackend, snapshot: dict[str, Any]) -> None:
    try:
        backend.scale_oom_params(0.5)
        backend.scale_oom_params(0.7)
        raise MemoryError
    finally:
        backend.restore_oom_params(snapshot)
