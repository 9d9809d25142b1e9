import pytest

from sort_assets.recordings.formats.spikeglx_clock import trigger_starts

RATE_HZ = 30_000.5


def test_triggers_begin_where_their_descriptions_say() -> None:
    metas = [{"firstSample": "900", "fileTimeSecs": "0.0999983"}, {"firstSample": "60900"}]

    starts_s, doubts = trigger_starts(metas, [3000, 3000], RATE_HZ)

    assert starts_s == [900 / RATE_HZ, 60_900 / RATE_HZ]
    assert doubts == []


def test_a_trigger_that_does_not_say_when_it_began_follows_the_one_before() -> None:
    starts_s, doubts = trigger_starts([{"firstSample": "900"}, {}], [3000, 3000], RATE_HZ)

    assert starts_s == [900 / RATE_HZ, 3900 / RATE_HZ]
    (doubt,) = doubts
    assert "trigger file 2 of 2 does not say when it began" in doubt


def test_the_only_file_of_a_run_may_leave_its_start_open() -> None:
    assert trigger_starts([{}], [3000], RATE_HZ) == ([0.0], [])


def test_a_duration_that_contradicts_the_samples_is_told() -> None:
    _, doubts = trigger_starts([{"firstSample": "0", "fileTimeSecs": "2"}], [30_000], RATE_HZ)

    (doubt,) = doubts
    assert "says that it lasts 2 s (fileTimeSecs), and it has samples for 0.999983 s" in doubt


@pytest.mark.parametrize("stated", ["nan", "soon", "-1"])
def test_a_duration_that_can_t_be_is_told(stated: str) -> None:
    _, (doubt,) = trigger_starts([{"fileTimeSecs": stated}], [30_000], RATE_HZ)

    assert f"says that it lasts {stated} s" in doubt
