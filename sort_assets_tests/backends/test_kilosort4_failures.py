"""How Kilosort4 really fails, and what becomes of it; what can't be made to happen here is replayed."""

import logging
import multiprocessing
import re
import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from probeinterface import Probe
from spikeinterface.core import BaseRecording, NumpyRecording
from spikeinterface.sorters import run_sorter
from spikeinterface.sorters.utils import SpikeSortingError

from sort_assets.backends.failure_classification import classify
from sort_assets.backends.failure_rules import Evidence
from sort_assets.backends.kilosort4 import Kilosort4Backend, stages
from sort_assets.backends.kilosort4.built_in_waveforms import waveforms_of_package
from sort_assets.backends.kilosort4.failures import FAILURE_RULES
from sort_assets.backends.spikeinterface_backend import compute_threads
from sort_assets.config import RecordingConfig, SortingPipelineConfig
from sort_assets.errors import (
    BadChannelsError,
    ConfigError,
    DeviceOutOfMemoryError,
    GpuDriverError,
    HostOutOfMemoryError,
    NonFiniteSamplesError,
    ProbeGeometryError,
    SilentRecordingError,
    SortAssetsError,
    SorterEnvironmentError,
    TooFewChannelsError,
    TooFewSpikesError,
    TooShortRecordingError,
    TransientGpuError,
    UnreadableRecordingError,
)
from sort_assets.recordings import prepare
from sort_assets.recordings.dat_file import read_dat, write_dat
from sort_assets.running.progress import StageReader
from sort_assets.testing.ground_truth import make_ground_truth, make_probe
from sort_assets_tests.backends.test_failure_classification import spikeinterface_error

RATE = 30000
BATCH_S = 2.0
KILOSORTS_OWN = {"nblocks": 0, "do_CAR": True, "batch_size": 60_000, "templates_from_data": True}
"""Its defaults, but for the drift, instead of those that we choose for so few channels and seconds."""
MEMORY_TO_SPARE = 1_100_000_000
"""Bytes beyond what the imports take: 30000 samples of 16 channels need 0.82e9, 290000 more than 1.29e9 (measured)."""
MEMORY_FOR_NO_FEATURES = 300_000_000
"""With so little, what fails first is numpy's array for the features of spikes, of 0.24e9 bytes (measured)."""


def classified(evidence: Evidence) -> SortAssetsError:
    return classify(evidence, sorter="kilosort4", rules=FAILURE_RULES)


def noise(num_channels: int = 4, duration_s: float = 5.0) -> np.ndarray:
    """Independent noise of 8 microvolts, shape (samples, channels)."""
    shape = (int(duration_s * RATE), num_channels)
    return np.random.default_rng(0).normal(0, 8, shape).astype("float32")


def with_spikes(traces: np.ndarray, count: int) -> np.ndarray:
    """The traces with `count` deflections of 150 microvolts, each on one channel."""
    traces = traces.copy()
    rng = np.random.default_rng(1)
    waveform = -150 * np.exp(-(((np.arange(60) - 20) / 6.0) ** 2))
    for start in rng.integers(100, len(traces) - 200, count):
        traces[start : start + 60, rng.integers(traces.shape[1])] += waveform
    return traces


def broken_at(value: float, start: int) -> np.ndarray:
    traces = noise()
    traces[start : start + 100] = value
    return traces


def write(traces: np.ndarray, folder: Path, dtype: str = "int16", probe: Probe | None = None) -> BaseRecording:
    """The `.dat` of a recording in microvolts, also of what `write_dat` refuses."""
    finite = np.where(np.isfinite(traces), traces, 0).astype("float32")
    recording = NumpyRecording([finite], RATE)
    recording.set_channel_gains(1.0)
    recording.set_channel_offsets(0.0)
    recording.set_probe(probe or make_probe(traces.shape[1]))
    dat_path = folder / "traces.dat"
    write_dat(recording, dat_path, dtype=dtype)
    if not np.isfinite(traces).all():
        traces.astype("float32").tofile(dat_path)
    return read_dat(dat_path)


