"""Which rules are in force when the rules file has mistakes, and what a step does about it."""

from dataclasses import replace
from pathlib import Path

import pytest

from sort_assets.config.settings import Roots
from sort_assets.errors import RulesError
from sort_assets.platform.pipeline.recording_rules import RecordingRules
from sort_assets.platform.store.layout import RULES_FOLDER
from sort_assets_tests.fixtures.failures import failure_of
from sort_assets_tests.fixtures.home import Home

GOOD = "rules: [{match: archive/, ignore: true}]"
BAD = "rules: [{match: archive/, ignore: true}, {match: '*', presett: mountainsort5}]"


def _write(home: Home, text: str) -> None:
    (home.roots.recordings / "sort_assets.yaml").write_text(text, encoding="utf-8")


def test_a_first_rules_file_with_a_mistake_is_no_rules_at_all(home: Home) -> None:
    _write(home, BAD)

    rules = RecordingRules(home.roots)

    assert "presett" in str(rules.problem)
    assert not rules.in_force


def test_the_last_good_rules_stay_in_force(home: Home) -> None:
    _write(home, GOOD)
    RecordingRules(home.roots).keep()
    _write(home, BAD)

    rules = RecordingRules(home.roots)
    rules.keep()

    assert isinstance(rules.problem, RulesError)
    assert rules.in_force
    assert rules.settings("archive~a.nwb").ignore
    assert RecordingRules(home.roots).in_force  # what has mistakes was not kept


def test_without_a_rules_file_there_is_nothing_that_could_be_missing(home: Home) -> None:
    rules = RecordingRules(home.roots)
    rules.keep()

    assert rules.in_force
    assert not (home.roots.store / RULES_FOLDER).exists()


def test_a_file_that_is_just_being_written_costs_nobody_the_last_good_rules(home: Home) -> None:
    _write(home, GOOD)
    RecordingRules(home.roots).keep()
    _write(home, "")
    RecordingRules(home.roots).keep()
    _write(home, BAD)

    rules = RecordingRules(home.roots)

    assert rules.settings("archive~a.nwb").ignore


def test_rules_that_are_kept_already_are_not_written_again(home: Home) -> None:
    _write(home, GOOD)
    RecordingRules(home.roots).keep()
    kept = home.roots.store / RULES_FOLDER / "sort_assets.yaml"
    before = kept.stat()

    RecordingRules(home.roots).keep()

    assert (kept.stat().st_ino, kept.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("name", ["nowhere.json", "file/probe.json", "loop/probe.json", f"{'p' * 300}.json"])
def test_a_file_that_cannot_be_looked_at_is_gone(home: Home, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")

    stamp = RecordingRules(home.roots).file_stamp(tmp_path / name)

    assert stamp == "gone"


def test_a_step_keeps_good_rules_and_goes_by_them_when_a_mistake_gets_in(home: Home) -> None:
    key = home.add_partition("gone.nwb")
    _write(home, "rules: [{match: '*', sorter: {name: nosuch}}]")
    home.materialize(key, "preprocessed_recording", config={})
    _write(home, BAD)

    result = home.materialize(key, "preprocessed_recording", config={})

    failure = failure_of(home, result.run_id)
    assert failure.failure_class == "UnknownSorterError"  # which the last good rules alone ask for
    (warning,) = [one for one in home.warnings(result.run_id) if "presett" in one]
    assert "the last good rules are in force" in warning


def test_a_step_goes_on_where_the_rules_cannot_be_kept(home: Home) -> None:
    key = home.add_partition("gone.nwb")
    _write(home, GOOD)
    (home.roots.store / RULES_FOLDER).touch()

    result = home.materialize(key, "preprocessed_recording", config={})

    assert failure_of(home, result.run_id).failure_class == "MissingRecordingError"
    assert any("can't be kept" in one for one in home.warnings(result.run_id))


def test_rules_replace_the_file_and_what_was_in_it_stays_beside_it(home: Home) -> None:
    _write(home, GOOD)
    (home.folder / "new.yaml").write_text("rules: []", encoding="utf-8")

    new = RecordingRules(home.roots, in_place_of_file=home.folder / "new.yaml")
    old = new.replace_file(RecordingRules(home.roots))

    assert RecordingRules(home.roots).version == new.version
    assert old is not None
    assert old.parent == home.roots.recordings
    assert old.read_text() == GOOD


def test_a_file_that_the_environment_names_takes_the_place_of_the_rules_file(home: Home) -> None:
    _write(home, "rules: []")
    (home.folder / "elsewhere.yaml").write_text(GOOD, encoding="utf-8")

    with home.environment(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("SORT_ASSETS_RULES", str(home.folder / "elsewhere.yaml"))
        rules = RecordingRules(Roots.from_environment())

    assert rules.settings("archive~a.nwb").ignore
    assert rules.file == home.folder / "elsewhere.yaml"
    (home.folder / "elsewhere.yaml").unlink()
    assert "SORT_ASSETS_RULES" in str(RecordingRules(replace(home.roots, rules=rules.file)).problem)


def test_a_link_to_the_rules_stays_a_link(home: Home) -> None:
    kept = home.folder / "rules.yaml"
    kept.write_text(GOOD, encoding="utf-8")
    (home.roots.recordings / "sort_assets.yaml").symlink_to(kept)
    (home.folder / "new.yaml").write_text("rules: []", encoding="utf-8")

    RecordingRules(home.roots, in_place_of_file=home.folder / "new.yaml").replace_file(RecordingRules(home.roots))

    assert (home.roots.recordings / "sort_assets.yaml").is_symlink()
    assert kept.read_text() == "rules: []"


def test_rules_that_somebody_edited_meanwhile_are_not_replaced(home: Home) -> None:
    _write(home, GOOD)
    present = RecordingRules(home.roots)
    _write(home, "rules: []")
    (home.folder / "new.yaml").write_text(GOOD, encoding="utf-8")

    with pytest.raises(RulesError, match="edited meanwhile"):
        RecordingRules(home.roots, in_place_of_file=home.folder / "new.yaml").replace_file(present)

    assert [path.name for path in home.roots.recordings.iterdir()] == ["sort_assets.yaml"]


def test_a_mistake_in_the_file_that_is_to_come_is_raised(home: Home) -> None:
    _write(home, GOOD)
    (home.folder / "new.yaml").write_text(BAD, encoding="utf-8")

    with pytest.raises(RulesError, match="presett"):
        RecordingRules(home.roots, in_place_of_file=home.folder / "new.yaml")
