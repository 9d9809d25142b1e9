"""What any sorter can die of, from the words it leaves behind and from how its process ended."""

import errno
import fcntl
import os
import re
import resource
import signal
import subprocess
import sys
import textwrap
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import h5py
import numpy as np
import pytest
from spikeinterface.core import NumpyRecording
from spikeinterface.sorters import run_sorter
from spikeinterface.sorters.utils import SpikeSortingError

from sort_assets.backends import create_backend
from sort_assets.backends.failure_classification import cause, classify, excerpt
from sort_assets.backends.failure_rules import Evidence, failure_rule, num_bytes
from sort_assets.backends.spikeinterface_backend import SpikeInterfaceBackend, compute_threads
from sort_assets.backends.spikeinterface_sorters import SortingComponentsBackend
from sort_assets.config import SortingPipelineConfig
from sort_assets.errors import (
    ConfigError,
    DeviceOutOfMemoryError,
    DiskFullError,
    GpuDriverError,
    HostOutOfMemoryError,
    IncompatibleVersionsError,
    MissingPluginError,
    MissingProbeError,
    NonFiniteSamplesError,
    ProbeGeometryError,
    SortAssetsError,
    SorterCrashedError,
    SorterFailedError,
    SorterNotInstalledError,
    StalledIoError,
    StorageError,
    TooFewSpikesError,
    TransientGpuError,
    UnreadableRecordingError,
)
from sort_assets.recordings.dat_file import read_dat, write_dat
from sort_assets.testing.ground_truth import make_probe


def spikeinterface_error(exception: str) -> str:
    """The text of SpikeInterface's SpikeSortingError, as basesorter.py puts it together."""
    return (
        "Spike sorting error trace:\n"
        "Traceback (most recent call last):\n"
        '  File "/env/spikeinterface/sorters/basesorter.py", line 270, in run_from_folder\n'
        "    SorterClass._run_from_folder(sorter_output_folder, sorter_params, verbose)\n"
        "    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n"
        '  File "/env/sorter.py", line 12, in run\n'
        "    result = compute(batch)\n"
        f"{exception}\n"
        "\nSpike sorting failed. You can inspect the runtime trace in /out/spikeinterface_log.json."
    )


def spikeinterface_json(exception: str) -> str:
    """The lines of `error_trace` in spikeinterface_log.json: every line indented by at least two."""
    lines = spikeinterface_error(exception).split("\n")[1:]
    end = lines.index("")
    return "\n".join([lines[0], *(line if line.startswith(" ") else f"  {line}" for line in lines[1:end])])


