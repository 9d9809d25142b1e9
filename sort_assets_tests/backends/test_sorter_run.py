"""Where a sorter runs and what surrounds it: MountainSort 5, in a process of its own and inside ours."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from spikeinterface.core import BaseRecording, BaseSorting

from sort_assets.backends.shape import ShapeChoice, ShapeChoices
from sort_assets.backends.sorter_run import SPIKEINTERFACE_FOLDER
from sort_assets.backends.spikeinterface_sorters import MountainSort5Backend
from sort_assets.config import SortingPipelineConfig
from sort_assets.errors import BadChannelsError, ConfigError, SorterFailedError
from sort_assets.running.audit import AUDIT_LOG
from sort_assets.running.job import JOB_FILE, OUTCOME_FILE, OUTPUT_FILE, Job, Outcome
from sort_assets.testing import make_sort_input
from sort_assets.testing.ground_truth import make_ground_truth

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("sorter_run")]

DURATION_S = 5.0
CHEAP = {"scheme": "1", "npca_per_channel": 1}
NO_SUCH_SCHEME = {"scheme": "9"}
REPORT = "report.json"


def config(*, params: dict[str, Any] | None = None, **execution: Any) -> SortingPipelineConfig:
    return SortingPipelineConfig.model_validate(
        {
            "recording": {"bad_channels": "none"},
            "sorter": {"name": "mountainsort5", "params": params or CHEAP},
            "execution": {"n_jobs": 1, **execution},
        }
    )


class ReportingBackend(MountainSort5Backend):
    """Reports what surrounds the sorter, and goes no further."""

    def shape_defaults(self, recording: BaseRecording) -> ShapeChoices:
        return {"scheme2_training_duration_sec": ShapeChoice(60, "The recording is short.")}

    def sorter_input(self, recording: BaseRecording) -> BaseRecording:
        import torch

        report = {
            "pid": os.getpid(),
            "process_group": os.getpgid(0),
            "parent": os.getppid(),
            "environment": dict(os.environ),
            "torch_threads": torch.get_num_threads(),
            "samples": recording.get_num_samples(),
        }
        (Path(os.environ["SORT_ASSETS_TEST_REPORT"]) / REPORT).write_text(json.dumps(report))
        raise BadChannelsError("The report is written.", remedy="Read it.", channels_left=3)


@dataclass(frozen=True)
class Done:
    """A sort, and the folder that it was given."""

    sorting: BaseSorting
    folder: Path

    @property
    def output(self) -> str:
        return (self.folder / OUTPUT_FILE).read_text()


@pytest.fixture(scope="module")
def dat(tmp_path_factory: pytest.TempPathFactory) -> BaseRecording:
    recording, _ = make_ground_truth(duration_s=DURATION_S)
    view, _ = make_sort_input(MountainSort5Backend(config()), recording, tmp_path_factory.mktemp("dat"))
    return view


@pytest.fixture(scope="module")
def in_process(dat: BaseRecording, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Sorted inside this process, by a class that no other process could import."""

    class OnlyHere(MountainSort5Backend):
        pass

    folder = tmp_path_factory.mktemp("in_process") / "sorter"
    return Done(OnlyHere(config(isolation="in_process")).sort(dat, None, None, folder), folder)


