"""Rules for failures of CUDA, of the GPU and of its driver, which any sorter that computes on a GPU can have.

The words are those of `cudaGetErrorString` (CUDA 13.0), of the libraries cuBLAS, cuSOLVER, cuFFT, cuSPARSE and cuDNN as
torch 2.13 reports them, and of NVML.
"""

from __future__ import annotations

import re
from typing import Any

from sort_assets.backends.failure_rules import Evidence, FailureRule, diagnostics, failure_rule
from sort_assets.backends.gpu_memory_report import read_memory_report
from sort_assets.errors import (
    GPU_BYTES_OF_OTHERS,
    ConfigError,
    DeviceOutOfMemoryError,
    GpuBusyError,
    GpuDriverError,
    GpuMemoryTakenError,
    HostOutOfMemoryError,
    IncompatibleVersionsError,
    SortAssetsError,
    SorterFailedError,
    SorterNotInstalledError,
    TransientGpuError,
)

_ALLOCATION = (
    r"(?:CUDA out of memory\.[^\n]{0,200}?(?:Tried to allocate|Requested size:) (?P<bytes_asked>[\d.]+ \w+)"
    r"|CUDA out of memory\b)"
)
_HANDLE = (
    # Of its own accord the memory gives out first where a library makes its handle, with its workspace.
    r"CU(?:BLAS|SOLVER|SPARSE)_STATUS_(?:NOT_INITIALIZED|INTERNAL_ERROR|EXECUTION_FAILED),?"
    r" when calling `cu(?:blas|blasLt|solverDn|solverSp|sparse)Create\b"
    r"|CUDNN_STATUS_NOT_INITIALIZED|CUFFT_(?:SETUP_FAILED|NO_WORKSPACE)"
    r"|CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"
    # cuDNN tries one algorithm after the other, and none finds room for its workspace.
    r"|GET was unable to find an engine to execute this|Unable to find a valid cuDNN algorithm to run convolution"
)
DEVICE_MEMORY = (
    rf"{_ALLOCATION}"
    r"|torch\.(?:cuda\.)?OutOfMemoryError(?!: CUDA out of memory)"
    r"|CUDA (?:driver )?error: out of memory|Error 2: out of memory"
    r"|CU(?:BLAS|DNN|SOLVER|SPARSE)_STATUS_(?:ALLOC_FAILED|INSUFFICIENT_RESOURCES)|CUFFT_ALLOC_FAILED"
    rf"|{_HANDLE}"
    # torch asks NVML only to say who holds the memory that gave out (pytorch/pytorch#112377).
    r"|NVML_SUCCESS == [^\n]{0,200}INTERNAL ASSERT FAILED at [^\n]{0,200}CUDACachingAllocator"
)
"""Pattern of the messages of torch and CUDA's libraries when the GPU's memory is exhausted."""
DEVICE_MEMORY_EXAMPLE = "CUDA out of memory. Tried to allocate 2.00 GiB"

OTHER_TORCH_BUILD = (
    "Install the build of torch that has code for this card (`sort-assets doctor` says which; for Pascal and Volta, "
    "such as GTX 10, Titan V and V100, that is `make TORCH_BUILD=cu126`), or set sorter.device to 'cpu'."
)
_UPDATE_DRIVER = (
    "Update the NVIDIA driver, or install the build of the same torch for the CUDA that this driver has "
    "(`sort-assets doctor` says which, and how), or set sorter.device to 'cpu'."
)
_REBOOT = (
    "Reboot the machine, which is due after an update of the driver; if that does not help, reinstall the driver. "
    "Until then sorter.device 'cpu' works."
)
_MIXED_CUDA = (
    "Unset LD_LIBRARY_PATH if it names a CUDA of its own, which torch would take in place of the one that it brings "
    "along; else install torch again, with all of its nvidia packages."
)
_RUN_AGAIN = (
    "Run again, with no other program on the GPU. If it comes again, reboot, and look for Xid errors of the GPU "
    "in `dmesg`."
)