# Texts from field_notes.md (2.2, 2.3), torch's sources and the threads named there; those of CUDA need a GPU to happen.
REPLAYED = [
    # 2.3 (a)
    ("torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of "
     "10.57 GiB of which 1.20 GiB is free.", DeviceOutOfMemoryError),
    ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB.", DeviceOutOfMemoryError),
    ("RuntimeError: CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported at some other API "
     "call, so the stacktrace below might be incorrect.", DeviceOutOfMemoryError),
    ("RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
     DeviceOutOfMemoryError),
    ("RuntimeError: cuDNN error: CUDNN_STATUS_ALLOC_FAILED", DeviceOutOfMemoryError),
    ("RuntimeError: cuFFT error: CUFFT_ALLOC_FAILED", DeviceOutOfMemoryError),
    ("RuntimeError: Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before calling "
     "NumCudaDevices() that might have already set an error? Error 2: out of memory", DeviceOutOfMemoryError),
    # 2.3 (a')
    ("RuntimeError: CUDA error: unknown error", TransientGpuError),
    ("RuntimeError: CUDA error: an illegal memory access was encountered", TransientGpuError),
    ("RuntimeError: CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`", TransientGpuError),
    ("RuntimeError: cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", TransientGpuError),
    # 2.3 (a'')
    ("numpy._core._exceptions._ArrayMemoryError: Unable to allocate 14.3 GiB for an array with shape (64000000, 10, 6) "
     "and data type float32", HostOutOfMemoryError),
    ("numpy.core._exceptions.MemoryError: Unable to allocate 117. TiB for an array with shape (4002249, 4002249) and "
     "data type float64", HostOutOfMemoryError),
    ("RuntimeError: std::bad_alloc", HostOutOfMemoryError),
    ("terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc",
     HostOutOfMemoryError),
    ("OSError: [Errno 12] Cannot allocate memory", HostOutOfMemoryError),
    ("RuntimeError: can't start new thread", HostOutOfMemoryError),
    ("OpenBLAS error: Memory allocation still failed after 10 retries, giving up.", HostOutOfMemoryError),
    ("OMP: Error #34: System unable to allocate necessary resources for OMP thread:", HostOutOfMemoryError),
    # 2.3 (a''')
    ("RuntimeError: [enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you "
     "tried to allocate 215850768 bytes. Error code 12 (Cannot allocate memory)", DeviceOutOfMemoryError),
    ("RuntimeError: [enforce fail at alloc_cpu.cpp:116] data. DefaultCPUAllocator: not enough memory: you tried to "
     "allocate 215850768 bytes.", DeviceOutOfMemoryError),
    ("OSError: [Errno 122] Disk quota exceeded", DiskFullError),
    ("OSError: 240000 requested and 0 written", DiskFullError),
    # What the operating system and HDF5 refuse (table of pitfalls, row 22, and h5py 3)
    ("OSError: [Errno 116] Stale file handle: '/share/sub-01/recording.dat'", StalledIoError),
    ("OSError: [Errno 121] Remote I/O error", StalledIoError),
    ("OSError: [Errno 23] Too many open files in system", StorageError),
    ("OSError: Unable to synchronously open file", StorageError),
    ("OSError: [Errno 37] Unable to open file (unable to lock file, errno = 37, error message = 'No locks available')",
     StorageError),
    ("ImportError: libcudart.so.12: cannot open shared object file: Too many open files", StorageError),
    ("ImportError: libcudart.so.12: cannot open shared object file: No such file or directory",
     IncompatibleVersionsError),
    # 2.2, point 9, and the drivers
    ("Exception: The sorter kilosort4 is not installed. Please install it with:\npip install kilosort",
     SorterNotInstalledError),
    ("Exception: SpikeInterface only supports kilosort versions 4.1.1 and above (which support numpy>=2).",
     IncompatibleVersionsError),
    ("RuntimeError: Kilosort versions between 4.1.1 and 4.1.6 are not compatible with numpy versions above 2.4.",
     IncompatibleVersionsError),
    ("RuntimeError: Kilosort versions before 4.0.16 are not supportedin SpikeInterface.", IncompatibleVersionsError),
    ("ValueError: numpy.dtype size changed, may indicate binary incompatibility.", IncompatibleVersionsError),
    ("ImportError: Numba needs NumPy 2.2 or less. Got NumPy 2.4.", IncompatibleVersionsError),
    ("OSError: Can't synchronously read data (can't open directory: /usr/local/hdf5/lib/plugin)", MissingPluginError),
    ("Exception: The MaxWell file compression requires a custom plugin.", MissingPluginError),
    ("RuntimeError: No CUDA GPUs are available", GpuDriverError),
    ("RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU", GpuDriverError),
    ("RuntimeError: The NVIDIA driver on your system is too old (found version 11040).", GpuDriverError),
    ("RuntimeError: CUDA error: no kernel image is available for execution on the device", GpuDriverError),
    ("RuntimeError: CUDA error: invalid device ordinal", GpuDriverError),
    ("RuntimeError: CUDA unknown error - this may be due to an incorrectly set up environment, e.g. changing env "
     "variable CUDA_VISIBLE_DEVICES after program start.", GpuDriverError),
    ("pynvml.NVMLError_LibRmVersionMismatch: Failed to initialize NVML: Driver/library version mismatch",
     GpuDriverError),
    ("RuntimeError: Channel locations are required for this spike sorter. Locations can be added to the "
     "RecordingExtractor by loading a probe file (.prb or .csv)", MissingProbeError),
    ("RuntimeError: Channel locations are not unique! Please ensure that each channel has a unique location",
     ProbeGeometryError),
    ("Exception: 3D 'location' are not supported. Set 2D locations instead.", ProbeGeometryError),
    # 2.3 (e), (f)
    ("ValueError: Input X contains NaN.\nTruncatedSVD does not accept missing values encoded as NaN natively.",
     NonFiniteSamplesError),
    ("ValueError: Bytes in binary file did not divide evenly, incorrect n_chan_bin ('number of channels' in GUI).",
     UnreadableRecordingError),
    ("ValueError: Invalid parameters: ['batchsize']\nValid parameters are: dict_keys(['batch_size'])", ConfigError),
]  # fmt: skip


