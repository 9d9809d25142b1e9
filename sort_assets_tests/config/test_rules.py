"""Rules and sidecars: what applies to a recording, and mistakes that are pointed at."""

import datetime
import os
import time
from pathlib import Path

import pytest

from sort_assets.config import PRESETS, ConfigLayer
from sort_assets.config.rules import Rules, find_sidecar, parse_rules, parse_sidecar, read_sidecar, rules_content
from sort_assets.config.rules_schema import Arrival
from sort_assets.errors import ConfigError, OutsideRecordingsRootError, RulesError

LAB = """
arrival: {quiet_s: 120}
rules:
  - match: "*"
    session: {lab: Doe lab, institution: University of Somewhere, experimenter: "Doe, Jane"}
  - match: "mouse1/**/*.h5"
    preset: kilosort4_maxwell
    streams: ["well00*"]
    recording: {freq_min: 250, probe_file: probes/h7.json}
    sorter: {params: {nblocks: 0}}
    subject: {subject_id: 007, species: Mus musculus, sex: F, age: P12W, date_of_birth: 2024-05-01, weight: 25 g}
  - match: ["tests/", "!tests/real/"]
    ignore: true
  - match: "sessions/*/"
    concatenate: true
    arrival: {marker: done.txt}
  - match: "archive/"
    sort: false
  - match: "mouse1/day2/"
    recording: {freq_min: 400, binary: {sampling_hz: 30000, channels: 4, dtype: int16}}
    session: {experimenter: ["Roe, Jo", "Poe, Al"], session_start_time: 2024-07-01T10:00:00+02:00}
"""


def _rules(text: str = LAB) -> Rules:
    return parse_rules(text, "sort_assets.yaml")


def test_all_matching_rules_apply_and_the_later_wins_key_by_key() -> None:
    settings = _rules().for_path("mouse1/day2/plate.h5")
    resolved = settings.resolve("kilosort4")

    assert settings.sources == tuple(f"sort_assets.yaml, line {line}" for line in (4, 6, 19))
    assert resolved.config.recording.freq_min == 400
    assert resolved.config.recording.bad_channels == PRESETS["kilosort4_maxwell"]["recording"]["bad_channels"]
    assert resolved.chosen["recording.freq_min"] == "sort_assets.yaml, line 19"
    assert resolved.chosen["recording.probe_file"] == "sort_assets.yaml, line 6"
    assert resolved.chosen["preset"] == "sort_assets.yaml, line 6"
    assert settings.streams == ("well00*",)
    assert settings.session.lab == "Doe lab"
    assert settings.session.experimenter == ("Roe, Jo", "Poe, Al")
    assert settings.session.session_start_time is not None
    assert settings.session.session_start_time.utcoffset() == datetime.timedelta(hours=2)
    assert settings.subject.subject_id == "007"
    assert settings.subject.date_of_birth == datetime.date(2024, 5, 1)


def test_a_recording_that_no_rule_matches_has_the_defaults() -> None:
    settings = Rules.empty().for_path("mouse9/day1.nwb")

    assert settings == _rules("# no rules yet\n").for_path("mouse9/day1.nwb")
    assert (settings.layers, settings.ignore, settings.sort, settings.streams) == ((), False, True, None)
    assert settings.arrival == Arrival(quiet_s=60.0)


def test_rules_say_what_is_ignored_registered_only_and_concatenated() -> None:
    rules = _rules()

    assert rules.for_path("tests/a.nwb").ignore
    assert not rules.for_path("tests/real/a.nwb").ignore
    assert not rules.for_path("archive/a.nwb").sort
    assert rules.for_path("sessions/monday").concatenate
    assert rules.for_path("sessions/monday").arrival == Arrival(quiet_s=120, marker="done.txt")