@pytest.fixture(scope="module")
def in_a_process(dat: BaseRecording, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Sorted in a process of its own, after the first two seconds of the recording were."""
    folder = tmp_path_factory.mktemp("process") / "sorter"
    return Done(MountainSort5Backend(config(canary_s=2.0)).sort(dat, None, None, folder), folder)


@pytest.mark.release
def test_the_same_units_are_found_wherever_the_sorter_runs(in_process: Done, in_a_process: Done) -> None:
    here, there = in_process.sorting, in_a_process.sorting

    assert len(here.unit_ids) >= 6
    assert there.unit_ids.tolist() == here.unit_ids.tolist()
    np.testing.assert_array_equal(there.to_spike_vector(), here.to_spike_vector())


@pytest.mark.parametrize("mode", ["in_process", "in_a_process"])
def test_what_the_sorter_says_is_in_its_log(mode: str, request: pytest.FixtureRequest) -> None:
    done: Done = request.getfixturevalue(mode)

    assert "Number of channels: 16" in done.output
    assert "Number of timepoints: 150000" in done.output
    assert "Removing duplicate times" in done.output


def test_the_folder_of_spikeinterface_is_beside_the_log_and_all_else_is_known(
    in_process: Done, in_a_process: Done
) -> None:
    ours = {OUTPUT_FILE, AUDIT_LOG, SPIKEINTERFACE_FOLDER}
    assert {path.name for path in in_process.folder.iterdir()} == ours
    assert {path.name for path in in_a_process.folder.iterdir()} == {*ours, JOB_FILE, OUTCOME_FILE}


def test_a_canary_that_succeeds_leaves_nothing_and_the_whole_recording_is_sorted(in_a_process: Done) -> None:
    assert not (in_a_process.folder / "canary").exists()
    assert in_a_process.sorting.to_spike_vector()["sample_index"].max() > 4.5 * 30_000


def test_a_canary_fails_before_the_whole_recording_is_begun(dat: BaseRecording, tmp_path: Path) -> None:
    sorter = MountainSort5Backend(config(params=NO_SUCH_SCHEME, canary_s=2.0))

    with pytest.raises(SorterFailedError, match="Invalid scheme: 9 given") as failure:
        sorter.sort(dat, None, None, tmp_path / "sorter")

    assert "mountainsort5.py" in failure.value.log_excerpt
    assert {path.name for path in (tmp_path / "sorter").iterdir()} == {"canary"}
    assert "Invalid scheme: 9 given" in (tmp_path / "sorter" / "canary" / OUTPUT_FILE).read_text()


def test_a_canary_as_long_as_the_recording_is_left_out(dat: BaseRecording, tmp_path: Path) -> None:
    sorter = MountainSort5Backend(config(params=NO_SUCH_SCHEME, canary_s=DURATION_S, isolation="in_process"))

    with pytest.raises(SorterFailedError, match="Invalid scheme: 9 given"):
        sorter.sort(dat, None, None, tmp_path / "sorter")

    assert not (tmp_path / "sorter" / "canary").exists()
    assert (tmp_path / "sorter" / SPIKEINTERFACE_FOLDER).is_dir()


@pytest.mark.release
def test_a_beginning_in_which_there_is_nothing_to_sort_says_nothing_of_the_rest(tmp_path: Path) -> None:
    from sort_assets_tests.recordings.files import recording_of

    whole, _ = make_ground_truth(duration_s=DURATION_S)
    traces = whole.get_traces().copy()
    traces[:60_000] = 0
    sorter = MountainSort5Backend(config(canary_s=1.0))
    view, dat_path = make_sort_input(sorter, recording_of(traces, whole), tmp_path)

    sorting = sorter.sort(view, None, dat_path, tmp_path / "sorter")

    assert len(sorting.unit_ids) >= 6


@pytest.mark.release
def test_the_failure_of_a_sorter_inside_this_process_is_classified_too(dat: BaseRecording, tmp_path: Path) -> None:
    sorter = MountainSort5Backend(config(params=NO_SUCH_SCHEME, isolation="in_process"))

    with pytest.raises(SorterFailedError, match="Invalid scheme: 9 given") as failure:
        sorter.sort(dat, None, None, tmp_path / "sorter")

    assert "mountainsort5.py" in failure.value.log_excerpt
    assert (
        failure.value.diagnostics.items() >= {"channels": 16, "sampling_frequency": 30_000.0, "device": "cpu"}.items()
    )


def test_the_sorters_process_has_our_environment_its_own_group_and_as_many_threads_as_configured(
    dat: BaseRecording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SORT_ASSETS_TEST_REPORT", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-of-this-lease")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    sorter = ReportingBackend(config(n_jobs=1))

    with pytest.raises(BadChannelsError, match=r"The report is written\.") as failure:
        sorter.sort(dat, None, None, tmp_path / "sorter")

    report = json.loads((tmp_path / REPORT).read_text())
    assert report["pid"] != os.getpid()
    assert report["parent"] == os.getpid()
    assert report["process_group"] == report["pid"]
    assert report["samples"] == dat.get_num_samples()
    assert report["torch_threads"] == 1
    environment = report["environment"]
    assert environment["CUDA_VISIBLE_DEVICES"] == "GPU-of-this-lease"
    assert {name: environment[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")} == {
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }
    assert environment["PYTHONUNBUFFERED"] == "1"
    # What the other process raised, completed with what is known of the recording.
    assert failure.value.remedy == "Read it."
    assert failure.value.diagnostics.items() >= {"channels_left": 3, "channels": 16}.items()
    assert failure.value.diagnostics["sorter.params.scheme2_training_duration_sec"] == 60
    outcome = Outcome.read(tmp_path / "sorter")
    assert outcome is not None
    assert outcome.failure is not None
    assert Job.read(tmp_path / "sorter").arguments["backend"] == f"{__name__}:ReportingBackend"
    assert not (tmp_path / "sorter" / "recording.json").exists()


def test_a_class_that_another_process_can_not_import_is_refused_with_the_way_out(
    dat: BaseRecording, tmp_path: Path
) -> None:
    class OnlyHere(MountainSort5Backend):
        pass

    in_the_script = type("InTheScript", (MountainSort5Backend,), {"__module__": "__main__"})

    for number, kind in enumerate((OnlyHere, in_the_script)):
        with pytest.raises(ConfigError, match="where another process can't import it") as refused:
            kind(config()).sort(dat, None, None, tmp_path / str(number))

        assert "set execution.isolation to in_process" in refused.value.remedy
        assert not (tmp_path / str(number) / SPIKEINTERFACE_FOLDER).exists()


def test_a_process_that_was_started_ahead_sorts_and_the_device_is_free_once_it_has_ended(
    dat: BaseRecording, tmp_path: Path
) -> None:
    backend = MountainSort5Backend(config())
    there: list[bool] = []
    with backend.started_ahead(1, []):
        assert backend.ahead is not None
        waiting = backend.ahead._next
        assert waiting is not None
        backend.device_is_free = lambda: there.append(psutil.pid_exists(waiting.process.pid))

        found = backend.sort(dat, None, None, tmp_path / "sorter")

    assert found.get_num_units() == 8
    assert waiting.process.returncode == 0
    assert there == [False]