def sort(recording: BaseRecording, folder: Path, **params: Any) -> Evidence | int:
    """Run the real Kilosort4; what it left behind when it failed, and the number of units when it did not."""
    backend = Kilosort4Backend(
        SortingPipelineConfig.model_validate(
            {
                "sorter": {"device": "cpu", "params": {**KILOSORTS_OWN, **params}},
                "execution": {"n_jobs": 1},
            }
        )
    )
    output = folder / "sorter"
    try:
        with compute_threads(1):
            sorting = run_sorter("kilosort4", recording, folder=output, **backend.sorter_params(recording))
    except SpikeSortingError as error:
        log_path = output / "sorter_output" / "kilosort4.log"
        log = log_path.read_text(encoding="utf-8") if log_path.exists() else ""
        return Evidence(str(error), log=log, stage=StageReader(log_path, stages.STAGES).read(), device="cpu")
    finally:
        logger = logging.getLogger("kilosort")
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
            handler.close()
    return len(sorting.unit_ids)


def failure_of(recording: BaseRecording, folder: Path, **params: Any) -> SortAssetsError:
    left = sort(recording, folder, **params)
    assert isinstance(left, Evidence), f"Kilosort4 found {left} units"
    return classified(left)


CONDITIONS: dict[str, tuple[Callable[[], np.ndarray], type[SortAssetsError], dict[str, Any]]] = {
    "silence": (lambda: np.zeros((5 * RATE, 4), "float32"), SilentRecordingError, {"num_channels": 4}),
    "a constant": (lambda: np.full((5 * RATE, 4), 100, "float32"), SilentRecordingError, {}),
    "noise alone": (lambda: noise(num_channels=16), TooFewSpikesError, {"spikes_found": 0, "num_batches": 3}),
    "noise on few channels": (lambda: noise(num_channels=4), TooFewSpikesError, {"needed": 6}),
    "a handful of spikes": (
        lambda: with_spikes(noise(16), 8),
        TooFewSpikesError,
        {"needed": 6, "num_batches": 3},
    ),
    "one channel": (lambda: with_spikes(noise(1), 200), TooFewChannelsError, {"num_channels": 1}),
    "a fifth of a second": (lambda: noise(4, 0.2), TooShortRecordingError, {"num_batches": 1, "duration_s": 0.2}),
    "exactly one batch": (
        lambda: noise(4, BATCH_S),
        TooShortRecordingError,
        {"num_batches": 1, "duration_s": BATCH_S},
    ),
}

FLOAT_CONDITIONS: dict[str, tuple[Callable[[], np.ndarray], type[SortAssetsError]]] = {
    "NaN in the first batch": (lambda: broken_at(np.nan, start=1000), NonFiniteSamplesError),
    "infinity in the first batch": (lambda: broken_at(np.inf, start=1000), NonFiniteSamplesError),
    "nothing but NaN": (lambda: np.full((5 * RATE, 4), np.nan, "float32"), NonFiniteSamplesError),
    "far too large": (lambda: noise() * np.float32(1e30), NonFiniteSamplesError),
    "in volts": (lambda: noise() * np.float32(1e-6), NonFiniteSamplesError),
}


