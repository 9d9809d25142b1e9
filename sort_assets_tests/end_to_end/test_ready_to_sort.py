"""The check of preprocessed_recording says beforehand what a sort would run into."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from spikeinterface.core import BaseRecording, BaseSorting

from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.fixtures.home import CHEAP, Home, cheap
from sort_assets_tests.recordings.files import recording_of

pytestmark = pytest.mark.slow

READY = "ready_to_sort"
RESOLVES = "resolves_the_noise"
COMPLETE = "complete_and_not_clipped"
UP_TO_DAT = ("preprocessed_recording", "binary_dat")


@dataclass(frozen=True)
class Checked:
    """A run's result of one check."""

    passed: bool
    severity: dg.AssetCheckSeverity
    description: str
    metadata: dict[str, dg.MetadataValue]

    @property
    def open_points(self) -> dict[str, str]:
        """Level by subject, of what is not in order."""
        return {subject: level for subject, level in self.findings.items() if level != "ok"}

    @property
    def findings(self) -> dict[str, str]:
        """Level by subject."""
        table = self.metadata["findings"]
        assert isinstance(table, dg.TableMetadataValue)
        return {str(one.data["subject"]): str(one.data["level"]) for one in table.records}


def _checks(home: Home, run_id: str) -> dict[str, Checked]:
    with home.instance() as instance:
        records = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    found = [record.dagster_event.asset_check_evaluation_data for record in records if record.dagster_event]
    return {
        one.check_name: Checked(one.passed, one.severity, one.description or "", dict(one.metadata)) for one in found
    }


def _register(home: Home, good: BaseRecording, change: Callable[[np.ndarray], None], name: str) -> str:
    traces = good.get_traces().copy()
    change(traces)
    return home.register(write_nwb(recording_of(traces, good), home.roots.recordings / name))


def test_a_good_recording_is_ready(home: Home, short_file: Path) -> None:
    key = home.register(home.link(short_file, "good.nwb"))

    result = home.materialize(key, UP_TO_DAT[0])

    ready = _checks(home, result.run_id)[READY]
    assert ready.passed
    assert ready.open_points == {}
    assert set(ready.findings) == {
        *("duration", "channels", "samples", "constant channels", "saturated channels", "noise", "peaks"),
        "disk",
    }


@pytest.mark.release
def test_a_dat_that_will_not_fit_is_warned_of_and_then_not_begun(home: Home, short_file: Path) -> None:
    key = home.register(home.link(short_file, "good.nwb"))
    all_of_it = cheap(execution={"min_free_disk_gb": 1e6})

    result = home.materialize(key, *UP_TO_DAT, config=all_of_it)

    ready = _checks(home, result.run_id)[READY]
    assert ready.severity == dg.AssetCheckSeverity.WARN
    assert ready.open_points == {"disk": "warning"}
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    assert failed.step_key == "binary_dat"
    assert "DiskFullError" in str(failed)


@pytest.mark.release
def test_a_recording_that_is_too_short_for_its_sorter_is_warned_of(
    home: Home, short: tuple[BaseRecording, BaseSorting]
) -> None:
    key = home.register(write_nwb(short[0].frame_slice(0, 12_000), home.roots.recordings / "blink.nwb"))

    result = home.materialize(key, UP_TO_DAT[0], config={"sorter": {"name": "kilosort4"}})

    ready = _checks(home, result.run_id)[READY]
    assert result.success
    assert not ready.passed
    assert ready.severity == dg.AssetCheckSeverity.WARN
    assert ready.open_points == {"duration": "error"}
    assert ready.metadata["unsortable"].value == "TooShortRecordingError"
    assert "more than one batch of 0.5 s" in ready.description
    assert "Record for some minutes" in str(ready.metadata["remedy"].value)


def test_a_silent_recording_goes_through_to_its_dat_and_is_warned_of(
    home: Home, short: tuple[BaseRecording, BaseSorting]
) -> None:
    key = _register(home, short[0], lambda traces: traces.fill(-512), "silent.nwb")

    result = home.materialize(key, *UP_TO_DAT)

    checks = _checks(home, result.run_id)
    assert result.success
    assert checks[READY].severity == dg.AssetCheckSeverity.WARN
    assert checks[READY].open_points == {"constant channels": "error"}
    assert checks[READY].metadata["unsortable"].value == "SilentRecordingError"
    assert (checks[RESOLVES].passed, checks[RESOLVES].severity) == (False, dg.AssetCheckSeverity.WARN)
    assert checks[COMPLETE].passed
    shown = home.metadata(result.run_id, UP_TO_DAT[0])
    assert {"probe", "traces", "noise"} <= set(shown)
    assert shown["bad_channels"].value == 0
    assert home.warnings(result.run_id) == []


@pytest.mark.release
def test_channels_that_stand_still_or_are_clipped_are_named(
    home: Home, short: tuple[BaseRecording, BaseSorting]
) -> None:
    def spoil(traces: np.ndarray) -> None:
        traces[:, 3] = 77
        np.clip(traces[:, 7], -100, 60, out=traces[:, 7])

    key = _register(home, short[0], spoil, "spoilt.nwb")

    result = home.materialize(key, UP_TO_DAT[0], config=cheap(recording={"bad_channels": "none"}))

    ready = _checks(home, result.run_id)[READY]
    assert ready.severity == dg.AssetCheckSeverity.WARN
    assert ready.open_points == {"constant channels": "warning", "saturated channels": "warning"}
    assert "1 of 16 never change: 3." in ready.description


def test_nan_in_the_sample_is_an_error_of_the_check_and_binary_dat_is_still_asked(
    home: Home, short: tuple[BaseRecording, BaseSorting]
) -> None:
    microvolts = short[0].get_traces(return_in_uV=True).astype(np.float32)
    microvolts[:, 5] = np.nan
    broken = recording_of(microvolts, short[0], gain_to_uv=1.0)
    key = home.register(write_nwb(broken, home.roots.recordings / "nan.nwb"))

    result = home.materialize(key, *UP_TO_DAT, config={**CHEAP, "recording": {"bad_channels": "none"}})

    ready = _checks(home, result.run_id)[READY]
    assert ready.severity == dg.AssetCheckSeverity.ERROR
    assert ready.open_points == {"samples": "error"}
    assert "first on channel 5" in ready.description
    assert [event.step_key for event in result.all_events if event.is_step_failure] == ["binary_dat"]
