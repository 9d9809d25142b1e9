"""Rules for failures that any sorter can have: of packages, memory and disk, and the recording's file.

Those of GPUs and their driver stand in `gpu_failures`.
"""

from __future__ import annotations

import re

from sort_assets import errors
from sort_assets.backends.failure_rules import Evidence, FailureRule, diagnostics, failure_rule
from sort_assets.backends.gpu_failures import GPU_FAILURES, asked
from sort_assets.errors import (
    ConfigError,
    DeviceOutOfMemoryError,
    HostOutOfMemoryError,
    IncompatibleVersionsError,
    MissingPluginError,
    MissingProbeError,
    NonFiniteSamplesError,
    ProbeGeometryError,
    SortAssetsError,
    SorterCrashedError,
    SorterEnvironmentError,
    SorterNotInstalledError,
    UnreadableRecordingError,
)

CPU_ALLOCATOR = (
    r"DefaultCPUAllocator: (?:can't allocate memory|not enough memory): you tried to allocate "
    r"(?P<bytes_asked>\d+ bytes)"
)
"""Pattern of torch's message when memory is exhausted in a computation on the CPU."""
CPU_ALLOCATOR_EXAMPLE = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 2147483648 bytes"

_PATH = r"(?:: '(?P<path>[^'\n]+)')?"
_ASK_FOR_LESS = (
    "Run with fewer workers (execution.n_jobs) or smaller chunks (execution.chunk_duration_s), sort a shorter part "
    "(recording.first_minutes), or give the sort more memory."
)
_MATCHING_VERSIONS = "Install compatible versions: pip install --upgrade with the package that is named."


def _crashed_worker(_: re.Match[str], evidence: Evidence) -> SortAssetsError:
    if evidence.oom_kills > 0:
        return HostOutOfMemoryError(
            "The kernel killed one of the sorter's workers because memory was used up.",
            remedy=_ASK_FOR_LESS,
            oom_kills=evidence.oom_kills,
        )
    return SorterCrashedError(
        "One of the sorter's workers ended without an error message.",
        remedy="Run again; if it happens again, run with execution.n_jobs 1 to see the error.",
    )


def _cpu_allocator(match: re.Match[str], _: Evidence) -> SortAssetsError:
    return DeviceOutOfMemoryError(
        f"The sorter ran out of memory in a computation of torch on the CPU{asked(match)}.",
        remedy=_ASK_FOR_LESS,
        **diagnostics(match),
    )


def _refusal(pattern: str, known: errors.OsFailure) -> FailureRule:
    return failure_rule(pattern, known.kind, known.happened, known.remedy)


_ENVIRONMENT = (
    failure_rule(
        r"The sorter (?P<sorter>\S+) is not installed",
        SorterNotInstalledError,
        "The sorter '{sorter}' is not installed.",
        "Install it; `sort-assets doctor` says how.",
    ),
    failure_rule(
        r"(?:ModuleNotFoundError|ImportError): No module named '(?P<package>[\w.]+)'",
        SorterNotInstalledError,
        "The sorter needs the package '{package}', which is not installed.",
        "Install the package into the environment in which sort-assets runs.",
    ),
    failure_rule(
        r"(?P<reason>Kilosort versions? [^\n]*not (?:compatible|supported)[^\n]*"
        r"|SpikeInterface only supports kilosort versions [^\n]*"
        r"|A module that was compiled using NumPy 1[^\n]*"
        r"|numpy\.dtype size changed[^\n]*"
        r"|Numba needs NumPy [^\n]*"
        r"|module 'numpy' has no attribute [^\n]*|`np\.\w+` was removed in [^\n]*"
        r"|cannot import name [^\n]*"
        r"|(?m:^)[^\n]*(?:undefined symbol: |version `\w+_[\d.]+' not found"
        r"|\.so[\d.]*: cannot open shared object file(?:: No such file|(?!:)))"
        r"[^\n]*)",
        IncompatibleVersionsError,
        "Packages are installed in versions that do not work together: {reason}",
        _MATCHING_VERSIONS,
    ),
    failure_rule(
        r"The MaxWell file compression requires a custom plugin"
        r"|(?i:can't (?:synchronously )?read data \(can't open directory)"
        r"|(?i:can't open directory(?: or file)?\b[^\n]*plugin)"
        r"|(?i:required filter '?[^'\n]*'? is not registered)",
        MissingPluginError,
        "The recording is compressed by an HDF5 filter whose plugin is not installed.",
        "For Maxwell files download libcompression.so from MaxWell Biosystems and set HDF5_PLUGIN_PATH to its folder; "
        "for other filters: pip install hdf5plugin.",
    ),
    failure_rule(
        r"urllib\.error\.(?:URLError|HTTPError): (?P<reason>[^\n]*)",
        SorterEnvironmentError,
        "The sorter wanted to download something and could not: {reason}",
        "Run it once where there is a network, or copy the file from a machine that has it; for Kilosort4 that is "
        "~/.kilosort/wTEMP.npz.",
    ),
)