@pytest.mark.parametrize("wrapped", [spikeinterface_error, spikeinterface_json])
@pytest.mark.parametrize(("exception", "kind"), REPLAYED)
def test_documented_text_becomes_its_class(
    exception: str, kind: type[SortAssetsError], wrapped: Callable[[str], str]
) -> None:
    failure = classify(Evidence(wrapped(exception), stage="stage"), sorter="sorter")

    assert type(failure) is kind
    assert failure.remedy
    assert failure.stage == "stage"
    assert "{" not in str(failure)
    assert exception.splitlines()[0] in failure.log_excerpt


def fill_the_disk() -> None:
    with Path("/dev/full").open("wb") as full:
        full.write(b"\0" * 100_000)


def read_past_the_end(folder: Path) -> None:
    short = folder / "short.dat"
    short.write_bytes(b"\0" * 100)
    np.memmap(short, dtype="int16", mode="r", shape=(1000, 16))


def open_too_many() -> None:
    ours = len(list(Path("/proc/self/fd").iterdir()))
    least, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (ours + 10, most))
    try:
        with ExitStack() as stack:
            for _ in range(20):
                stack.enter_context(Path("/dev/null").open())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (least, most))


def open_what_is_locked(folder: Path) -> None:
    path = folder / "locked.h5"
    h5py.File(path, "w").close()
    with path.open("rb+") as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)
        h5py.File(path, "r")


def open_what_is_no_hdf5(folder: Path) -> None:
    path = folder / "text.h5"
    path.write_text("no HDF5")
    h5py.File(path, "r")


def ask_torch_for_terabytes() -> None:
    import torch

    torch.empty(10**14)


def decompose_what_is_not_a_number() -> None:
    import torch

    torch.linalg.svd(torch.full((3, 3), float("nan")))


PROVOKED: dict[str, tuple[Callable[[Path], object], type[SortAssetsError]]] = {
    "numpy asks for petabytes": (lambda _: np.empty((64_000_000, 10, 6, 1_000_000)), HostOutOfMemoryError),
    "python asks for petabytes": (lambda _: bytearray(10**15), HostOutOfMemoryError),
    "torch asks for terabytes": (lambda _: ask_torch_for_terabytes(), DeviceOutOfMemoryError),
    "the disk is full": (lambda _: fill_the_disk(), DiskFullError),
    "the disk is full for numpy": (lambda _: np.zeros(100_000).tofile("/dev/full"), DiskFullError),
    "a disk can't be read": (lambda _: Path("/proc/self/mem").read_bytes(), StalledIoError),
    "a file may not be written": (lambda _: Path("/sys/kernel/no_such").write_text(""), StorageError),
    "an HDF5 file may not be written": (lambda _: h5py.File("/sys/kernel/no_such.h5", "w"), StorageError),
    "too many files are open": (lambda _: open_too_many(), StorageError),
    "an HDF5 file is locked": (open_what_is_locked, StorageError),
    "an HDF5 file is none": (open_what_is_no_hdf5, UnreadableRecordingError),
    "a package is missing": (lambda _: __import__("no_such_package"), SorterNotInstalledError),
    "a package is of another version": (
        lambda _: exec("from numpy import no_such_name"),
        IncompatibleVersionsError,
    ),
    "a library is missing": (
        lambda _: __import__("ctypes").CDLL("libno_such.so.1"),
        IncompatibleVersionsError,
    ),
    "a file is shorter than described": (read_past_the_end, UnreadableRecordingError),
    "samples are not numbers": (lambda _: decompose_what_is_not_a_number(), NonFiniteSamplesError),
}


