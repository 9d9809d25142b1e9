"""What CUDA, its libraries, torch 2.13 and NVML write when something fails, with the right answer to each.

`python -m sort_assets_tests.backends.cuda_texts` prints the table: what each text becomes.
"""

from collections.abc import Iterator
from typing import NamedTuple

from sort_assets.backends.failure_classification import classify
from sort_assets.backends.failure_rules import Evidence
from sort_assets.backends.kilosort4.failures import FAILURE_RULES
from sort_assets.config import ExecutionConfig
from sort_assets.errors import (
    ConfigError,
    DeviceOutOfMemoryError,
    GpuBusyError,
    GpuDriverError,
    GpuMemoryTakenError,
    HostOutOfMemoryError,
    IncompatibleVersionsError,
    NonFiniteSamplesError,
    OutOfMemoryError,
    SortAssetsError,
    SorterFailedError,
    SorterNotInstalledError,
    TransientGpuError,
)
from sort_assets.platform.pipeline.retries import decide_retry


class Answer(NamedTuple):
    """The class of a failure, whether it is tried again, and words of its remedy."""

    kind: type[SortAssetsError]
    retry: bool
    remedy: str


NO_GPU = Answer(GpuDriverError, False, "Check with nvidia-smi that the GPU is there")
NO_CUDA = Answer(GpuDriverError, False, "Install a torch build with CUDA")
STUB = Answer(GpuDriverError, False, "`stubs`")
TOO_OLD = Answer(GpuDriverError, False, "Update the NVIDIA driver, or install the build of the same torch")
NO_CODE = Answer(GpuDriverError, False, "Install the build of torch that has code for this card")
COMPAT = Answer(GpuDriverError, False, "cuda-compat")
FABRIC = Answer(GpuDriverError, False, "nvidia-fabricmanager")
MPS = Answer(GpuDriverError, False, "Restart the MPS daemon")
LICENCE = Answer(GpuDriverError, False, "vGPU licence")
COMPILER = Answer(GpuDriverError, False, "NVIDIA_DRIVER_CAPABILITIES")
REFUSED = Answer(GpuDriverError, False, "expandable_segments:False")
TROUBLE = Answer(GpuDriverError, False, "Reboot the machine")
UNANSWERED = Answer(GpuDriverError, False, "Run nvidia-smi")
MIXED = Answer(IncompatibleVersionsError, False, "LD_LIBRARY_PATH")
VERSIONS = Answer(IncompatibleVersionsError, False, "compatible versions")
MEMORY = Answer(DeviceOutOfMemoryError, True, "Lower sorter.params.batch_size")
TAKEN = Answer(GpuMemoryTakenError, True, "Let that program end")
HOST_MEMORY = Answer(HostOutOfMemoryError, True, "more memory")
BUSY = Answer(GpuBusyError, True, "Let the other program end")
ASSERT = Answer(TransientGpuError, True, "where the error names the place")
DISPLAY = Answer(TransientGpuError, True, "a card without a screen")
HARDWARE = Answer(TransientGpuError, True, "its power or its cooling")
PASSING = Answer(TransientGpuError, True, "Xid errors")
MISTAKE = Answer(SorterFailedError, False, "report it to the sorter's authors")
UNKNOWN = Answer(SorterFailedError, False, "Read the log excerpt")
NOT_INSTALLED = Answer(SorterNotInstalledError, False, "Install")
FORKED = Answer(ConfigError, False, "execution.n_jobs to 1")
NOT_FINITE = Answer(NonFiniteSamplesError, False, "Find out which part or channel is broken")

