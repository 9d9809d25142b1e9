"""What goes wrong at the source is said once, in words, with its remedy; of it, the store keeps only the record."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
from spikeinterface.core import BaseRecording, BaseSorting, NumpyRecording

from sort_assets.platform.pipeline.catalog import PIPELINE
from sort_assets.platform.store.failures import failed_attempts
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.fixtures.failures import Failed, failure_of, last_failure
from sort_assets_tests.fixtures.home import CHEAP, Home, cheap, materialize_words
from sort_assets_tests.recordings.files import cut_second_half

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Case:
    """An input that can't be sorted, and what must be said about it.

    Attributes
    ----------
    prepare : callable
        Makes the input; returns the partition's key. Called with the home, a good file and its recording.
    failure_class : str
        Name of the error's class.
    names : str
        Occurs in the description: the file or field.
    remedy : str
        Occurs in the remedy.
    config : Mapping[str, Any]
        The run's configuration of the backend.
    step : str
        The asset that fails.
    recorded : bool
        Whether a record is left: nothing is staged before the key and the configuration are found good.
    """

    prepare: Callable[[Home, Path, BaseRecording], str]
    failure_class: str
    names: str
    remedy: str
    config: Mapping[str, Any] = field(default_factory=lambda: CHEAP)
    step: str = PIPELINE[0]
    recorded: bool = True


def _good(home: Home, good: Path, _: BaseRecording) -> str:
    return home.register(home.link(good, "good.nwb"))


def _deleted(home: Home, good: Path, _: BaseRecording) -> str:
    path = home.link(good, "deleted.nwb")
    key = home.register(path)
    path.unlink()
    return key


def _truncated(home: Home, good: Path, _: BaseRecording) -> str:
    path = _copy(home, good, "truncated.nwb")
    key = home.register(path)
    cut_second_half(path)
    return key


def _emptied(home: Home, good: Path, _: BaseRecording) -> str:
    path = _copy(home, good, "empty.nwb")
    key = home.register(path)
    os.truncate(path, 0)
    return key


def _no_recording(home: Home, good: Path, _: BaseRecording) -> str:
    (home.roots.recordings / "notes.txt").write_text("a mouse", encoding="utf-8")
    return home.add_partition("notes.txt")


def _without_locations(home: Home, good: Path, recording: BaseRecording) -> str:
    return home.register(write_nwb(recording, home.roots.recordings / "nowhere.nwb", locations=False))


def _with_nan(home: Home, good: Path, recording: BaseRecording) -> str:
    microvolts = recording.get_traces(return_in_uV=True).astype(np.float32)
    microvolts[150_000, 5] = np.nan
    broken = NumpyRecording([microvolts], recording.sampling_frequency, channel_ids=recording.channel_ids)
    broken.set_probegroup(recording.get_probegroup())
    broken.set_channel_gains(1.0)
    broken.set_channel_offsets(0.0)
    return home.register(write_nwb(broken, home.roots.recordings / "nan.nwb"))


def _link_outside(home: Home, good: Path, _: BaseRecording) -> str:
    (home.roots.recordings / "elsewhere").symlink_to(good.parent, target_is_directory=True)
    return home.add_partition(f"elsewhere~{good.name}")


def _mistaken_rules(home: Home, good: Path, _: BaseRecording) -> str:
    key = home.register(home.link(good, "good.nwb"))
    (home.roots.recordings / "sort_assets.yaml").write_text("rules: [{match: '*', presett: lupin}]", encoding="utf-8")
    return key


def _key(key: str) -> Callable[[Home, Path, BaseRecording], str]:
    return lambda home, _good, _recording: home.add_partition(key)


def _copy(home: Home, good: Path, name: str) -> Path:
    path = home.roots.recordings / name
    path.write_bytes(good.read_bytes())
    return path


CASES = {
    "missing file": Case(_deleted, "MissingRecordingError", "deleted.nwb' does not exist", "Check the path"),
    "unknown format": Case(_no_recording, "UnknownFormatError", "notes.txt' has no known format", "(.nwb"),
    "truncated file": Case(_truncated, "UnreadableRecordingError", "truncated.nwb' is truncated", "Copy the recording"),
    "empty file": Case(_emptied, "UnreadableRecordingError", "empty.nwb' is empty", "copy it again"),
    "no probe": Case(_without_locations, "MissingProbeError", "nowhere.nwb'", "rel_x and rel_y"),
    "NaN": Case(
        _with_nan,
        "NonFiniteSamplesError",
        "NaN or infinite values, first on channel 5",
        "start_s",
        step=PIPELINE[1],
    ),
    "key with ..": Case(
        _key("=2E.~secret.nwb"), "OutsideRecordingsRootError", "'../secret.nwb'", "below the", recorded=False
    ),
    "key of dots": Case(_key(".."), "OutsideRecordingsRootError", "'..' leads outside", "below the", recorded=False),
    "absolute key": Case(
        _key("~etc~passwd"), "OutsideRecordingsRootError", "'/etc/passwd'", "below the", recorded=False
    ),
    "no key": Case(
        _key("../secret.nwb"), "RecordingKeyError", "'../secret.nwb' is not a recording key", "register", recorded=False
    ),
    "link out of the root": Case(
        _link_outside, "OutsideRecordingsRootError", "elsewhere/", "below the root", recorded=False
    ),
    "mistake in the first rules file": Case(
        _mistaken_rules,
        "RulesError",
        "sort_assets.yaml, line 1, column 22: presett",
        "Correct the named line of sort_assets.yaml",
        recorded=False,
    ),
    "unknown sorter": Case(
        _good, "UnknownSorterError", "'nosuch'", "kilosort4, lupin", cheap(sorter={"name": "nosuch"}), recorded=False
    ),
    "misspelt sorter parameter": Case(
        _good,
        "ConfigError",
        "sorter.params.detect_treshold",
        "Did you mean detect_threshold",
        cheap(sorter={"params": {"detect_treshold": 5.5}}),
    ),
    "value out of range": Case(
        _good,
        "ConfigError",
        "freq_min (9000.0 Hz)",
        "Correct the named fields",
        cheap(recording={"freq_min": 9000}),
        recorded=False,
    ),
    "bad channel that is not there": Case(
        _good,
        "BadChannelsError",
        "no channels 99",
        "from 0 to 15",
        cheap(recording={"bad_channels": "list", "bad_channel_ids": ["99"]}),
    ),
}


OFTEN = {
    "truncated file",
    "NaN",
    "key with ..",
    "link out of the root",
    "mistake in the first rules file",
    "misspelt sorter parameter",
}
"""One of each kind; that each of the others has its class and its words is also asked where it is raised."""


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=name.replace(" ", "-"), marks=() if name in OFTEN else pytest.mark.release)
        for name, case in CASES.items()
    ],
)
def test_a_bad_input_fails_its_run_once_in_words_and_leaves_only_its_record(
    home: Home, short: tuple[BaseRecording, BaseSorting], short_file: Path, case: Case
) -> None:
    key = case.prepare(home, short_file, short[0])

    result = home.materialize(key, config=case.config)

    failure = failure_of(home, result.run_id)
    assert failure.step == case.step
    assert failure.failure_class == case.failure_class
    assert case.names in failure.description
    assert case.remedy in failure.remedy
    assert failure.remedy in failure.description
    if case.recorded:
        _assert_only_recorded(home, key, failure)
    else:
        assert home.store.recordings() == []


@pytest.mark.release
def test_a_file_that_is_replaced_halfway_is_not_mixed_with_what_was_seen_of_it(
    home: Home, short: tuple[BaseRecording, BaseSorting]
) -> None:
    path = home.roots.recordings / "replaced.nwb"
    key = home.register(write_nwb(short[0], path))
    assert home.materialize(key, "preprocessed_recording").success
    path.unlink()
    write_nwb(short[0].frame_slice(0, 240_000), path)

    result = home.materialize(key, "binary_dat")

    failure = failure_of(home, result.run_id)
    assert failure.step == "binary_dat"
    assert "replaced.nwb' has changed since it was preprocessed" in failure.description
    assert "Materialize preprocessed_recording again" in failure.remedy
    _assert_only_recorded(home, key, failure)


def test_a_sorter_whose_package_is_missing_says_what_to_install(
    home: Home, short_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = home.register(home.link(short_file, "good.nwb"))
    monkeypatch.setitem(sys.modules, "mountainsort5", None)  # Python's own way to make an import fail

    result = home.materialize(key)

    failure = failure_of(home, result.run_id)
    assert failure.failure_class == "SorterNotInstalledError"
    assert "'mountainsort5' is not installed" in failure.description
    assert failure.remedy == "Run: pip install 'sort-assets[mountainsort5]'"
    _assert_only_recorded(home, key, failure)


def test_a_misspelt_config_field_is_refused_before_there_is_a_run(home: Home, short_file: Path) -> None:
    key = home.register(home.link(short_file, "good.nwb"))

    with pytest.raises(dg.DagsterInvalidConfigError, match=r'unexpected config entry "freq_mn".*freq_min'):
        home.materialize(key, config=cheap(recording={"freq_mn": 300}))

    with home.instance() as instance:
        assert instance.get_runs() == []


@pytest.mark.release
def test_the_command_line_says_it_too(home: Home, short_file: Path, tmp_path: Path) -> None:
    key = _deleted(home, short_file, None)

    done = home.command(*materialize_words(key, config_file=tmp_path / "run.json"))

    failure = last_failure(home)
    assert done.status != 0
    assert failure.description in done.output.replace("\n", " ")
    _assert_only_recorded(home, key, failure)


def test_the_command_line_refuses_a_misspelt_config_field(home: Home, short_file: Path, tmp_path: Path) -> None:
    key = home.register(home.link(short_file, "good.nwb"))
    config = cheap(recording={"freq_mn": 300})

    done = home.command(*materialize_words(key, config=config, config_file=tmp_path / "run.json"))

    assert done.status != 0
    assert 'unexpected config entry "freq_mn"' in done.output
    assert "freq_min" in done.output


@pytest.mark.release
def test_a_third_party_sorter_that_is_not_complete_is_named(
    home: Home, short_file: Path, tmp_path: Path, plugin: Callable[[str], Path]
) -> None:
    key = home.register(home.link(short_file, "good.nwb"))
    words = materialize_words(key, config={"sorter": {"name": "threshold"}}, config_file=tmp_path / "run.json")

    done = home.command(*words, python_path=plugin("left_out_of_the_wheel:ThresholdBackend"))

    failure = last_failure(home)
    assert done.status != 0
    assert failure.failure_class == "SorterNotInstalledError"
    assert "'threshold' can't be loaded from 'left_out_of_the_wheel:ThresholdBackend'" in failure.description
    assert failure.remedy == "Reinstall the package that declares it."
    assert home.store.recordings() == []


def test_what_is_no_recording_is_not_registered_and_the_others_are(home: Home, short_file: Path) -> None:
    root = home.roots.recordings
    (root / "notes.txt").write_text("a mouse", encoding="utf-8")
    (root / "empty.nwb").touch()
    cut_second_half(_copy(home, short_file, "cut.nwb"))
    (root / "outside.nwb").symlink_to(short_file)
    home.link(short_file, "good.nwb")
    bad = {
        "notes.txt": "has no known format",
        "empty.nwb": "is empty",
        "cut.nwb": "is truncated",
        "outside.nwb": "outside the recordings root",
        "gone.nwb": "does not exist",
    }

    done = home.command("sort-assets", "register", *(root / name for name in (*bad, "good.nwb")))

    lines = done.stderr.splitlines()
    assert done.status == 1
    assert done.stdout.split() == ["good.nwb"]
    assert len(lines) == len(bad)
    for line, (name, problem) in zip(lines, bad.items(), strict=True):
        assert line.startswith(str(root / name))
        assert problem in line
        assert " Remedy: " in line
    with home.instance() as instance:
        assert instance.get_dynamic_partitions("recordings") == ["good.nwb"]


def _assert_only_recorded(home: Home, key: str, failure: Failed) -> None:
    """The failed asset has the record of one attempt and nothing else; those after it, and other recordings, nothing.

    Those before it have a version each, with nothing unfinished beside it.
    """
    before = PIPELINE[: PIPELINE.index(failure.step)]
    (record,) = failed_attempts(home.store, key, failure.step)
    assert type(record.error).__name__ == failure.failure_class
    assert record.error.remedy == failure.remedy
    assert record.error.message in failure.description
    assert (record.attempt, record.retried) == (1, False)
    assert _below(home.store.asset_folder(key, failure.step)) == [f"failed/{record.version}/failure.json"]
    assert home.store.recordings() == [key]
    assert sorted(home.store.assets(key)) == sorted([*before, failure.step])
    for asset in before:
        (version,) = home.store.versions(key, asset)
        assert {path.name for path in home.store.asset_folder(key, asset).iterdir()} == {version, "current"}


def _below(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()]
