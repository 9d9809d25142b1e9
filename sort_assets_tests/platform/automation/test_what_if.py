"""What an edit of the rules would make stale, compared with what it does make stale; what it costs; and making it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sort_assets.platform.arrivals.header_reader import HeaderReader
from sort_assets.platform.automation.stale_results.staleness import StalenessReader
from sort_assets.platform.pipeline.catalog import PIPELINE
from sort_assets_tests.fixtures.home import Home
from sort_assets_tests.platform.arrivals.lab import QUIET_S, Lab
from sort_assets_tests.platform.automation.results import report_results
from sort_assets_tests.platform.past_costs import publish_all

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("what_if")]

RULES = """\
rules:
  - match: "*"
    recording: {freq_min: 250}
  - match: mouse1/
    sorter: {params: {Th_universal: 9}}
"""
MOUSE_1 = [f"mouse1~day{number}.nwb" for number in range(3)]
MOUSE_2 = [f"mouse2~day{number}.nwb" for number in range(3)]
SORTED, UNSORTED = [*MOUSE_1, *MOUSE_2], "mouse1~new.nwb"


@pytest.fixture(scope="module")
def shared_lab(module_home: Home, reader: HeaderReader, small_file: Path) -> Iterator[Lab]:
    """Six recordings of two animals that are sorted, and one that is not."""
    for key in (*SORTED, UNSORTED):
        path = module_home.roots.recordings / key.replace("~", "/")
        path.parent.mkdir(exist_ok=True)
        shutil.copy(small_file, path)
    with module_home.instance() as instance:
        lab = Lab(module_home, instance, reader)
        lab.rules(RULES)
        lab.arrive()
        lab.scan(QUIET_S)
        for key in SORTED:
            publish_all(module_home.store, key)
        yield lab


@pytest.fixture
def lab(shared_lab: Lab) -> Lab:
    """Everything as it was at first, and results of all that is sorted, which were just made."""
    shared_lab.rules(RULES)
    shared_lab.scan(QUIET_S)
    for key in SORTED:
        report_results(shared_lab.instance, key)
    return shared_lab


def _ask(lab: Lab, rules: str, *words: str, status: int = 0) -> dict[str, Any]:
    """What the command says of rules, which stand in a file of their own."""
    found = lab.home.invoke("what-if", "--rules", _new(lab, rules), "--json", *words)
    assert found.status == status, found.output
    answer: dict[str, Any] = json.loads(found.stdout)
    return answer


def _new(lab: Lab, rules: str) -> str:
    file = lab.home.folder / "new.yaml"
    file.write_text(rules, encoding="utf-8")
    return str(file)


def _stale(lab: Lab) -> dict[str, tuple[str, ...]]:
    return {one.key: one.rest for one in StalenessReader().read(lab.instance, seconds=60.0).stale}


@pytest.mark.parametrize(
    ("before", "after", "stale"),
    [
        ("freq_min: 250", "freq_min: 260", dict.fromkeys(SORTED, PIPELINE)),
        ("Th_universal: 9", "Th_universal: 8", dict.fromkeys(MOUSE_1, PIPELINE[2:])),
        ("sorter:", "curation: {min_snr: 4}\n    sorter:", dict.fromkeys(MOUSE_1, PIPELINE[4:])),
        ("sorter:", "delivery: {formats: [mat]}\n    sorter:", dict.fromkeys(MOUSE_1, ("spike_data",))),
        ("sorter:", "subject: {subject_id: m1}\n    sorter:", dict.fromkeys(MOUSE_1, ("spike_data",))),
        ("rules:", "# the same, with other words\nrules:", {}),
    ],
    ids=["recording", "sorter", "curation", "delivery", "subject", "nothing"],
)
def test_what_is_foretold_is_what_becomes_stale(
    lab: Lab, before: str, after: str, stale: dict[str, tuple[str, ...]]
) -> None:
    edited = RULES.replace(before, after)

    foretold = {one["recording"]: tuple(one["stale"]) for one in _ask(lab, edited)["edited"] if one["stale"]}
    assert _stale(lab) == {}  # asking changes nothing
    lab.rules(edited)
    lab.scan(QUIET_S)

    assert foretold == _stale(lab) == stale


def test_the_settings_that_change_are_named_also_of_what_is_not_sorted(lab: Lab) -> None:
    found = _ask(lab, RULES.replace("Th_universal: 9", "Th_universal: 8"))

    assert [one["recording"] for one in found["edited"]] == [*MOUSE_1, UNSORTED]
    for one in found["edited"]:
        assert one["changes"] == {"sorter.params.Th_universal": {"before": 9, "after": 8}}
    assert found["stale"] == MOUSE_1
    assert (found["recordings"], found["stale_anyway"]) == (7, 0)


def test_the_cost_is_that_of_the_steps_that_are_made_again(lab: Lab) -> None:
    sorting = _ask(lab, RULES.replace("Th_universal: 9", "Th_universal: 8"))["cost"]
    delivery = _ask(lab, RULES.replace("sorter:", "delivery: {formats: [mat]}\n    sorter:"))["cost"]

    assert (sorting["recordings"], delivery["recordings"]) == (3, 3)
    assert 0 < sorting["wall_s"]["p10"] < sorting["wall_s"]["p50"] < sorting["wall_s"]["p90"]
    # Every step took the same, of which six are made again, or one.
    assert sorting["cpu_s"]["p50"] == pytest.approx(6 * delivery["cpu_s"]["p50"], rel=0.05)


def test_what_is_stale_anyway_is_no_cost_of_the_edit(lab: Lab) -> None:
    lab.rules(RULES.replace("Th_universal: 9", "Th_universal: 8"))  # and nobody has looked since

    eight = RULES.replace("Th_universal: 9", "Th_universal: 8")
    same, more = _ask(lab, eight), _ask(lab, eight.replace("freq_min: 250", "freq_min: 260"))

    assert (same["stale_anyway"], same["stale"]) == (3, [])
    assert more["stale_anyway"] == 3
    stale = {one["recording"]: tuple(one["stale"]) for one in more["edited"] if one["stale"]}
    assert stale == dict.fromkeys(MOUSE_1, PIPELINE[:2]) | dict.fromkeys(MOUSE_2, PIPELINE)


def test_rules_as_results_were_made_with_make_them_fresh_again(lab: Lab) -> None:
    lab.rules(RULES.replace("Th_universal: 9", "Th_universal: 8"))
    lab.scan(QUIET_S)

    found = _ask(lab, RULES)

    assert (found["fresh"], found["stale"], found["stale_anyway"]) == (MOUSE_1, [], 3)


def test_what_the_store_no_longer_has_is_made_before_and_counted(lab: Lab) -> None:
    folder = lab.home.store.asset_folder(MOUSE_1[0], "binary_dat")
    away = folder.with_name("away")
    folder.rename(away)
    try:
        found = _ask(lab, RULES.replace("Th_universal: 9", "Th_universal: 8"))
    finally:
        away.rename(folder)

    first, second = found["edited"][:2]
    assert first["recording"] == MOUSE_1[0]
    assert tuple(first["stale"]) == tuple(second["made_again"]) == PIPELINE[2:]
    assert tuple(first["made_again"]) == PIPELINE[1:]


def test_what_would_be_ignored_is_said_and_costs_nothing(lab: Lab) -> None:
    ignoring = f"{RULES}  - match: mouse1/\n    ignore: true\n    waveform: {{ms_before: 1.5}}\n"

    found = _ask(lab, ignoring)
    lab.rules(ignoring)
    lab.scan(QUIET_S)
    back = _ask(lab, RULES)

    assert found["ignored"] == sorted([*MOUSE_1, UNSORTED])
    assert (found["edited"], found["cost"]["recordings"]) == ([], 0)
    assert (back["ignored"], back["taken"]) == ([], [f"mouse1/{name}.nwb" for name in ("day0", "day1", "day2", "new")])


def test_other_streams_or_files_are_left_to_a_scan(lab: Lab) -> None:
    found = _ask(lab, f"{RULES}  - match: mouse2/\n    streams: ['nothing*']\n")

    assert found["arranged"] == MOUSE_2


def test_the_table_says_it_to_people(lab: Lab) -> None:
    told = lab.home.invoke("what-if", "--rules", _new(lab, RULES.replace("Th_universal: 9", "Th_universal: 8")))

    assert told.status == 0
    line = next(line for line in told.stdout.splitlines() if line.startswith(MOUSE_1[0]))
    assert "sorter.params.Th_universal: 9 -> 8" in line
    assert "sorting and all that follows  the same" in line
    assert "Of 7 registered recordings, other settings: 4, with results that become stale: 3." in told.stdout
    assert "GPU time" in told.stdout


def test_applying_replaces_the_rules_and_keeps_the_old_ones(lab: Lab) -> None:
    file, edited = lab.root / "sort_assets.yaml", RULES.replace("Th_universal: 9", "Th_universal: 8")
    file.chmod(0o664)

    found = _ask(lab, edited, "--apply")

    assert found["applied"]
    assert file.read_text() == edited
    assert file.stat().st_mode & 0o777 == 0o664
    assert Path(found["old_rules"]).read_text() == RULES
    assert Path(found["old_rules"]).parent == lab.root
    assert "The sensor stale_recordings is off" in found["not_launched_because"]
    look = lab.scan(QUIET_S)
    assert (look.registered, look.warnings) == ([], [])  # the old rules are no recording, nor a sidecar
    assert set(_stale(lab)) == set(MOUSE_1)
    assert lab.home.invoke("what-if", "--rules", str(file)).stdout.count("stale: 0.") == 1


def test_rules_with_a_mistake_are_not_applied(lab: Lab) -> None:
    told = lab.home.invoke("what-if", "--rules", _new(lab, RULES.replace("match:", "mutch:")), "--apply")

    assert told.status == 1
    assert "mutch" in told.stderr
    assert "line 2" in told.stderr
    assert (lab.root / "sort_assets.yaml").read_text() == RULES


def test_rules_that_do_not_fit_together_are_not_applied(lab: Lab) -> None:
    edited = RULES.replace("freq_min: 250", "freq_min: 7000")  # above the default of freq_max

    found = _ask(lab, edited, "--apply", status=1)

    assert set(found["invalid"]) == {*SORTED, UNSORTED}
    assert not found["applied"]
    assert (lab.root / "sort_assets.yaml").read_text() == RULES


def test_without_a_history_there_is_no_forecast(home: Home, reader: HeaderReader, small_file: Path) -> None:
    shutil.copy(small_file, home.roots.recordings / "only.nwb")
    with home.instance() as instance:
        lab = Lab(home, instance, reader)
        lab.arrive()
        lab.scan(QUIET_S)  # the run that it asked for is requested
        report_results(instance, "only.nwb")
        publish_all(home.store, "only.nwb", with_cost=False)
        new = _new(lab, "rules: [{match: '*', curation: {min_snr: 4}}]")

        told = home.invoke("what-if", "--rules", new)
        applied = _ask(lab, Path(new).read_text(), "--apply")

    assert "with results that become stale: 1." in told.stdout
    assert "No forecast: no history of at least five runs" in told.stdout
    assert applied["cost"]["recordings"] == 0
    assert applied["old_rules"] is None  # there was no rules file
    assert (home.roots.recordings / "sort_assets.yaml").is_file()
