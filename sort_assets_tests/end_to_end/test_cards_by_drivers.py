"""Every card with every driver: `doctor`, `demo` and a sort say the same of it, and the cure."""

import re

import pytest

from sort_assets.errors import GpuDriverError
from sort_assets_tests.fixtures.fake_driver import FakeDriver
from sort_assets_tests.fixtures.home import Home
from sort_assets_tests.fixtures.ready import Ready
from sort_assets_tests.machine.cards_by_drivers import ROWS, Row, ask

OFTEN = {0, 2, 7, 13, 14}
"""One that works, one without code, one with an old driver, and those of which the cure differs."""


def marked(row: Row) -> object:
    number = ROWS.index(row)
    name = f"{row.card}-{row.driver}".replace(" ", "-")
    return pytest.param(row, id=name, marks=pytest.mark.slow if number in OFTEN else pytest.mark.release)


@pytest.mark.parametrize("row", [marked(row) for row in ROWS])
def test_doctor_demo_and_a_sort_name_card_driver_reason_and_cure(
    row: Row, module_home: Home, driver: FakeDriver
) -> None:
    said = ask(row, module_home, driver)

    level, detail, remedy = said.doctor
    card = f"{row.card} (driver {row.driver}, compute capability {'{}.{}'.format(*row.capability)})"
    if row.reason is None:
        assert (level, said.demo) == ("ok", "")
        assert card in detail
        assert "torch computes on it" in detail
        assert said.sort == f"cuda, CUDA_VISIBLE_DEVICES={row.uuid}"
        return
    assert (level, said.doctor_status) == ("error", 1)
    assert type(said.sort) is GpuDriverError
    for text in (f"{detail} {remedy}", said.demo, str(said.sort)):
        assert card in text
        assert row.reason in text
        assert re.search(row.cure, text, re.DOTALL)


@pytest.mark.release
@pytest.mark.parametrize("row", [pytest.param(row, id=f"{row.card}-{row.driver}") for row in ROWS if row.reason])
def test_a_run_that_sorts_on_such_a_card_fails_with_the_same_words(row: Row, ready: Ready, driver: FakeDriver) -> None:
    row.in_slot(driver)

    done = ready.home.materialize(ready.key, "sorting", config={"preset": "kilosort4"})

    (failure,) = [event.step_failure_data.user_failure_data for event in done.all_events if event.is_step_failure]
    assert failure is not None
    assert failure.description is not None
    assert f"{row.card} (driver {row.driver}" in failure.description
    assert str(row.reason) in failure.description
    assert re.search(row.cure, failure.description, re.DOTALL)