def device_memory_failure(
    evidence: Evidence, message: str, *, remedy: str, stage: str | None = None, **known: Any
) -> DeviceOutOfMemoryError:
    """The failure of a sort for which the device's memory was not enough, with who else holds memory of it.

    Parameters
    ----------
    evidence : Evidence
    message : str
        What happened, as a sentence.
    remedy : str
        What to do where the sort itself needs too much.
    stage : str or None
    **known
        Diagnostics.

    Returns
    -------
    DeviceOutOfMemoryError
        A `GpuMemoryTakenError` where the sort would have found enough without the others.
    """
    report = read_memory_report(evidence.text) or read_memory_report(evidence.log)
    if report is None or not report.others:
        return DeviceOutOfMemoryError(message, remedy=remedy, stage=stage, **known)
    known |= {
        "gpu_bytes": report.total,
        "gpu_bytes_free": report.free,
        GPU_BYTES_OF_OTHERS: report.others,
        "gpu_pids_of_others": ", ".join(map(str, report.holders)) or None,
    }
    if not report.fits_without_others:
        return DeviceOutOfMemoryError(message + report.sentence, remedy=remedy, stage=stage, **known)
    whose = f" (`ps -fp {','.join(map(str, report.holders))}` says whose it is)" if report.holders else ""
    return GpuMemoryTakenError(
        f"{message}{report.sentence} Without them, there would have been enough.",
        remedy=f"Let that program end{whose}, or name another card in CUDA_VISIBLE_DEVICES where sort-assets starts, "
        "then run again: the parameters need no change.",
        stage=stage,
        **known,
    )


def asked(match: re.Match[str]) -> str:
    """The part of a message that names the size that was asked for, if the match has it."""
    size = match.groupdict().get("bytes_asked")
    return f": {size} more were asked for" if size else ""


def _device_memory(match: re.Match[str], evidence: Evidence) -> SortAssetsError:
    return device_memory_failure(
        evidence,
        f"The sorter ran out of GPU memory{asked(match)}.",
        remedy="Close other programs that use the GPU, sort fewer channels at a time (recording.split_by), or set "
        "sorter.device to 'cpu'.",
        **diagnostics(match),
    )


def _cuda(*words: str) -> str:
    """Pattern of errors of CUDA with these words, as torch reports them; the group `reason` has the words."""
    # Begins with a fixed word, for which `re` searches fast.
    of_cuda = r"(?:(?<=CUDA error)|(?<=CUDA driver error)|(?<=\bError) \d{1,3}): "
    return rf"rror{of_cuda}(?P<reason>{'|'.join(words)})"