@pytest.mark.parametrize("name", PROVOKED)
def test_what_really_happens_becomes_its_class(name: str, tmp_path: Path) -> None:
    provoke, kind = PROVOKED[name]
    with pytest.raises(Exception) as raised:  # noqa: PT011
        provoke(tmp_path)
    text = "".join(traceback.format_exception(raised.value))

    failure = classify(Evidence(text), sorter="sorter")

    assert type(failure) is kind


def test_a_file_system_that_can_only_be_read_is_storage(tmp_path: Path) -> None:
    # Nothing is mounted read-only on every machine, and mounting takes rights: the error is made, not met.
    read_only = OSError(errno.EROFS, os.strerror(errno.EROFS), str(tmp_path / "recording.dat"))

    failure = classify(Evidence(f"OSError: {read_only}"), sorter="sorter")

    assert type(failure) is StorageError
    assert failure.diagnostics["path"] == str(tmp_path / "recording.dat")
    assert "dmesg" in failure.remedy


def test_an_hdf5_file_that_cannot_be_locked_names_the_variable_that_helps(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="lock") as raised:
        open_what_is_locked(tmp_path)

    failure = classify(Evidence("".join(traceback.format_exception(raised.value))), sorter="sorter")

    assert "HDF5_USE_FILE_LOCKING=FALSE" in failure.remedy


def test_a_folder_that_a_library_does_without_is_no_cause() -> None:
    log = "mkdir: cannot create directory '/root/.config/matplotlib': Permission denied\n"

    assert type(classify(Evidence("KeyError: 'unit'", log=log), sorter="sorter")) is SorterFailedError


def test_a_torch_without_cuda_is_a_matter_of_the_driver() -> None:
    import torch

    if torch.version.cuda is not None:
        pytest.skip("needs a torch without CUDA")
    with pytest.raises(AssertionError) as raised:
        torch.zeros(1, device="cuda")

    failure = classify(Evidence("".join(traceback.format_exception(raised.value))), sorter="sorter")

    assert type(failure) is GpuDriverError


@pytest.mark.parametrize(
    ("exception", "bytes_asked"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has", 2 * 1024**3),
        ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 107925384 bytes.", 107925384),
        ("MemoryError: Unable to allocate 14.3 GiB for an array with shape (64000000, 10, 6)", int(14.3 * 1024**3)),
        ("MemoryError: Unable to allocate 117. TiB for an array with shape (4002249, 4002249)", 117 * 1024**4),
    ],
)
def test_the_bytes_that_were_asked_for_are_a_number(exception: str, bytes_asked: int) -> None:
    failure = classify(Evidence(exception), sorter="sorter")

    assert failure.diagnostics["bytes_asked"] == bytes_asked


@pytest.mark.parametrize("size", ["2.00 GiB", "2147483648 bytes", "2097152 KiB"])
def test_sizes_of_torch_and_numpy_are_read(size: str) -> None:
    assert num_bytes(size) == 2 * 1024**3


def test_what_is_no_size_is_refused() -> None:
    with pytest.raises(ValueError, match="no size"):
        num_bytes("much")


def test_a_size_of_which_half_was_written_is_kept_as_it_is() -> None:
    failure = classify(Evidence("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 Mi"), sorter="s")

    assert type(failure) is DeviceOutOfMemoryError
    assert failure.diagnostics["bytes_asked"] == "20.00 Mi"


def test_the_path_that_was_written_is_named() -> None:
    failure = classify(
        Evidence("OSError: [Errno 28] No space left on device: '/store/sub-01/recording.dat'"), sorter="sorter"
    )

    assert failure.diagnostics["path"] == "/store/sub-01/recording.dat"