def test_the_sidecar_has_the_last_word_of_all_files_and_the_run_above_it() -> None:
    sidecar = parse_sidecar(
        "recording: {freq_min: 500, freq_max: 7000}\nstreams: null\nignore: false\nsubject: {sex: M}\n", "mouse1/x"
    )

    settings = _rules().for_path("mouse1/a.h5", sidecar)
    resolved = settings.resolve("kilosort4", [ConfigLayer("run config", {"recording": {"freq_max": 8000}})])

    assert (resolved.config.recording.freq_min, resolved.config.recording.freq_max) == (500, 8000)
    assert resolved.chosen["recording.freq_min"] == "mouse1/x"
    assert settings.streams is None
    assert (settings.subject.sex, settings.subject.species) == ("M", "Mus musculus")


def test_a_folder_is_passed_over_only_when_nothing_in_it_may_be_wanted() -> None:
    rules = _rules("rules:\n- {match: tests/, ignore: true}\n- {match: [raw/, '!raw/good.nwb'], ignore: true}\n")
    undone = _rules("rules:\n- {match: tests/, ignore: true}\n- {match: tests/real/, ignore: false}\n")
    wanted_after_all = parse_sidecar("ignore: false", "tests.sort_assets.yaml")

    assert rules.ignores_folder("tests")
    assert rules.ignores_folder("tests/deep/folder")
    assert not rules.ignores_folder("mouse1")
    assert not rules.ignores_folder("raw")
    assert not undone.ignores_folder("tests")
    assert undone.for_path("tests/a.nwb").ignore
    assert not rules.ignores_folder("tests", wanted_after_all)


def test_questions_that_a_scan_asks_of_every_name() -> None:
    rules = _rules()
    binary = parse_sidecar("recording: {binary: {dtype: int16}}", "a.dat.sort_assets.yaml")

    assert rules.concatenates("sessions/monday")
    assert not rules.concatenates("sessions")
    assert rules.concatenates("mouse1", parse_sidecar("concatenate: true", "mouse1.sort_assets.yaml"))
    assert rules.describes_binary("mouse1/day2/a.dat")
    assert not rules.describes_binary("mouse1/day3/a.dat")
    assert rules.describes_binary("mouse1/day3/a.dat", binary)


