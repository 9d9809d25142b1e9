"""How many units of the earlier sorting are still there."""

from sort_assets.checks.usual_on_rig import as_before


def test_fewer_than_the_stated_share_do_not_pass() -> None:
    found = as_before(6, 10, [], 0.7, of="units that curation had kept")

    assert not found.passed
    assert found.severity == "warn"
    assert found.description.startswith("6 of 10 units that curation had kept are still there (60%); asked for are 70%")
    assert as_before(7, 10, [0.99] * 9, 0.7).passed


def test_fewer_than_usual_on_the_rig_do_not_pass() -> None:
    usual = [0.95, 0.93, 0.97, 0.94, 0.96, 0.95]

    assert not as_before(50, 100, usual).passed
    assert "fewer than usual" in as_before(50, 100, usual).description
    assert as_before(92, 100, usual).passed


def test_few_units_may_differ_by_chance() -> None:
    assert as_before(3, 5, [0.95] * 6).passed
    assert not as_before(300, 500, [0.95] * 6).passed


def test_a_short_history_and_no_units_pass() -> None:
    assert "too short" in as_before(1, 10, [0.9] * 4).description
    assert as_before(1, 10, [0.9] * 4).passed
    assert as_before(0, 0, []).passed