_ENVIRONMENT = (
    failure_rule(
        r"Torch not compiled with CUDA enabled",
        GpuDriverError,
        "The sorter was to use the GPU, but the installed torch has no CUDA.",
        "Install a torch build with CUDA (https://pytorch.org/get-started), or set sorter.device to 'cpu'.",
    ),
    failure_rule(
        r"(?P<reason>No CUDA GPUs are available|Found no NVIDIA driver on your system"
        r"|CUDA error: (?:no CUDA-capable device is detected|invalid device ordinal)"
        r"|device >= 0 && device < num_gpus|cuda driver can't be loaded, is cuda enabled"
        r"|Attempting to deserialize object on (?:a )?CUDA device[^\n]*is_available\(\) is False)",
        GpuDriverError,
        "The sorter was to use a GPU, and there is none, or none of this number: {reason}.",
        "Check with nvidia-smi that the GPU is there, and that CUDA_VISIBLE_DEVICES names it; a sort sees only the "
        "card that it holds, so that sorter.params must not number it ('cuda', not 'cuda:1'). Or set sorter.device to "
        "'cpu'.",
    ),
    failure_rule(
        _cuda("CUDA driver is a stub library"),
        GpuDriverError,
        "CUDA found the driver's stub, which is only for compiling, in place of the driver.",
        "Take the folder `stubs` of the CUDA toolkit out of LD_LIBRARY_PATH.",
    ),
    failure_rule(
        r"(?P<reason>The NVIDIA driver on your system is too old[^\n]*"
        r"|CUDA driver version is insufficient for CUDA runtime version"
        r"|API call is not supported in the installed CUDA driver"
        r"|the provided PTX was compiled with an unsupported toolchain)",
        GpuDriverError,
        "The GPU's driver is too old for the installed torch: {reason}",
        _UPDATE_DRIVER,
    ),
    failure_rule(
        r"(?P<reason>no kernel image is available for execution on the device"
        r"|CUDA error: (?:invalid device function|device kernel image is invalid|PTX JIT compilation was disabled)"
        r"|CU(?:BLAS|SOLVER|SPARSE|DNN)_STATUS_(?:NOT_SUPPORTED_)?ARCH_MISMATCH"
        r"|nvrtc: error: invalid value for --gpu-architecture)",
        GpuDriverError,
        "The installed build of torch has no code for this card: {reason}",
        OTHER_TORCH_BUILD,
    ),
    failure_rule(
        r"forward compatibility was attempted on non supported HW",
        GpuDriverError,
        "A newer driver library than the kernel's driver was loaded, which only works on cards for data centres.",
        "Take the package cuda-compat, or its folder in LD_LIBRARY_PATH, out of the container or environment; after "
        "an update of the driver, reboot. The driver of the machine then has to be new enough for torch.",
    ),
    failure_rule(
        _cuda("system not yet initialized"),
        GpuDriverError,
        "The GPUs of this machine are not ready: on machines with NVSwitch (HGX, DGX), the fabric manager has to run.",
        "Start it (`systemctl start nvidia-fabricmanager`, in the version of the driver); if it runs, reboot.",
    ),
    failure_rule(
        _cuda(
            r"MPS [^\n]*",
            r"the remote procedural call between the MPS[^\n]*",
            r"the hardware resources required to[^\n]*",
            r"the MPS client has been terminated[^\n]*",
            r"is using CUDA Dynamic Parallelism[^\n]*",
        ),
        GpuDriverError,
        "The card is shared through CUDA's Multi-Process Service (MPS), which refuses the sort: {reason}.",
        "Restart the MPS daemon, or end it (`echo quit | nvidia-cuda-mps-control`): sorts hold their card for "
        "themselves and need none. If this sort was not to use it, unset CUDA_MPS_PIPE_DIRECTORY.",
    ),
    failure_rule(
        _cuda("device doesn't have valid Grid license")
        + r"|CUBLAS_STATUS_LICENSE_ERROR|CU(?:DNN|FFT)_\w*LICENSE_ERROR",
        GpuDriverError,
        "The virtual GPU has no licence.",
        "Ask those who run the machine for NVIDIA's vGPU licence, or set sorter.device to 'cpu'.",
    ),
    failure_rule(
        _cuda("PTX JIT compiler library not found"),
        GpuDriverError,
        "The driver's compiler (libnvidia-ptxjitcompiler) is missing.",
        "Install the NVIDIA driver completely; a container gets it with NVIDIA_DRIVER_CAPABILITIES=compute,utility.",
    ),
    failure_rule(
        _cuda(
            r"operation not permitted(?m:\s*$)",
            r"operation not supported(?m:\s*$)",
            "the provided execution affinity is not supported",
            "limit is not supported on this architecture",
        ),
        GpuDriverError,
        "The driver refuses what torch asks of it, as virtual GPUs and containers without rights do: {reason}.",
        "Give the container all rights to the GPU (`--gpus`, /dev/nvidia-uvm); on a virtual GPU set "
        "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:False where sort-assets starts. Or set sorter.device to 'cpu'.",
    ),
    failure_rule(
        r"NVMLError_(?P<reason>DriverNotLoaded|LibraryNotFound|NoPermission|CorruptedInforom|FunctionNotFound"
        r"|InsufficientPower|ArgumentVersionMismatch|NotSupported|VgpuEccNotSupported|FreqNotSupported|Deprecated"
        r"|ResetTypeNotSupported|GpuNotFound|NotFound)\b",
        GpuDriverError,
        "The driver does not answer what the sorter asks about the GPU (NVML: {reason}), as on slices (MIG), virtual "
        "GPUs, WSL and in containers without rights.",
        "Run nvidia-smi: if it fails as well, install the driver again, or give the container its rights. Else sort "
        "on a whole GPU, or set sorter.device to 'cpu'.",
    ),
    failure_rule(
        r"(?P<reason>(?:Failed to initialize NVML: )?Driver/library version mismatch|NVML_ERROR_LIB_RM_VERSION_MISMATCH"
        r"|NVMLError_LibRmVersionMismatch|NVML/RM version mismatch"
        r"|CUDA driver initialization failed[^\n]*|CUDA unknown error - this may be due to an incorrectly set up"
        r"|CUDA error: (?:initialization error|system has unsupported display driver|startup failure in cuda runtime"
        r"|integrity checks failed|OS call failed or operation not supported on this OS)"
        r"|Unexpected error from cudaGetDeviceCount\(\)"
        r"(?![^\n]*\n?[^\n]*(?:out of memory|busy or unavailable|exclusive-thread)))",
        GpuDriverError,
        "The GPU's driver is in trouble: {reason}",
        _REBOOT,
    ),
    failure_rule(
        _cuda(
            "the provided PTX contains unsupported call",
            "unsupported interaction between different versions of CUDA",
            "file not found",
            "shared object (?:symbol not found|initialization failed)",
            "named symbol not found",
            "incompatible driver context",
        )
        + r"|CUDNN_STATUS_(?:SUBLIBRARY_VERSION_MISMATCH|SERIALIZATION_VERSION_MISMATCH|SUBLIBRARY_LOADING_FAILED"
        r"|VERSION_MISMATCH|NOT_SUPPORTED_INCOMPATIBLE_\w+)"
        r"|CUFFT_(?:MISSING_DEPENDENCY|NVRTC_FAILURE|NVJITLINK_FAILURE|NVSHMEM_FAILURE)",
        IncompatibleVersionsError,
        "Parts of CUDA do not fit each other, or are missing.",
        _MIXED_CUDA,
    ),
    failure_rule(
        r"Cannot find a working triton installation",
        SorterNotInstalledError,
        "The sorter compiles with the package 'triton', which is not installed.",
        "Install triton, or set sorter.device to 'cpu'.",
    ),
    failure_rule(
        r"Cannot re-initialize CUDA in forked subprocess",
        ConfigError,
        "The sorter's workers were forked after CUDA had started, which CUDA does not allow.",
        "Set execution.n_jobs to 1, or have sorter.params compute on the CPU.",
    ),
)