@pytest.mark.slow
@pytest.mark.xdist_group("kilosort4_failures")
class TestProvoked:
    """Importing Kilosort takes some nine seconds, once per process; each of these then fails within one."""

    @pytest.mark.parametrize("name", CONDITIONS)
    def test_a_condition_of_the_recording_becomes_its_class(self, name: str, tmp_path: Path) -> None:
        make, kind, diagnostics = CONDITIONS[name]

        failure = failure_of(write(make(), tmp_path), tmp_path)

        assert type(failure) is kind
        assert diagnostics.items() <= failure.diagnostics.items()
        assert failure.stage in (stages.PREPROCESSING, stages.DRIFT, stages.DETECTION)
        assert failure.log_excerpt.splitlines()[-1].startswith(("ValueError: ", "torch._C._LinAlgError: "))

    @pytest.mark.parametrize("name", FLOAT_CONDITIONS)
    def test_samples_that_are_no_numbers_become_their_class(self, name: str, tmp_path: Path) -> None:
        make, kind = FLOAT_CONDITIONS[name]

        failure = failure_of(write(make(), tmp_path, dtype="float32"), tmp_path)

        assert type(failure) is kind

    @pytest.mark.release
    def test_a_recording_of_two_batches_is_not_too_short(self, tmp_path: Path) -> None:
        recording = write(with_spikes(noise(4, BATCH_S + 0.1), 300), tmp_path)

        found = sort(recording, tmp_path)

        assert isinstance(found, int)

    @pytest.mark.release
    def test_one_channel_sorts_without_common_reference(self, tmp_path: Path) -> None:
        recording = write(with_spikes(noise(1), 300), tmp_path)

        found = sort(recording, tmp_path, do_CAR=False)

        assert isinstance(found, int)
        assert found >= 1

    def test_noise_on_two_channels_has_no_spikes_that_match(self, tmp_path: Path) -> None:
        failure = failure_of(write(noise(2), tmp_path), tmp_path, Th_single_ch=4)

        assert type(failure) is TooFewSpikesError

    def test_a_quiet_beginning_says_that_only_that_was_looked_at(self, tmp_path: Path) -> None:
        traces = np.concatenate([noise(16, 3.0), with_spikes(noise(16, 3.0), 300)])

        failure = failure_of(write(traces, tmp_path), tmp_path)

        assert type(failure) is TooFewSpikesError
        assert "the first of 3 batches" in failure.message
        assert "nowhere else" in failure.message
        assert "recording.start_s" in failure.remedy
        assert failure.diagnostics["batches_looked_at"] == 1

    def test_a_file_that_was_cut_off_is_unreadable(self, tmp_path: Path) -> None:
        recording = write(noise(), tmp_path)
        with (tmp_path / "traces.dat").open("r+b") as file:
            file.truncate(100_001)

        failure = failure_of(recording, tmp_path)

        assert type(failure) is UnreadableRecordingError

    @pytest.mark.parametrize(
        ("params", "kind", "words"),
        [
            ({"nt": 60}, ConfigError, "must be odd"),
            ({"nt": 41, "templates_from_data": False}, ConfigError, "61"),
            ({"dminx": None}, ConfigError, "dminx"),
            ({"bad_channels": [99]}, BadChannelsError, "99"),
            ({"bad_channels": [0, 1, 2, 3]}, BadChannelsError, "No channel"),
            ({"dminx": 1e-5, "dmin": 1e-4}, HostOutOfMemoryError, "Unable|memory"),
        ],
    )
    def test_a_parameter_that_kilosort_refuses(
        self, params: dict[str, Any], kind: type[SortAssetsError], words: str, tmp_path: Path
    ) -> None:
        recording = write(with_spikes(noise(), 300), tmp_path)

        failure = failure_of(recording, tmp_path, **params)

        assert type(failure) is kind
        assert re.search(words, failure.message)

    def test_a_grid_that_is_too_fine_is_what_the_remedy_names(self, tmp_path: Path) -> None:
        recording = write(with_spikes(noise(), 300), tmp_path)

        failure = failure_of(recording, tmp_path, dminx=1e-5, dmin=1e-4)

        assert "sorter.params.dminx to 32" in failure.remedy
        assert failure.diagnostics["bytes_asked"] > 1e12

    def test_a_foreign_handler_on_kilosorts_log_is_a_matter_of_the_environment(self, tmp_path: Path) -> None:
        logging.getLogger("kilosort").addHandler(logging.NullHandler())

        failure = failure_of(write(noise(), tmp_path), tmp_path)

        assert type(failure) is SorterEnvironmentError
        assert "managed_python_loggers" in failure.remedy


@pytest.mark.slow
def test_silence_with_built_in_waveforms_has_no_spikes(tmp_path: Path) -> None:
    recording = write(np.zeros((5 * RATE, 4), "float32"), tmp_path)

    with waveforms_of_package():
        failure = failure_of(recording, tmp_path, templates_from_data=False)

    assert type(failure) is TooFewSpikesError
    assert failure.stage == stages.DETECTION


