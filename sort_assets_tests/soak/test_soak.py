"""A soak of a minute, and what a plan is; `make soak` takes an hour."""

from pathlib import Path

import pytest

from sort_assets_tests.soak.plan import LOCAL_FAULTS, make_plan
from sort_assets_tests.soak.recordings import SORTED
from sort_assets_tests.soak.storm import Options, Soak

KILLS = tuple(
    kind for kind in LOCAL_FAULTS if kind.act == "SIGKILL" and kind.role in ("sorter", "step", "run worker", "daemon")
)


def test_a_plan_is_the_same_for_the_same_seed() -> None:
    plan, again, another = (make_plan(seed, 3600.0, 200, LOCAL_FAULTS) for seed in (1, 1, 2))

    assert plan == again != another
    assert len(plan.arrivals) == 200
    assert {fault.kind.name for fault in plan.faults} == {kind.name for kind in LOCAL_FAULTS}
    assert {arrival.how for arrival in plan.arrivals} == {"whole", "slow", "twin", "removed", "broken"}


@pytest.mark.release
def test_a_short_storm_leaves_every_recording_sorted_or_with_a_reason_and_nothing_else(tmp_path: Path) -> None:
    options = Options(
        minutes=0.2,
        recordings=2,
        seed=2190,
        every_s=3.0,
        sort_s=1.0,
        settle_s=360.0,
        calm_s=1.0,
        patience_s=240.0,
        kinds=KILLS,
        fill_disk=False,
    )

    results = Soak(options, tmp_path).run()

    assert results.interrupted_in is None
    assert results.wrong == []
    assert {one.state for one in results.after if one.how in ("whole", "slow", "twin")} == {SORTED}
    assert all(one.target for one in results.injected)
    assert (tmp_path / "table.md").read_text(encoding="utf-8").startswith("# Soak: local engine, sqlite, seed 2190")