TOO_FEW = failure_rule(r"too few spikes", TooFewSpikesError, "Too few spikes.", "Record for longer.")


def test_the_environment_goes_before_resources_and_these_before_the_recording() -> None:
    recording = "too few spikes"
    resources = "std::bad_alloc"
    environment = "No CUDA GPUs are available"

    def kind(*texts: str) -> type[SortAssetsError]:
        return type(classify(Evidence("\n".join(texts)), sorter="sorter", rules=(TOO_FEW,)))

    assert kind(recording) is TooFewSpikesError
    assert kind(recording, resources) is HostOutOfMemoryError
    assert kind(recording, resources, environment) is GpuDriverError


def test_a_rule_of_the_sorter_goes_before_one_for_any_sorter_of_the_same_kind() -> None:
    own = failure_rule(r"std::bad_alloc", DiskFullError, "Own.", "Own.")

    failure = classify(Evidence("std::bad_alloc"), sorter="sorter", rules=(own,))

    assert type(failure) is DiskFullError


def test_the_log_counts_where_the_text_says_nothing() -> None:
    failure = classify(Evidence("RuntimeError: failed", log="too few spikes"), sorter="sorter", rules=(TOO_FEW,))

    assert type(failure) is TooFewSpikesError


def test_the_text_counts_before_the_log() -> None:
    earlier = "RuntimeError: No CUDA GPUs are available"

    failure = classify(Evidence("too few spikes", log=earlier), sorter="sorter", rules=(TOO_FEW,))

    assert type(failure) is TooFewSpikesError


def test_a_warning_in_the_log_is_no_cause() -> None:
    warning = (
        "/env/torch/cuda/__init__.py:174: UserWarning: CUDA initialization: The NVIDIA driver on your system is too "
        "old (found version 11040).\n  return torch._C._cuda_getDeviceCount() > 0\n"
    )

    failure = classify(Evidence("KeyError: 'unit'", log=warning), sorter="sorter")

    assert type(failure) is SorterFailedError


def test_what_no_rule_knows_keeps_the_words_of_the_sorter() -> None:
    failure = classify(Evidence(spikeinterface_error("KeyError: 'unit'"), stage="matching"), sorter="lupin")

    assert type(failure) is SorterFailedError
    assert failure.message == "The sorter 'lupin' stopped with an error: KeyError: 'unit'"
    assert failure.stage == "matching"
    assert failure.log_excerpt.endswith("KeyError: 'unit'")


def test_the_words_may_stand_in_the_log_alone() -> None:
    failure = classify(Evidence("", log="matching\nKeyError: 'unit'\n"), sorter="lupin")

    assert failure.message == "The sorter 'lupin' stopped with an error: KeyError: 'unit'"


def test_without_any_words_the_failure_still_says_so() -> None:
    failure = classify(Evidence(""), sorter="lupin")

    assert type(failure) is SorterFailedError
    assert "no reason" in failure.message


@pytest.mark.parametrize("wrapped", [spikeinterface_error, spikeinterface_json])
@pytest.mark.parametrize(
    ("exception", "words"),
    [
        ("ValueError: first line\nsecond line", "ValueError: first line"),
        ("lab.errors.Unhappy: no suffix tells that this is an exception", None),
        ("AssertionError", None),
    ],
)
def test_the_cause_is_the_exception(exception: str, words: str | None, wrapped: Callable[[str], str]) -> None:
    assert cause(wrapped(exception)) == (words or exception)


def test_the_cause_of_chained_exceptions_is_the_last() -> None:
    first = "Traceback (most recent call last):\n  File \"a.py\", line 1, in f\n    g()\nKeyError: 'x'\n"
    chained = f"{first}\nDuring handling of the above exception, another exception occurred:\n\n" + first.replace(
        "KeyError: 'x'", "OSError: gone"
    )

    assert cause(chained) == "OSError: gone"


