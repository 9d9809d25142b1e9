"""What is installed and set up, and what is wrong with it."""

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from sort_assets.backends import registered_backends
from sort_assets.checks.result import CheckResult, failed, ok, warning
from sort_assets.config.rules import RULES_FILE
from sort_assets.config.settings import Roots
from sort_assets.errors import GpuDriverError, SortAssetsError, StoreError
from sort_assets.machine.cores import usable_cores
from sort_assets.machine.cuda_check import check_gpu
from sort_assets.machine.cuda_reasons import describe
from sort_assets.machine.gpus import Gpu, doubtful_order, has_nvidia_card, list_gpus, unused_gpu
from sort_assets.machine.versions import inspect_maxwell_plugin, inspect_versions
from sort_assets.platform.execution.gpu_choice import quarantine_notices
from sort_assets.platform.execution.home import dagster_home, open_instance
from sort_assets.platform.execution.instance import missing_settings
from sort_assets.platform.execution.lease_folder import inspect_lease_folder, lease_folder
from sort_assets.platform.pipeline.partitions import RECORDINGS_PARTITIONS
from sort_assets.platform.pipeline.recording_rules import RecordingRules
from sort_assets.platform.store.manifest import package_versions

_LITTLE_SPACE_BYTES = 50e9


def examine() -> list[CheckResult]:
    """Look at packages, sorters, GPUs, folders and the Dagster instance; nothing is changed."""
    return [*_packages(), *_sorters(), *_devices(), *_folders(), *_instance()]


def _packages() -> Iterator[CheckResult]:
    for package, version in package_versions().items():
        yield ok(package, version)
    yield from inspect_versions()
    yield from inspect_maxwell_plugin()


def _sorters() -> Iterator[CheckResult]:
    for name, entry in sorted(registered_backends().items()):
        missing = entry.missing_packages()
        if missing:
            detail = f"not installed: {', '.join(missing)} missing"
            yield warning(f"sorter {name}", detail, entry.install_hint)
        else:
            yield ok(f"sorter {name}", "installed")


def _devices() -> Iterator[CheckResult]:
    yield ok("cpu", f"{usable_cores()} cores usable")
    try:
        gpus = list_gpus()
        doubtful = doubtful_order()
    except SortAssetsError as error:
        yield failed("gpu", error)
        return
    if doubtful:
        yield warning(
            "gpu order",
            f"CUDA_VISIBLE_DEVICES is {doubtful}: sort_assets counts as nvidia-smi does, CUDA from its fastest card",
            "Set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name the cards by their UUIDs (nvidia-smi -L).",
        )
    if not gpus:
        yield _no_gpu()
        return
    with ThreadPoolExecutor() as pool:  # each starts a process that imports torch
        reasons = list(pool.map(_why_not, gpus))
    works = None in reasons
    for gpu, reason in zip(gpus, reasons, strict=True):
        if reason is None:
            yield _working_gpu(gpu)
        elif works:
            yield warning("gpu", f"{reason.message} Sorts take the others.", reason.remedy)
        else:
            yield failed("gpu", reason)
    for notice in quarantine_notices(lease_folder()):
        yield warning("gpu", notice.rstrip("."), "Look for 'Xid' in `dmesg`, and reboot.")
    yield from inspect_lease_folder()


def _why_not(gpu: Gpu) -> SortAssetsError | None:
    if gpu.trouble:
        return GpuDriverError(gpu.trouble, remedy=gpu.remedy)
    return check_gpu(gpu, anew=True)


def _working_gpu(gpu: Gpu) -> CheckResult:
    memory = f"{gpu.memory_bytes / 2**30:.0f} GiB" if gpu.memory_bytes else "memory not known"
    free = "" if gpu.free_bytes is None else f", {gpu.free_bytes / 2**30:.0f} GiB free"
    detail = f"{describe(gpu)}, {memory}{free}, {gpu.uuid}: torch computes on it"
    if gpu.persistence is False:
        return ok("gpu", f"{detail}; without persistence mode, after some seconds", "Run: sudo nvidia-smi -pm 1")
    return ok("gpu", detail)


def _no_gpu() -> CheckResult:
    on_cpu = "sorters run on the CPU, one at a time"
    if os.environ.get("CUDA_VISIBLE_DEVICES") is not None:
        return warning(
            "gpu", f"CUDA_VISIBLE_DEVICES leaves none: {on_cpu}", "Unset it, or name a card (nvidia-smi -L)."
        )
    if has_nvidia_card():
        return warning(
            "gpu",
            f"a card of NVIDIA is there, and its driver is not installed, or not seen in this container: {on_cpu}",
            "Install NVIDIA's driver; start a container with the right to the card.",
        )
    other = unused_gpu()
    if other is not None:
        return warning("gpu", f"none of NVIDIA found, and those of {other} are not used: {on_cpu}")
    return warning("gpu", f"none found: {on_cpu}")


def _folders() -> Iterator[CheckResult]:
    try:
        roots = Roots.from_environment()
    except SortAssetsError as error:
        yield failed("folders", error)
        return
    for name, folder in (("recordings", roots.recordings), ("store", roots.store)):
        if not folder.is_dir():
            yield warning(name, f"{folder} does not exist yet", "`sort-assets up` makes it.")
            continue
        free = shutil.disk_usage(folder).free
        detail = f"{folder}, {free / 1e9:.0f} GB free"
        if name == "store" and free < _LITTLE_SPACE_BYTES:
            yield warning(name, detail, "Free some space: every recording is written there once more.")
        elif not os.access(folder, os.R_OK if name == "recordings" else os.W_OK):
            what = "read" if name == "recordings" else "written to"
            remedy = f"Give the user that runs sort_assets the right to do so; if it is mounted, look how ({folder})."
            yield failed(name, StoreError(f"{folder} can't be {what}", remedy=remedy))
        else:
            yield ok(name, detail)
    yield from _rules(roots)


def _rules(roots: Roots) -> Iterator[CheckResult]:
    problem = RecordingRules(roots).problem
    if problem is not None:
        yield failed(RULES_FILE, problem)
    elif (roots.recordings / RULES_FILE).exists():
        yield ok(RULES_FILE, "valid")


def _instance() -> Iterator[CheckResult]:
    try:
        home = dagster_home()
        with open_instance() as instance:
            number = len(instance.get_dynamic_partitions(RECORDINGS_PARTITIONS))
            lacking = missing_settings(instance)
    except SortAssetsError as error:
        yield failed("instance", error)
        return
    yield ok("instance", f"{home}, {number} recordings registered")
    for lack in lacking:
        yield warning("instance", lack, "Use sort_assets' dagster.yaml.")