RUNTIME: dict[Answer, dict[int, str]] = {
    NO_GPU: {
        100: "no CUDA-capable device is detected",
        101: "invalid device ordinal",
    },
    STUB: {
        34: "CUDA driver is a stub library",
    },
    TOO_OLD: {
        35: "CUDA driver version is insufficient for CUDA runtime version",
        36: "API call is not supported in the installed CUDA driver",
        222: "the provided PTX was compiled with an unsupported toolchain.",
    },
    NO_CODE: {
        98: "invalid device function",
        200: "device kernel image is invalid",
        209: "no kernel image is available for execution on the device",
        223: "PTX JIT compilation was disabled",
        300: "device kernel image is invalid",
    },
    COMPAT: {
        804: "forward compatibility was attempted on non supported HW",
    },
    FABRIC: {
        802: "system not yet initialized",
    },
    MPS: {
        805: "MPS client failed to connect to the MPS control daemon or the MPS server",
        806: "the remote procedural call between the MPS server and the MPS client failed",
        807: "MPS server is not ready to accept new MPS client requests",
        808: "the hardware resources required to create MPS client have been exhausted",
        809: "the hardware resources required to support device connections have been exhausted",
        810: "the MPS client has been terminated by the server",
        811: "is using CUDA Dynamic Parallelism, but the current configuration, like MPS, does not support it",
    },
    LICENCE: {
        102: "device doesn't have valid Grid license",
    },
    COMPILER: {
        221: "PTX JIT compiler library not found",
    },
    REFUSED: {
        215: "limit is not supported on this architecture",
        224: "the provided execution affinity is not supported",
        800: "operation not permitted",
        801: "operation not supported",
    },
    TROUBLE: {
        3: "initialization error",
        103: "integrity checks failed",
        127: "startup failure in cuda runtime",
        304: "OS call failed or operation not supported on this OS",
        803: "system has unsupported display driver / cuda driver combination",
    },
    MIXED: {
        49: "incompatible driver context",
        225: "the provided PTX contains unsupported call to cudaDeviceSynchronize",
        301: "file not found",
        302: "shared object symbol not found",
        303: "shared object initialization failed",
        500: "named symbol not found",
        812: "unsupported interaction between different versions of CUDA Dynamic Parallelism",
    },
    MEMORY: {
        2: "out of memory",
    },
    BUSY: {
        46: "CUDA-capable device(s) is/are busy or unavailable",
        216: "exclusive-thread device already in use by a different thread",
    },
    ASSERT: {
        710: "device-side assert triggered",
    },
    DISPLAY: {
        702: "the launch timed out and was terminated",
    },
    HARDWARE: {
        214: "uncorrectable ECC error encountered",
        220: "uncorrectable NVLink error detected during the execution",
        226: "Invalid access of peer GPU memory over nvlink or a hardware error",
        714: "hardware stack error",
    },
    PASSING: {
        4: "driver shutting down",
        53: "unspecified launch failure in prior launch",
        201: "invalid device context",
        218: "a PTX JIT compilation failed",
        700: "an illegal memory access was encountered",
        709: "context is destroyed",
        715: "an illegal instruction was encountered",
        716: "misaligned address",
        717: "operation not supported on global/shared address space",
        718: "invalid program counter",
        719: "unspecified launch failure",
        721: "tensor memory not completely freed",
        909: "wait operation timed out",
        911: "an async error has occured in external entity outside of CUDA",
        999: "unknown error",
    },
    MISTAKE: {
        1: "invalid argument",
        5: "profiler disabled while using external profiling tool",
        6: "profiler not initialized: call cudaProfilerInitialize()",
        7: "profiler already started",
        8: "profiler already stopped",
        9: "invalid configuration argument",
        12: "invalid pitch argument",
        13: "invalid device symbol",
        16: "invalid host pointer",
        17: "invalid device pointer",
        18: "invalid texture reference",
        19: "texture is not bound to a pointer",
        20: "invalid channel descriptor",
        21: "invalid copy direction for memcpy",
        22: "invalid address of constant",
        23: "fetch from texture failed",
        24: "cannot fetch from a texture that is not bound",
        25: "incorrect use of __syncthreads()",
        26: "linear filtering not supported for non-float type",
        27: "read as normalized float not supported for data type",
        28: "device emulation mode and device execution mode cannot be mixed",
        31: "feature not yet implemented",
        32: "memory size or pointer value too large to fit in 32 bit",
        37: "invalid surface reference",
        43: "duplicate global variable looked up by string name",
        44: "duplicate texture looked up by string name",
        45: "duplicate surface looked up by string name",
        52: "__global__ function call is not configured",
        65: "launch would exceed maximum depth of nested launches",
        66: "launch failed because kernel uses unsupported, file-scoped textures (texture objects are supported)",
        67: "launch failed because kernel uses unsupported, file-scoped surfaces (surface objects are supported)",
        68: "cudaDeviceSynchronize failed because caller's grid depth exceeds cudaLimitDevRuntimeSyncDepth",
        69: "launch failed because launch would exceed cudaLimitDevRuntimePendingLaunchCount",
        205: "mapping of buffer object failed",
        206: "unmapping of buffer object failed",
        207: "array is mapped",
        208: "resource already mapped",
        210: "resource already acquired",
        211: "resource not mapped",
        212: "resource not mapped as array",
        213: "resource not mapped as pointer",
        217: "peer access is not supported between these two devices",
        219: "invalid OpenGL or DirectX context",
        400: "invalid resource handle",
        401: "the operation cannot be performed in the present state",
        402: "attempted introspection would be semantically lossy",
        600: "device not ready",
        701: "too many resources requested for launch",
        703: "launch uses incompatible texturing mode",
        704: "peer access is already enabled",
        705: "peer access has not been enabled",
        708: "cannot set while device is active in this process",
        711: "peer mapping resources exhausted",
        712: "part or all of the requested memory range is already mapped",
        713: "pointer does not correspond to a registered memory region",
        720: "too many blocks in cooperative launch",
        900: "operation not permitted when stream is capturing",
        901: "operation failed due to a previous error during capture",
        902: "operation would result in a merge of separate capture sequences",
        903: "capture was not ended in the same stream as it began",
        904: "capturing stream has unjoined work",
        905: "dependency created on uncaptured work in another stream",
        906: "operation would make the legacy stream depend on a capturing blocking stream",
        907: "operation not permitted on an event last recorded in a capturing stream",
        908: "attempt to terminate a thread-local capture sequence from another thread",
        910: "the graph update was not performed because it included changes which violated constraints "
        "specific to instantiated graph update",
        912: "a kernel launch error has occurred due to cluster misconfiguration",
        913: "the function handle is not loaded when calling an API that requires a loaded function",
        914: "one or more resources passed in are not valid resource types for the operation",
        915: "one or more resources are insufficient or non-applicable for the operation",
    },
}
"""Of `cudaGetErrorString`, by their numbers: all of CUDA 13.0's."""

