"""Where the lock files of this machine's devices lie: the same folder for all of its users and instances."""

import os
from collections.abc import Iterator
from pathlib import Path

from sort_assets.checks.result import CheckResult, ok, warning
from sort_assets.config.settings import LEASES_VARIABLE, read_environment
from sort_assets.machine.pid_namespace import sees_host_pids

_LOCKS = Path("/run/lock")
_NAME = "sort_assets"
# Not the folder that TMPDIR names, which differs from user to user and from job to job.
_TEMPORARY = Path("/tmp/sort_assets-leases")
_MOUNTS = Path("/proc/self/mountinfo")
_MOUNTS_OF_ALL = Path("/proc/1/mountinfo")


def lease_folder() -> Path:
    """The folder of the lock files: what `SORT_ASSETS_LEASES` names, else `/run/lock/sort_assets`.

    Where not everybody may write to `/run/lock` (Fedora, RHEL, macOS), it is a folder in `/tmp`, unless somebody made
    the other one for everybody.
    """
    configured = read_environment().leases
    if configured is not None:
        return configured
    for everybodys, folder in ((_LOCKS / _NAME, _LOCKS / _NAME), (_LOCKS, _LOCKS / _NAME)):
        if _open_to_everybody(everybodys):
            return folder
    return _TEMPORARY


def inspect_lease_folder() -> list[CheckResult]:
    """Look whether all who sort on this machine see the same lock files."""
    folder = lease_folder()
    # Who names the folder has thought of it.
    reasons = [] if read_environment().leases else list(_why_private(folder))
    if not reasons:
        return [ok("leases", f"{folder}")]
    return [
        warning(
            "leases",
            f"sorts lock their device in '{folder}', {reason}: others may take the same GPU",
            f"Unless this job or container has a GPU for itself, set {LEASES_VARIABLE} to a folder that everybody who "
            "sorts on this machine sees and can write to; mount it into the container.",
        )
        for reason in reasons
    ]


def _why_private(folder: Path) -> Iterator[str]:
    if not sees_host_pids():
        yield "which only this container sees, unless it is mounted from outside"
    elif (source := _bind_source(folder)) is not None:
        yield f"which is a private folder ({source}), as Slurm jobs and services have"


def _bind_source(folder: Path) -> str | None:
    """The folder that is mounted, for this process alone, in the place of the one in which `folder` lies, or None."""
    mount = _mount_of(folder, _MOUNTS)
    if mount is None or mount == _mount_of(folder, _MOUNTS_OF_ALL):
        return None
    _, source, point = mount
    return source if source != "/" and point in ("/tmp", "/var/tmp", str(_LOCKS), str(folder)) else None


def _mount_of(folder: Path, mounts: Path) -> tuple[str, str, str] | None:
    """Device, folder of the device, and place of what is mounted there; None where that can't be read."""
    try:
        lines = mounts.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    # "36 35 98:0 /root/of/mount /mount/point rw …" (proc(5)); the last that covers the folder counts.
    covering = [(device, source, point) for _, _, device, source, point, *_ in map(str.split, reversed(lines))]
    return max((one for one in covering if folder.is_relative_to(one[2])), key=lambda one: len(one[2]), default=None)


def _open_to_everybody(folder: Path) -> bool:
    try:
        mode = folder.stat().st_mode
    except OSError:
        return False
    return bool(mode & 0o002) and os.access(folder, os.W_OK)