def test_all_mistakes_of_a_file_are_named_at_once_each_with_its_place() -> None:
    text = """rules:
  - match: "mouse1/"
    recording: {freq_mn: 250, freq_max: -1}
    preset: kilosrt4
    ignore: yes
    ms_before: 2
"""

    with pytest.raises(RulesError) as raised:
        _rules(text)

    assert raised.value.message.splitlines() == [
        "sort_assets.yaml, line 3, column 17: recording.freq_mn: there is no such field; the nearest is 'freq_min'.",
        "sort_assets.yaml, line 3, column 41: recording.freq_max: should be greater than 0, not -1.",
        "sort_assets.yaml, line 4, column 13: preset: there is no preset 'kilosrt4'; the nearest is 'kilosort4'; all "
        f"presets: {', '.join(sorted(PRESETS))}.",
        "sort_assets.yaml, line 5, column 13: ignore: should be true or false; write true for yes.",
        "sort_assets.yaml, line 6, column 5: ms_before: there is no such field here; it belongs into 'waveform'.",
    ]
    assert raised.value.diagnostics == {"path": "sort_assets.yaml", "problems": 5, "line": 3, "column": 17}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- match: a", "line 1, column 1: should be a mapping: arrival, rules"),
        ("rules: {match: a}", "line 1, column 8: rules: should be a list"),
        ("rules: []\nrules: []", "line 2, column 1: rules: stands here twice, first in line 1"),
        ("rules:\n- ignore: true", "line 2, column 3: match: is missing"),
        ("rules:\n- match: []", "line 2, column 10: match: should not be empty"),
        ("rules:\n- match: '!a'", "line 2, column 10: match: chooses nothing"),
        ("rules:\n- match: [a, ./b]", "line 2, column 14: match: can match nothing"),
        ("rules:\n- match: 5", "line 2, column 10: match: should be a list, not 5"),
        ("rules:\n- {match: a, streams: []}", "line 2, column 23: streams: should not be empty"),
        ("rules:\n- {match: a, waveform: 7}", "waveform: should be a mapping of fields and values, not 7"),
        ("rules:\n- {match: a, execution: {n_jobs: true}}", "execution.n_jobs: should be a whole number, not true"),
        ("rules:\n- {match: a, execution: {n_jobs: 08}}", 'n_jobs: should be a whole number, in decimal .*, not "08"'),
        ("rules:\n- {match: a, recording: {bad_channels: some}}", "bad_channels: should be 'auto', 'list' or 'none'"),
        (
            "rules:\n- {match: a, recording: {binary: {channels: 0}}}",
            "binary.channels: should be greater than 0, not 0",
        ),
        ("rules:\n- {match: a, recording: {binary: {dtyp: x}}}", "column 35: .*dtyp: .*the nearest is 'dtype'"),
        ("rules:\n- {match: a, sorter: {params: {x: [.inf]}}}", "sorter.params.x: should be a finite number"),
        ("arrival: {quiet_s: -1}", "line 1, column 20: arrival.quiet_s: should be greater than or equal to 0"),
        ("arrival: {marker: a/b}", "arrival.marker: should be the name of a file"),
    ],
)
def test_a_mistake_is_pointed_at(text: str, message: str) -> None:
    with pytest.raises(RulesError, match=message):
        _rules(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("match: a", "match: there is no such field"),
        ("session: {lab: 5}", "session.lab: should be text; put 5 in quotes"),
        ("session: {lab: ''}", "session.lab: should not be empty"),
        ("session: {session_id: a/b}", "session.session_id: should have no slash"),
        ("session: {experimenter: Jane}", "session.experimenter: should be written 'Last name, First name'"),
        ("session: {session_start_time: 2024-05-01 10:00}", "should have a time zone, such as 2024-05-01T10:00:00"),
        ("session: {session_start_time: 20240501}", "should be a date and time with its time zone"),
        ("session: {session_start_time: 1970-01-01T00:00:00Z}", "should be the true start of the session"),
        ("subject: {sex: female}", "subject.sex: should be 'M', 'F', 'U', 'O'"),
        ("subject: {species: mouse}", "subject.species: should be the Latin name such as 'Mus musculus'"),
        ("subject: {age: 12 weeks}", "subject.age: should be an ISO 8601 duration such as P90D"),
        ("subject: {age: P}", "subject.age: should be an ISO 8601 duration"),
        ("subject: {weight: 25 mice}", "subject.weight: should be a number and its unit"),
        ("subject: {date_of_birth: 1.5.2024}", "subject.date_of_birth: should be a date such as 2024-05-01"),
    ],
)
def test_facts_are_checked_as_nwb_asks(text: str, message: str) -> None:
    with pytest.raises(RulesError, match=message):
        parse_sidecar(text, "mouse1.sort_assets.yaml")


@pytest.mark.parametrize("age", ["P90D", "P12W", "P1Y2M3DT4H", "P0.5Y", "P10W/P12W", "P90Y/"])
def test_ages_and_ranges_of_ages_are_durations(age: str) -> None:
    assert parse_sidecar(f"subject: {{age: {age}}}", "s").statements.subject.age == age  # type: ignore[union-attr]


def test_facts_fit_into_the_nwb_objects_that_they_are_named_after() -> None:
    from pynwb import NWBFile
    from pynwb.file import Subject

    settings = _rules().for_path("mouse1/day2/plate.h5")
    subject = settings.subject.model_dump(exclude_none=True, exclude={"date_of_birth"})
    session = settings.session.model_dump(exclude_none=True)

    made = NWBFile(session_description="a test", identifier="1", subject=Subject(**subject), **session)

    assert made.experimenter == ("Roe, Jo", "Poe, Al")
    assert made.subject.weight == "25 g"


def test_fields_that_do_not_fit_each_other_are_found_when_all_layers_are_there() -> None:
    settings = _rules("rules:\n- {match: a, recording: {freq_min: 7000}}").for_path("a")

    fitting = settings.resolve("kilosort4", [ConfigLayer("run config", {"recording": {"freq_max": 9000}})])

    assert fitting.config.recording.freq_max == 9000
    with pytest.raises(ConfigError, match=r"freq_min \(7000.*chosen by sort_assets.yaml, line 2\)"):
        settings.resolve("kilosort4", [ConfigLayer("run config", {"recording": {"start_s": 1.0}})])