_OOM = "torch.OutOfMemoryError: CUDA out of memory. "
_COUNT = (
    "RuntimeError: Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before calling "
    "NumCudaDevices() that might have already set an error? Error "
)
_LINALG = (
    "If you keep seeing this error, you may use `torch.backends.cuda.preferred_linalg_library()` to try linear algebra "
    "operators with other supported backends."
)
_CARD = "GPU 0 has a total capacity of 23.64 GiB of which 1.02 GiB is free. "
_OURS = (
    "Including non-PyTorch memory, this process has 4.71 GiB memory in use. Of the allocated memory 3.10 GiB is "
    "allocated by PyTorch, and 1.20 GiB is reserved by PyTorch but unallocated. "
)
_GEMM = "when calling `cublasSgemm( handle, opa, opb, m, n, k, &alpha, a, lda, b, ldb, &beta, c, ldc)`"
_SVD = "when calling `cusolverDnSgesvdj( handle, jobz, econ, m, n, A, lda, S, U, ldu, V, ldv, work, lwork, info)`"

LIBRARIES: dict[Answer, tuple[str, ...]] = {
    MEMORY: (
        f"{_OOM}Tried to allocate 6.25 GiB. {_CARD}{_OURS}".replace("4.71", "22.5"),
        f"{_OOM}Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 23.64 GiB of which 3.02 MiB is free. "
        "Process 911 has 458.00 MiB memory in use. Including non-PyTorch memory, this process has 23.2 GiB memory in "
        "use. ",
        f"{_OOM}Allocation was preemptively rejected because it would exceed per_process_memory_fraction limit. "
        "Requested size: 6.25 GiB. GPU 0 has a total capacity of 139.80 GiB of which 130.02 GiB is free. 8.00 GiB "
        "allowed; ",
        f"{_OOM}Tried to allocate more than 1EB memory.",
        "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        f"{_COUNT}2: out of memory",
        "RuntimeError: CUDA driver error: out of memory",
        "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "RuntimeError: CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "RuntimeError: CUDA error: CUBLAS_STATUS_INTERNAL_ERROR when calling `cublasCreate(handle)`",
        "RuntimeError: CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasLtCreate(&lt_handle)`",
        "RuntimeError: CUDA error: CUSPARSE_STATUS_ALLOC_FAILED when calling `cusparseCreate(handle)`",
        "RuntimeError: CUDA error: CUSPARSE_STATUS_NOT_INITIALIZED when calling `cusparseCreate(handle)`",
        "RuntimeError: CUDA error: CUSPARSE_STATUS_INSUFFICIENT_RESOURCES when calling `cusparseSpMM( handle, a)`",
        "RuntimeError: cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`.",
        "torch._C._LinAlgError: cusolver error: CUSOLVER_STATUS_INTERNAL_ERROR, when calling "
        f"`cusolverDnCreate(handle)`. {_LINALG}",
        "torch._C._LinAlgError: cusolver error: CUSOLVER_STATUS_NOT_INITIALIZED, when calling "
        f"`cusolverDnCreate(handle)`. {_LINALG}",
        "RuntimeError: cuFFT error: CUFFT_ALLOC_FAILED",
        "RuntimeError: cuFFT error: CUFFT_SETUP_FAILED",
        "RuntimeError: cuFFT error: CUFFT_NO_WORKSPACE",
        "RuntimeError: cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "RuntimeError: cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
        "RuntimeError: cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "RuntimeError: GET was unable to find an engine to execute this computation",
        "RuntimeError: Unable to find a valid cuDNN algorithm to run convolution",
        'RuntimeError: NVML_SUCCESS == r INTERNAL ASSERT FAILED at "/pytorch/c10/cuda/CUDACachingAllocator.cpp":1090, '
        "please report a bug to PyTorch. ",
        "RuntimeError: NVML_SUCCESS == DriverAPI::get()->nvmlInit_v2_() INTERNAL ASSERT FAILED at "
        '"../c10/cuda/CUDACachingAllocator.cpp":1123, please report a bug to PyTorch. ',
        "in run_matching\n    st[k:k+nsp, 0] = iX[:,0]\nRuntimeError: The expanded size of the tensor (1200) must "
        "match the existing size (4711) at non-singleton dimension 0.  Target sizes: [1200].  Tensor sizes: [4711]",
    ),
    TAKEN: (
        f"{_OOM}Tried to allocate 6.25 GiB. {_CARD}Process 4711 has 17.90 GiB memory in use. {_OURS}",
        f"{_OOM}Tried to allocate 6.25 GiB. {_CARD}{_OURS.split('Of')[0]}Process 4711 has 17.90 GiB memory in use. ",
        # In a container, where nobody has the pids that NVML tells.
        f"{_OOM}Tried to allocate 6.25 GiB. {_CARD}Process 4711 has 17.90 GiB memory in use. Process 12 has 4.71 GiB "
        f"memory in use. Of{_OURS.split('Of')[1]}",
    ),
    HOST_MEMORY: ("RuntimeError: cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",),
    BUSY: (
        f"{_COUNT}46: CUDA-capable device(s) is/are busy or unavailable",
        "RuntimeError: CUDA error: all CUDA-capable devices are busy or unavailable",
    ),
    PASSING: (
        f"RuntimeError: CUDA error: CUBLAS_STATUS_EXECUTION_FAILED {_GEMM}",
        f"RuntimeError: CUDA error: CUBLAS_STATUS_INTERNAL_ERROR {_GEMM}",
        f"RuntimeError: CUDA error: CUBLAS_STATUS_MAPPING_ERROR {_GEMM}",
        "RuntimeError: CUDA error: CUSPARSE_STATUS_EXECUTION_FAILED when calling `cusparseSpMM( handle, a)`",
        "RuntimeError: CUDA error: CUSPARSE_STATUS_INTERNAL_ERROR when calling `cusparseSpMM( handle, a)`",
        f"torch._C._LinAlgError: cusolver error: CUSOLVER_STATUS_EXECUTION_FAILED, {_SVD}. {_LINALG}",
        f"torch._C._LinAlgError: cusolver error: CUSOLVER_STATUS_INTERNAL_ERROR, {_SVD}. {_LINALG}",
        "RuntimeError: cuFFT error: CUFFT_EXEC_FAILED",
        "RuntimeError: cuFFT error: CUFFT_INTERNAL_ERROR",
        "RuntimeError: cuDNN error: CUDNN_STATUS_INTERNAL_ERROR",
        "RuntimeError: cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
        "RuntimeError: cuDNN error: CUDNN_STATUS_EXECUTION_FAILED_CUDART",
        "RuntimeError: cuDNN error: CUDNN_STATUS_EXECUTION_FAILED_CUBLAS",
        "RuntimeError: cuDNN error: CUDNN_STATUS_MAPPING_ERROR",
        "pynvml.NVMLError_Unknown: Unknown Error",
        "pynvml.NVMLError_Timeout: Timeout",
        "pynvml.NVMLError_OperatingSystem: The operating system has blocked the request.",
        "pynvml.NVMLError_InUse: NVML Error with code 19",
        "pynvml.NVMLError_Memory: Insufficient Memory",
        "pynvml.NVMLError_InsufficientResources: NVML Error with code 23",
        "pynvml.NVMLError_NotReady: NVML Error with code 27",
        "pynvml.NVMLError_InvalidState: NVML Error with code 29",
        "pynvml.NVMLError_Uninitialized: Uninitialized",
        "pynvml.NVMLError_NoData: NVML Error with code 21",
        "pynvml.NVMLError_InvalidArgument: Invalid Argument",
    ),
    HARDWARE: (
        "pynvml.NVMLError_GpuIsLost: GPU is lost",
        "pynvml.NVMLError_ResetRequired: GPU requires restart",
        "pynvml.NVMLError_IrqIssue: Interrupt Request Issue",
    ),
    NO_GPU: (
        "RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and installed a "
        "driver from http://www.nvidia.com/Download/index.aspx",
        "RuntimeError: No CUDA GPUs are available",
        "torch.cuda.DeferredCudaCallError: CUDA call failed lazily at initialization with error: device >= 0 && device "
        '< num_gpus INTERNAL ASSERT FAILED at "/pytorch/aten/src/ATen/cuda/CUDAContext.cpp":52, please report a bug to '
        "PyTorch. device=1, num_gpus=1",
        "RuntimeError: cuda driver can't be loaded, is cuda enabled?",
        "RuntimeError: Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is False.",
    ),
    NO_CUDA: ("AssertionError: Torch not compiled with CUDA enabled",),
    TOO_OLD: (
        "RuntimeError: The NVIDIA driver on your system is too old (found version 12040). Please update your GPU "
        "driver by downloading and installing a new version from the URL: http://www.nvidia.com/Download/index.aspx "
        "Alternatively, go to: https://pytorch.org to install a PyTorch version that has been compiled with your "
        "version of the CUDA driver.",
    ),
    NO_CODE: (
        f"RuntimeError: CUDA error: CUBLAS_STATUS_ARCH_MISMATCH {_GEMM}",
        f"RuntimeError: cusolver error: CUSOLVER_STATUS_ARCH_MISMATCH, {_SVD}. {_LINALG}",
        "RuntimeError: CUDA error: CUSPARSE_STATUS_ARCH_MISMATCH when calling `cusparseSpMM( handle, a)`",
        "RuntimeError: cuDNN error: CUDNN_STATUS_ARCH_MISMATCH",
        "RuntimeError: cuDNN error: CUDNN_STATUS_NOT_SUPPORTED_ARCH_MISMATCH",
        "RuntimeError: nvrtc: error: invalid value for --gpu-architecture (-arch)",
    ),
    TROUBLE: (
        "RuntimeError: CUDA driver initialization failed, you might not have a CUDA gpu.",
        "RuntimeError: CUDA unknown error - this may be due to an incorrectly set up environment, e.g. changing env "
        "variable CUDA_VISIBLE_DEVICES after program start. Setting the available devices to be zero.",
        f"{_COUNT}803: system has unsupported display driver / cuda driver combination",
        f"{_COUNT}999: unknown error",
        "pynvml.NVMLError_LibRmVersionMismatch: RM has detected an NVML/RM version mismatch.",
        "Failed to initialize NVML: Driver/library version mismatch",
    ),
    COMPAT: (f"{_COUNT}804: forward compatibility was attempted on non supported HW",),
    FABRIC: (f"{_COUNT}802: system not yet initialized",),
    MPS: (f"{_COUNT}805: MPS client failed to connect to the MPS control daemon or the MPS server",),
    LICENCE: (
        f"RuntimeError: CUDA error: CUBLAS_STATUS_LICENSE_ERROR {_GEMM}",
        "RuntimeError: cuFFT error: CUFFT_LICENSE_ERROR",
        "RuntimeError: cuDNN error: CUDNN_STATUS_LICENSE_ERROR",
    ),
    REFUSED: ("RuntimeError: CUDA driver error: operation not supported",),
    UNANSWERED: (
        "pynvml.NVMLError_NotSupported: Not Supported",
        "pynvml.NVMLError_DriverNotLoaded: Driver Not Loaded",
        "pynvml.NVMLError_LibraryNotFound: NVML Shared Library Not Found",
        "pynvml.NVMLError_FunctionNotFound: Function Not Found",
        "pynvml.NVMLError_NoPermission: Insufficient Permissions",
        "pynvml.NVMLError_NotFound: Not Found",
        "pynvml.NVMLError_GpuNotFound: NVML Error with code 28",
        "pynvml.NVMLError_CorruptedInforom: Corrupted infoROM",
        "pynvml.NVMLError_InsufficientPower: Insufficient External Power",
    ),
    MIXED: (
        "RuntimeError: cuDNN error: CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH",
        "RuntimeError: cuDNN error: CUDNN_STATUS_SUBLIBRARY_LOADING_FAILED",
        "RuntimeError: cuDNN error: CUDNN_STATUS_NOT_SUPPORTED_INCOMPATIBLE_CUDART",
        "RuntimeError: cuFFT error: CUFFT_MISSING_DEPENDENCY",
        "RuntimeError: cuFFT error: CUFFT_NVJITLINK_FAILURE",
    ),
    VERSIONS: (
        "OSError: libcublas.so.13: cannot open shared object file: No such file or directory",
        "ImportError: /v/torch/lib/libtorch_cuda.so: undefined symbol: ncclCommWindowRegister",
    ),
    NOT_INSTALLED: (
        "torch._inductor.exc.InductorError: RuntimeError: Cannot find a working triton installation.",
        "ModuleNotFoundError: No module named 'pynvml'",
    ),
    FORKED: (
        "RuntimeError: Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you must use "
        "the 'spawn' start method",
    ),
    MISTAKE: (
        f"RuntimeError: CUDA error: CUBLAS_STATUS_INVALID_VALUE {_GEMM}",
        f"RuntimeError: CUDA error: CUBLAS_STATUS_NOT_SUPPORTED {_GEMM}",
        f"RuntimeError: cusolver error: CUSOLVER_STATUS_INVALID_VALUE, {_SVD}. {_LINALG}",
        "RuntimeError: cuFFT error: CUFFT_INVALID_SIZE",
        "RuntimeError: cuDNN error: CUDNN_STATUS_BAD_PARAM",
        "RuntimeError: cuDNN error: CUDNN_STATUS_NOT_SUPPORTED",
    ),
    NOT_FINITE: (
        "torch._C._LinAlgError: linalg.svd: The algorithm failed to converge because the input matrix contained "
        "non-finite values.",
        "RuntimeError: probability tensor contains either `inf`, `nan` or element < 0",
    ),
    # The same words elsewhere say nothing of a batch.
    UNKNOWN: ("RuntimeError: The expanded size of the tensor (12) must match the existing size (40)",),
}
"""Of torch, of CUDA's libraries and of NVML, as torch and pynvml raise them."""