_RESOURCES = (
    FailureRule(re.compile(CPU_ALLOCATOR), _cpu_allocator, example=CPU_ALLOCATOR_EXAMPLE),
    failure_rule(
        r"Unable to allocate (?P<bytes_asked>[\d.]+ \w+) for an array with shape \((?P<shape>[\d, ]*)\)",
        HostOutOfMemoryError,
        "The sorter ran out of the machine's memory: {bytes_asked} for an array of shape ({shape}) were asked for.",
        _ASK_FOR_LESS,
    ),
    failure_rule(
        r"(?m)^[ \t]*(?:numpy\.\S*)?_?(?:Array)?MemoryError\b(?!: Unable to allocate)|std::bad_alloc"
        r"|(?<!Error code 12 \()Cannot allocate memory|OpenBLAS error: Memory allocation still failed"
        r"|can't start new thread|unable to allocate necessary resources for OMP thread",
        HostOutOfMemoryError,
        "The sorter ran out of the machine's memory.",
        _ASK_FOR_LESS,
    ),
    _refusal(
        r"(?:No space left on device|Disk quota exceeded)(?:: '(?P<path>[^'\n]+)')?"
        r"|database or disk is full|\b\d+ requested and \d+ written",
        errors.DISK_FULL,
    ),
    _refusal(rf"Read-only file system{_PATH}", errors.READ_ONLY),
    # Programs also report folders that they can do without: only what was raised counts.
    _refusal(
        rf"PermissionError: \[Errno \d+\] (?:Permission denied|Operation not permitted){_PATH}"
        r"|nable to (?:synchronously )?(?:open|create) file [^\n]*error message = 'Permission denied'",
        errors.NOT_ALLOWED,
    ),
    _refusal(rf"Too many open files{_PATH}", errors.TOO_MANY_OPEN),
    _refusal(rf"(?:Input/output error|Remote I/O error){_PATH}", errors.BROKEN_DEVICE),
    _refusal(rf"Stale (?:NFS )?file handle{_PATH}", errors.STALE_SHARE),
    _refusal(
        r"unable to lock file|No locks available|Unable to synchronously open file(?! \()",
        errors.NO_LOCK,
    ),
    FailureRule(
        re.compile(r"BrokenProcessPool|TerminatedWorkerError|process pool (?:was )?terminated abruptly"),
        _crashed_worker,
        example="BrokenProcessPool",
    ),
)

_RECORDING = (
    failure_rule(
        r"Channel locations are required for this spike sorter",
        MissingProbeError,
        "The recording says nothing about where its channels are, and the sorter needs that.",
        "Set recording.probe_file to a probeinterface JSON file with the electrodes' positions, store them in the "
        "recording's file, or choose a sorter that needs none.",
    ),
    failure_rule(
        r"Channel locations are not unique",
        ProbeGeometryError,
        "Several channels are at the same place.",
        "Set recording.split_by to the property that tells the tetrodes or shanks apart, such as 'group'.",
    ),
    failure_rule(
        r"3D 'location' are not supported",
        ProbeGeometryError,
        "The channels' locations have three coordinates, and the sorter takes two.",
        "Set recording.probe_file to a probeinterface JSON file with positions in the plane of the probe "
        "(Probe.to_2d).",
    ),
    failure_rule(
        r"[Uu]nable to (?:synchronously )?open file \(file signature not found",
        UnreadableRecordingError,
        "A file that should be HDF5 is none, or its beginning is damaged.",
        "If it is the recording, compare it with the original: where they differ, copy it again; where they do not, it "
        "was damaged when it was made, or has the wrong name.",
    ),
    failure_rule(
        r"Bytes in binary file did not divide evenly|mmap length is greater than file size|truncated file: eof",
        UnreadableRecordingError,
        "The recording's file is shorter than its description says: it was cut off, or its number of channels is "
        "wrong.",
        "Materialize binary_dat again. If it fails again, check channels and dtype of recording.binary where they are "
        "set, and compare the raw recording's size with the original's: only where they differ does a copy help.",
    ),
    failure_rule(
        r"Input X contains (?:NaN|infinity)|array must not contain infs or NaNs|matrix contained non-finite values"
        r"|LinAlgError: (?:SVD|Eigenvalues) did not converge",
        NonFiniteSamplesError,
        "The recording holds samples that are not numbers (NaN or infinite), or far out of scale.",
        "Find out which part or channel is broken and leave it out (recording.start_s, recording.end_s, "
        "recording.bad_channel_ids), or export the recording as int16.",
    ),
    failure_rule(
        r"Invalid parameters: \[(?P<parameters>[^\]]*)\]",
        ConfigError,
        "sorter.params has parameters that the sorter does not know: {parameters}.",
        "Correct their names in sorter.params.",
    ),
)

COMMON_FAILURES: tuple[FailureRule, ...] = (*_ENVIRONMENT, *_RESOURCES, *GPU_FAILURES, *_RECORDING)
"""The rules for all sorters; `failure_classification.classify` tries them after the sorter's own."""