def test_a_binary_of_which_no_layer_tells_the_rate_names_who_described_it() -> None:
    settings = _rules("rules:\n- {match: a, recording: {binary: {channels: 4, dtype: int16}}}").for_path("a")

    with pytest.raises(ConfigError, match=r"binary.sampling_hz: Field required \(chosen by sort_assets.yaml, line 2\)"):
        settings.resolve("kilosort4")


def test_the_nearest_sidecar_alone_counts(tmp_path: Path) -> None:
    recording = tmp_path / "mouse1" / "day2" / "a.nwb"
    recording.parent.mkdir(parents=True)
    of_mouse = tmp_path / "mouse1.sort_assets.yaml"
    of_recording = tmp_path / "mouse1" / "day2" / "a.nwb.sort_assets.yaml"
    of_mouse.write_text("sort: false")
    (tmp_path.parent / f"{tmp_path.name}.sort_assets.yaml").write_text("ignore: true")

    assert find_sidecar(recording, tmp_path) == of_mouse
    of_recording.write_text("recording: {freq_min: 200}")
    assert find_sidecar(recording, tmp_path) == of_recording
    assert find_sidecar(tmp_path / "mouse2" / "b.nwb", tmp_path) is None
    assert read_sidecar(of_recording, tmp_path).source == "mouse1/day2/a.nwb.sort_assets.yaml"


def test_a_sidecar_outside_the_root_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "recordings"
    root.mkdir()
    secret = tmp_path / "secret.yaml"
    secret.write_text("password: 1")
    sidecar = root / "a.nwb.sort_assets.yaml"
    sidecar.symlink_to(secret)

    with pytest.raises(OutsideRecordingsRootError, match="symbolic link"):
        find_sidecar(root / "a.nwb", root)
    with pytest.raises(OutsideRecordingsRootError, match="symbolic link"):
        read_sidecar(sidecar, root)


def test_a_root_behind_a_link_is_the_same_root(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    root = tmp_path / "recordings"
    root.symlink_to(real)
    (real / "a.nwb.sort_assets.yaml").write_text("sort: false")

    assert find_sidecar(root / "a.nwb", root) == root / "a.nwb.sort_assets.yaml"
    assert read_sidecar(real / "a.nwb.sort_assets.yaml", root).source == "a.nwb.sort_assets.yaml"


def test_content_is_read_within_bounds_and_never_from_a_pipe(tmp_path: Path) -> None:
    large, pipe = tmp_path / "large.yaml", tmp_path / "pipe.yaml"
    large.write_bytes(b"#" * 3_000_000)
    os.mkfifo(pipe)

    assert rules_content(pipe) == b""
    assert rules_content(tmp_path / "absent.yaml") == b""
    with pytest.raises(RulesError, match="larger than 1000000 bytes"):
        parse_rules(rules_content(large), "large.yaml")


def test_a_file_that_can_not_be_read_is_an_error_that_says_so() -> None:
    nothing_is_mapped_at_its_start = Path("/proc/self/mem")

    with pytest.raises(RulesError, match="can't be read: Input/output error"):
        rules_content(nothing_is_mapped_at_its_start)


def test_twenty_rules_are_matched_against_50_000_paths_in_seconds() -> None:
    rules = _rules(
        "rules:\n" + "".join(f"- {{match: ['m{i}/**/*.h5', '*_{i}.nwb'], sort: false}}\n" for i in range(20))
    )
    paths = [f"m{i % 40}/2024-05-{i % 28}/session_{i}/recording_{i % 20}.h5" for i in range(50_000)]
    start = time.monotonic()

    registered_only = sum(not rules.for_path(path).sort for path in paths)

    assert registered_only == 25_000
    assert time.monotonic() - start < 5