def texts() -> Iterator[tuple[str, Answer]]:
    """Each text as a sorter's traceback ends with it, and the right answer."""
    for answer, numbered in RUNTIME.items():
        for number, words in numbered.items():
            yield (
                f"torch.AcceleratorError: CUDA error: {words}\n"
                f"Search for `cudaError{number}' in https://docs.nvidia.com/cuda/cuda-runtime-api/ for more "
                "information.\nCUDA kernel errors might be asynchronously reported at some other API call, so the "
                "stacktrace below might be incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1\n",
                answer,
            )
    for answer, written in LIBRARIES.items():
        for text in written:
            yield text, answer


TRACEBACK = (
    "Traceback (most recent call last):\n"
    '  File "/env/spikeinterface/sorters/external/kilosort4.py", line 445, in _run_from_folder\n'
    '  File "/env/kilosort/template_matching.py", line 70, in extract\n'
)


def classified(text: str) -> SortAssetsError:
    """What a text becomes that ends a sort with Kilosort4 on a GPU, while it computes."""
    return classify(Evidence(TRACEBACK + text, device="cuda"), sorter="kilosort4", rules=FAILURE_RULES)


def retried(failure: SortAssetsError) -> bool:
    """Whether the first failure of a run is tried again."""
    return decide_retry(failure, [], ExecutionConfig(), reduced=isinstance(failure, OutOfMemoryError)).retry


def main() -> None:
    """Print the table."""
    print("| text | class | tried again | remedy |\n|---|---|---|---|")
    count = wrong = 0
    for text, answer in texts():
        failure = classified(text)
        got = type(failure), retried(failure), answer.remedy in failure.remedy
        count, wrong = count + 1, wrong + (got != (answer.kind, answer.retry, True))
        first = (text if text.startswith("in ") else text.splitlines()[0]).replace("\n", " ")
        said = first.removeprefix("torch.AcceleratorError: ")
        print(f"| {said[:90]} | {got[0].__name__} | {'yes' if got[1] else 'no'} | {failure.remedy[:70]} |")
    print(f"\n{count} texts, {wrong} answered wrongly.")


if __name__ == "__main__":
    main()