def sort_with_little_memory(dat_path: Path, folder: Path, batch_size: int, to_spare: int) -> Evidence | int:
    """Sort in a process of its own, whose address space may grow by so many bytes; the limit is for good."""
    import kilosort.run_kilosort
    import torch

    assert kilosort.run_kilosort
    torch.set_num_threads(1)
    limit = psutil.Process().memory_info().vms + to_spare
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    folder.mkdir()
    return sort(read_dat(dat_path), folder, batch_size=batch_size)


def in_a_new_process(*arguments: Any) -> Evidence | int:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(sort_with_little_memory, *arguments).result()


@pytest.fixture(scope="module")
def dat_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 channels, 8 units, 20 s."""
    path = tmp_path_factory.mktemp("little_memory") / "traces.dat"
    raw, _ = make_ground_truth()
    write_dat(prepare(raw, RecordingConfig(bad_channels="none")), path)
    return path


@pytest.mark.release
def test_an_allocation_of_torch_that_fails_in_detection(dat_path: Path, tmp_path: Path) -> None:
    left = in_a_new_process(dat_path, tmp_path / "sort", 290_000, MEMORY_TO_SPARE)

    assert isinstance(left, Evidence)
    failure = classified(left)
    assert type(failure) is DeviceOutOfMemoryError
    assert failure.stage == stages.DETECTION
    assert failure.diagnostics["bytes_asked"] > 50_000_000
    assert "sorter.params.batch_size" in failure.remedy


@pytest.mark.release
def test_an_allocation_of_numpy_that_fails_is_host_memory(dat_path: Path, tmp_path: Path) -> None:
    left = in_a_new_process(dat_path, tmp_path / "sort", 30_000, MEMORY_FOR_NO_FEATURES)

    assert isinstance(left, Evidence)
    failure = classified(left)
    assert type(failure) is HostOutOfMemoryError
    assert failure.stage == stages.DETECTION
    assert failure.diagnostics["shape"] == "1000000, 10, 6"
    assert "Lowering batch_size does not help" in failure.remedy


NON_FINITE = (
    "torch._C._LinAlgError: linalg.svd: The algorithm failed to converge because the input matrix contained non-finite "
    "values."
)
CUDA_OOM = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
NO_CHANNELS = (
    "ValueError: `get_data_cpu` never found suitable channels in `clustering_qr.run`.\n"
    "dmin, dminx, and xcenter are: (np.float32(20.0), 32, np.float64(16.0))"
)

REPLAYED = [
    # field_notes.md, 2.3 (a) to (a''')
    (CUDA_OOM, "", DeviceOutOfMemoryError),
    ("RuntimeError: CUDA error: out of memory", "", DeviceOutOfMemoryError),
    ("RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", "",
     DeviceOutOfMemoryError),
    ("RuntimeError: cuDNN error: CUDNN_STATUS_ALLOC_FAILED", "", DeviceOutOfMemoryError),
    ("RuntimeError: cuFFT error: CUFFT_ALLOC_FAILED", "", DeviceOutOfMemoryError),
    ("RuntimeError: CUDA error: unknown error", "", TransientGpuError),
    ("numpy._core._exceptions._ArrayMemoryError: Unable to allocate 14.3 GiB for an array with shape (64000000, 10, 6) "
     "and data type float32", "", HostOutOfMemoryError),
    ("numpy._core._exceptions._ArrayMemoryError: Unable to allocate 117. TiB for an array with shape (4002249, "
     "4002249) and data type float64", "", HostOutOfMemoryError),
    ("RuntimeError: [enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you "
     "tried to allocate 215850768 bytes. Error code 12 (Cannot allocate memory)", "", DeviceOutOfMemoryError),
    # (b)
    ("ValueError: Found array with 0 sample(s) (shape=(0, 41)) while a minimum of 1 is required by TruncatedSVD.", "",
     TooFewSpikesError),
    ("ValueError: n_samples=5 should be >= n_clusters=6.", "", TooFewSpikesError),
    ("ValueError: No spikes detected, cannot continue sorting.", "", TooFewSpikesError),
    (NO_CHANNELS, "4 spikes extracted in 0.36s\n0 spikes extracted in 0.09s", TooFewSpikesError),
    (NO_CHANNELS, "400 spikes extracted in 0.36s", ProbeGeometryError),
    ("ValueError: Wall is empty after `clustering_qr.run`, cannot continue clustering.", "", TooFewSpikesError),
    # (c)
    ("IndexError: Channel 'k' was not in probe['chanMap']", "", BadChannelsError),
    ("ValueError: Largest value of chanMap exceeds channel count of data, make sure chanMap is 0-indexed.", "",
     ProbeGeometryError),
    ("ValueError: zero-size array to reduction operation minimum which has no identity", "", BadChannelsError),
    # (d)
    (NON_FINITE, "N samples: 57000\nN seconds: 1.9\nN batches: 1\n", TooShortRecordingError),
    # (e)
    (NON_FINITE, "N samples: 570000\nN seconds: 19\nN batches: 10\n", NonFiniteSamplesError),
    (NON_FINITE, "", NonFiniteSamplesError),
    ("torch._C._LinAlgError: linalg.svd: The algorithm failed to converge because the input matrix is ill-conditioned "
     "or has too many repeated singular values (error code: 14).", "N batches: 10", NonFiniteSamplesError),
    ("Intel oneMKL ERROR: Parameter 4 was incorrect on entry to SLASCL.", "N batches: 10", NonFiniteSamplesError),
    ("RuntimeError: probability tensor contains either `inf`, `nan` or element < 0", "", NonFiniteSamplesError),
    ("ValueError: Input X contains NaN.\nTruncatedSVD does not accept missing values encoded as NaN natively.", "",
     NonFiniteSamplesError),
    # (f)
    ("ValueError: All probe variables must have the same length.", "", ProbeGeometryError),
    ("ValueError: Missing required key: kcoords after loading probe.", "", ProbeGeometryError),
    ("ValueError: Array-valued probe entries should have 1 dim, but xc has 2.", "", ProbeGeometryError),
    ("ValueError: Selected empty shank index: 3, can't sort.", "", ProbeGeometryError),
    ("ValueError: Unrecognized extension for probe: probe.xyz", "", ProbeGeometryError),
    ("ValueError: Bytes in binary file did not divide evenly, incorrect n_chan_bin ('number of channels' in GUI).", "",
     UnreadableRecordingError),
    ("ValueError: `nt` must be odd, but got nt=60", "", ConfigError),
    ("ValueError: If using pre-computed universal templates (templates_from_data=False), nt must be 61", "",
     ConfigError),
    ("ValueError: Unrecognized settings: ['batchsize']", "", ConfigError),
    ("ValueError: `n_chan_bin` is a required setting", "", ConfigError),
    ("urllib.error.URLError: <urlopen error [Errno -2] Name or service not known>", "", SorterEnvironmentError),
    ("AssertionError: Torch not compiled with CUDA enabled", "", GpuDriverError),
]  # fmt: skip


@pytest.mark.parametrize(("exception", "log", "kind"), REPLAYED)
def test_documented_text_becomes_its_class(exception: str, log: str, kind: type[SortAssetsError]) -> None:
    failure = classified(Evidence(spikeinterface_error(exception), log=log))

    assert type(failure) is kind
    assert failure.remedy


NO_CLEAR_SPIKES = "ValueError: n_samples=5 should be >= n_clusters=6."


@pytest.mark.parametrize(
    ("num_batches", "looked_at", "where"),
    [
        (3, 1, "in the first of 3 batches"),
        (25, 1, "in the first of 25 batches"),
        (26, 2, "in 2 of 26 batches (every 25th)"),
        (500, 20, "in 20 of 500 batches (every 25th)"),
    ],
)
def test_too_few_spikes_says_how_little_was_looked_at(num_batches: int, looked_at: int, where: str) -> None:
    failure = classified(Evidence(spikeinterface_error(NO_CLEAR_SPIKES), log=f"N batches: {num_batches}\n"))

    assert type(failure) is TooFewSpikesError
    assert where in failure.message
    assert "nowhere else" in failure.message
    assert failure.diagnostics["num_batches"] == num_batches
    assert failure.diagnostics["batches_looked_at"] == looked_at


def test_what_kilosort_says_first_is_known_at_the_end_of_a_large_log() -> None:
    beginning = (
        "N seconds: 6.0\nN batches: 3\nwhiten_mat shape: torch.Size([4, 4])\n"
        "First batch min, max: (np.float32(0.0), np.float32(0.0))\n"
    )
    detail = "2026-11-24 13:42:02,146 kilosort.clustering_qr DEBUG    Center: 12, spikes: 20317, clusters: 14\n"

    failure = classified(Evidence(spikeinterface_error(NO_CLEAR_SPIKES), log=beginning + 200_000 * detail))

    assert type(failure) is SilentRecordingError
    assert failure.diagnostics == {"num_channels": 4, "num_batches": 3, "batches_looked_at": 1}


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("(np.float32(-0.0), np.float32(0.0))", SilentRecordingError),
        ("(-1.2e-05, 1.1e-05)", NonFiniteSamplesError),
        ("(np.float32(-37.5), np.float32(41.0))", TooFewSpikesError),
        ("(np.flo", TooFewSpikesError),
    ],
)
def test_the_range_of_the_first_batch_tells_silence_from_wrong_units(said: str, kind: type[SortAssetsError]) -> None:
    evidence = Evidence(spikeinterface_error(NO_CLEAR_SPIKES), log=f"First batch min, max: {said}\n")

    assert type(classified(evidence)) is kind


@pytest.mark.parametrize(
    ("stage", "remedy"),
    [
        (None, "Lower sorter.params.batch_size"),
        (stages.DRIFT, "Lower sorter.params.batch_size"),
        (stages.DETECTION, "Lower sorter.params.batch_size"),
        (stages.FIRST_CLUSTERING, "Lowering batch_size does not help"),
        (stages.FINAL_CLUSTERING, "Lowering batch_size does not help"),
        (stages.MATCHING, "number of clusters"),
        (stages.MERGING, "number of clusters"),
        (stages.SAVING, "shorter part"),
    ],
)
def test_the_remedy_for_lack_of_memory_fits_the_stage(stage: str | None, remedy: str) -> None:
    failure = classified(Evidence(spikeinterface_error(CUDA_OOM), stage=stage, device="cuda"))

    assert remedy in failure.remedy
    assert failure.stage == stage
    assert failure.diagnostics["bytes_asked"] == 2 * 1024**3


def test_remedies_name_parameters_that_exist() -> None:
    config = SortingPipelineConfig()
    parameters = Kilosort4Backend(config).default_params()
    sections = config.model_dump()
    evidence = [Evidence(text, log=log) for text, log, _ in REPLAYED]
    evidence += [Evidence(CUDA_OOM, stage=stage.name) for stage in stages.STAGES]

    remedies = " ".join(classified(one).remedy for one in evidence)

    named = re.findall(r"sorter\.params\.(\w+)", remedies)
    assert {"batch_size", "cluster_downsampling", "Th_universal", "dminx"} <= set(named)
    assert set(named) - {"n_chan_bin"} <= set(parameters)
    for section, name in re.findall(r"\b(recording|execution)\.(\w+)", remedies):
        assert name in sections[section]


def test_memory_for_the_templates_of_the_first_clustering_is_a_matter_of_matching() -> None:
    text = f'  File "/env/kilosort/template_matching.py", line 60, in postprocess_templates\n    x\n{CUDA_OOM}'

    failure = classified(Evidence(text, stage=stages.FIRST_CLUSTERING, device="cuda"))

    assert failure.stage == stages.MATCHING


def test_numbers_of_the_log_are_no_failures() -> None:
    log = (
        "kilosort.run_kilosort INFO     Mem used:      4.40 %     |       1.03 GB\n"
        "kilosort.run_kilosort INFO     Mem avail:    22.51 / 23.54 GB\n"
        "kilosort.run_kilosort INFO     GPU memory:   N/A\n"
        "kilosort.clustering_qr DEBUG    OOM in kmeans_plus_plus iter 3, nsp: 1000\n"
        "kilosort.run_kilosort INFO     N batches: 10\n"
    )

    failure = classified(Evidence("KeyError: 'unit'", log=log))

    assert "KeyError: 'unit'" in failure.message