def test_the_excerpt_is_short_and_without_progress_bars() -> None:
    bars = "\r".join(f" {done}%|####      | {done}/100 [00:01<00:09,  9.99it/s]" for done in range(100))
    log = f"{bars}\nCPU usage:    50.00 %\n" + "\n".join(f"line {number}" for number in range(100))

    kept = excerpt(Evidence("", log=log)).splitlines()

    assert kept == [f"line {number}" for number in range(75, 100)]


def ends(code: str) -> int:
    """Exit status of a real process that runs `code`."""
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code)], stderr=subprocess.DEVNULL).returncode


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGBUS", "SIGABRT", "SIGTERM", "SIGILL"])
def test_a_process_that_a_signal_ended_has_crashed(name: str) -> None:
    status = ends(f"import os, signal, resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0));"
                  f"os.kill(os.getpid(), signal.{name})")  # fmt: skip

    failure = classify(Evidence("", exit_status=status), sorter="sorter")

    assert type(failure) is SorterCrashedError
    assert name in failure.message
    assert failure.diagnostics == {"signal": name, "exit_status": -getattr(signal, name)}


def test_an_exit_status_of_its_own_is_a_crash() -> None:
    status = ends("import os; os._exit(3)")

    failure = classify(Evidence("", exit_status=status), sorter="sorter")

    assert type(failure) is SorterCrashedError
    assert failure.diagnostics == {"exit_status": 3}


def test_a_status_that_a_shell_made_of_a_signal_names_the_signal() -> None:
    status = subprocess.run(["bash", "-c", "bash -c 'kill -KILL $$'; exit $?"], stderr=subprocess.DEVNULL).returncode

    failure = classify(Evidence("", exit_status=status), sorter="sorter")

    assert status == 137
    assert failure.diagnostics["signal"] == "SIGKILL"


def test_a_kill_while_the_kernel_was_out_of_memory_is_host_memory() -> None:
    # The kernel's counter is only told here: to make it strike would endanger what else runs on the machine.
    status = ends("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")

    failure = classify(Evidence("", log="std::bad_alloc", exit_status=status, oom_kills=1), sorter="sorter")

    assert type(failure) is HostOutOfMemoryError
    assert failure.diagnostics == {"signal": "SIGKILL", "oom_kills": 1, "exit_status": -9}


def test_last_words_go_before_the_signal() -> None:
    said = "terminate called after throwing an instance of 'std::bad_alloc'\n"

    failure = classify(Evidence("", log=said, exit_status=-signal.SIGABRT), sorter="sorter")

    assert type(failure) is HostOutOfMemoryError
    assert failure.diagnostics["exit_status"] == -signal.SIGABRT


def test_a_crash_is_never_taken_for_a_recording_without_units() -> None:
    evidence = Evidence("", log="too few spikes", exit_status=-signal.SIGSEGV)

    assert type(classify(evidence, sorter="sorter", rules=(TOO_FEW,))) is SorterCrashedError


def test_a_traceback_in_the_output_tells_why_a_process_ended() -> None:
    evidence = Evidence("", log="too few spikes", exit_status=1)

    assert type(classify(evidence, sorter="sorter", rules=(TOO_FEW,))) is TooFewSpikesError


def test_a_worker_that_vanished_is_a_crash_or_memory() -> None:
    words = "concurrent.futures.process.BrokenProcessPool: A process in the process pool was terminated abruptly"

    assert type(classify(Evidence(words), sorter="sorter")) is SorterCrashedError
    assert type(classify(Evidence(words, oom_kills=1), sorter="sorter")) is HostOutOfMemoryError


def test_every_failure_survives_the_way_to_another_process() -> None:
    for exception, _ in REPLAYED:
        failure = classify(Evidence(exception, exit_status=1), sorter="sorter")

        restored = SortAssetsError.from_dict(failure.to_dict())

        assert type(restored) is type(failure)
        assert restored.diagnostics == failure.diagnostics


def test_no_remedy_names_a_parameter_that_the_configuration_lacks() -> None:
    values = SortingPipelineConfig().model_dump()
    for exception, _ in REPLAYED:
        remedy = classify(Evidence(exception), sorter="sorter").remedy
        for section, name in re.findall(r"\b(recording|execution|sorter)\.(\w+)", remedy):
            assert name in values[section], (exception, section, name)