_RESOURCES = (
    FailureRule(re.compile(DEVICE_MEMORY), _device_memory, example=DEVICE_MEMORY_EXAMPLE),
    failure_rule(
        r"CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
        HostOutOfMemoryError,
        "The sorter ran out of the machine's memory.",
        "Run with fewer workers (execution.n_jobs), sort a shorter part (recording.first_minutes), or give the sort "
        "more memory.",
    ),
    failure_rule(
        _cuda(
            r"CUDA-capable device\(s\) is/are busy or unavailable",
            "all CUDA-capable devices are busy or unavailable",
            "exclusive-thread device already in use by a different thread",
        ),
        GpuBusyError,
        "The GPU takes no other program: its compute mode is exclusive, somebody uses it.",
        "Let the other program end (nvidia-smi lists it), then run again; or let programs share the card "
        "(`nvidia-smi -c DEFAULT`, as root).",
    ),
    failure_rule(
        _cuda("device-side assert triggered"),
        TransientGpuError,
        "A computation on the GPU found an index or a number that can't be.",
        "Run again. If it comes again, set sorter.device to 'cpu', where the error names the place, and report it to "
        "the sorter's authors.",
    ),
    failure_rule(
        _cuda("the launch timed out and was terminated"),
        TransientGpuError,
        "The driver ended a computation that took seconds, because the card draws a screen as well.",
        "Run again. If it comes again, sort on a card without a screen (CUDA_VISIBLE_DEVICES), or start the machine "
        "without a desktop.",
    ),
    failure_rule(
        _cuda(
            "uncorrectable ECC error encountered",
            "uncorrectable NVLink error detected",
            "Invalid access of peer GPU memory over nvlink",
            "hardware stack error",
        )
        + r"|NVMLError_(?:GpuIsLost|ResetRequired|IrqIssue)\b",
        TransientGpuError,
        "The GPU's hardware reported an error, or the GPU was lost.",
        "Reboot, and run again. If it comes again, look at `nvidia-smi -q` and for Xid errors in `dmesg`: the card, "
        "its seat, its power or its cooling is at fault.",
    ),
    failure_rule(
        _cuda(
            r"unknown error|unspecified launch failure|an illegal memory access was encountered|misaligned address",
            r"an illegal instruction was encountered|operation not supported on global/shared address space",
            r"invalid program counter|a PTX JIT compilation failed|context is destroyed|invalid device context",
            r"driver shutting down|tensor memory not completely freed|wait operation timed out",
            r"an async error has occured|CUBLAS_STATUS_(?:NOT_INITIALIZED|EXECUTION_FAILED|INTERNAL_ERROR"
            r"|MAPPING_ERROR)",
            r"CUSPARSE_STATUS_(?:NOT_INITIALIZED|EXECUTION_FAILED|INTERNAL_ERROR|MAPPING_ERROR)",
        )
        + r"|CUSOLVER_STATUS_(?:NOT_INITIALIZED|EXECUTION_FAILED|INTERNAL_ERROR)"
        r"|CUDNN_STATUS_(?:EXECUTION_FAILED|INTERNAL_ERROR|MAPPING_ERROR)|CUFFT_(?:EXEC_FAILED|INTERNAL_ERROR)"
        r"|NVMLError_(?:Unknown|Timeout|OperatingSystem|InUse|Memory|NotReady|InvalidState|Uninitialized"
        r"|InsufficientResources|InsufficientSize|NoData|InvalidArgument|AlreadyInitialized)\b",
        TransientGpuError,
        "The GPU reported an error that often does not come again.",
        _RUN_AGAIN,
    ),
)

_OTHER = (
    failure_rule(
        r"rror: (?:(?<=CUDA error: )|(?<=CUDA driver error: )|(?<=cuDNN error: )|(?<=cuFFT error: )"
        r"|(?<=cusolver error: ))(?P<reason>[^\n]{1,300})",
        SorterFailedError,
        "CUDA refused a call of the sorter: {reason}",
        "Run again. If it comes again, it is a mistake of the sorter or of torch, or a second CUDA in LD_LIBRARY_PATH: "
        "unset that, else set sorter.device to 'cpu' and report it to the sorter's authors.",
    ),
)

GPU_FAILURES: tuple[FailureRule, ...] = (*_ENVIRONMENT, *_RESOURCES, *_OTHER)
"""The rules, which are among those for any sorter."""