NOTHING_TO_SORT: dict[str, np.ndarray] = {
    "silence": np.zeros((30000, 4), "float32"),
    "noise alone": np.random.default_rng(0).normal(0, 8, (30000, 4)).astype("float32"),
}


def sort_with(name: str, traces: np.ndarray, folder: Path) -> SortAssetsError | int:
    """Run a real sorter on microvolts, shape (samples, channels); its failure, or how many units it found."""
    recording = NumpyRecording([np.nan_to_num(traces)], 30000)
    recording.set_channel_gains(1.0)
    recording.set_channel_offsets(0.0)
    recording.set_probe(make_probe(traces.shape[1]))
    write_dat(recording, folder / "traces.dat", dtype="float32")
    traces.tofile(folder / "traces.dat")
    view = read_dat(folder / "traces.dat")
    backend = create_backend(
        SortingPipelineConfig.model_validate({"sorter": {"name": name}, "execution": {"n_jobs": 1}})
    )
    assert isinstance(backend, SpikeInterfaceBackend)
    rules = getattr(backend, "failure_rules", ())
    try:
        with compute_threads(1):
            sorting = run_sorter(
                name, backend.sorter_input(view), folder=folder / "sorter", **backend.sorter_params(view)
            )
    except SpikeSortingError as error:
        return classify(Evidence(str(error)), sorter=name, rules=rules)
    return len(sorting.unit_ids)


@pytest.mark.release
@pytest.mark.parametrize("condition", NOTHING_TO_SORT)
@pytest.mark.parametrize("name", ["spykingcircus2", "tridesclous2", "lupin"])
def test_nothing_to_sort_is_no_unknown_failure(name: str, condition: str, tmp_path: Path) -> None:
    failure = sort_with(name, NOTHING_TO_SORT[condition], tmp_path)

    assert type(failure) is TooFewSpikesError


@pytest.mark.slow
@pytest.mark.parametrize("condition", NOTHING_TO_SORT)
def test_mountainsort5_finds_no_units_where_there_is_nothing_to_sort(condition: str, tmp_path: Path) -> None:
    assert sort_with("mountainsort5", NOTHING_TO_SORT[condition], tmp_path) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["spykingcircus2", "tridesclous2", "lupin", "mountainsort5"])
def test_samples_that_are_no_numbers_are_a_matter_of_the_recording(name: str, tmp_path: Path) -> None:
    traces = NOTHING_TO_SORT["noise alone"].copy()
    # A whole channel: of less, the whitening, which looks at random parts, may see nothing.
    traces[:, 2] = np.nan

    failure = sort_with(name, traces, tmp_path)

    assert type(failure) is NonFiniteSamplesError


def test_a_share_of_no_peaks_is_too_few_spikes() -> None:
    # Lupin's second way to say it; from its line 316.
    text = (
        '  File "/env/spikeinterface/sorters/internal/lupin.py", line 316, in _run_from_folder\n'
        '    clustering_kwargs["clean_low_firing"]["subsampling_factor"] = all_peaks.size / peaks.size\n'
        "ZeroDivisionError: division by zero"
    )

    failure = classify(Evidence(text), sorter="lupin", rules=SortingComponentsBackend.failure_rules)

    assert type(failure) is TooFewSpikesError


def test_no_template_left_is_too_few_spikes() -> None:
    # Of spykingcircus2 on a single wire, whose two units it takes for noise.
    text = (
        '  File "/env/spikeinterface/sortingcomponents/matching/main.py", line 69, in find_spikes_from_templates\n'
        "    return np.zeros(0, dtype=node0.get_dtype())\n"
        "UnboundLocalError: cannot access local variable 'node0' where it is not associated with a value"
    )

    failure = classify(Evidence(text), sorter="spykingcircus2", rules=SortingComponentsBackend.failure_rules)

    assert type(failure) is TooFewSpikesError
    assert "No template was left" in failure.message
