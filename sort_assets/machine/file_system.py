"""On what kind of file system a folder lies: a disk of this machine, or one that other machines share."""

import os
import re
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
_OCTAL = re.compile(r"\\([0-7]{3})")
_LOCAL = (
    *(
        "apfs",
        "bcachefs",
        "btrfs",
        "exfat",
        "ext2",
        "ext3",
        "ext4",
        "f2fs",
        "hfsplus",
        "jfs",
        "nilfs2",
        "ntfs",
        "ntfs3",
    ),
    *("overlay", "ramfs", "reiserfs", "rootfs", "tmpfs", "ufs", "vfat", "xfs", "zfs"),
)


def file_system_type(folder: Path) -> str | None:
    """The type of the file system in which a folder lies, as the kernel names it; None where it does not say.

    The folder need not exist yet.
    """
    try:
        # Names of folders are bytes, in whatever encoding.
        lines = os.fsdecode(_MOUNTS.read_bytes()).strip("\n").split("\n")
    except OSError:
        return None
    place = folder.resolve()
    deepest, found = -1, None
    for line in lines:
        # "36 35 98:0 /root /mount/point rw - ext4 /dev/sda1 rw"; of two mounts in one place the later covers the other
        # (proc(5)), and a space in a name is written \040.
        mount, _, kind = line.partition(" - ")
        point = Path(_OCTAL.sub(lambda octal: chr(int(octal[1], 8)), mount.split(" ")[4]))
        if place.is_relative_to(point) and len(point.parts) >= deepest:
            deepest, found = len(point.parts), kind.split()[0]
    return found


def is_local(folder: Path) -> bool:
    """Whether a folder lies on a disk of this machine alone, so that its kernel knows of every lock there.

    What is not known to be local counts as shared. A system that does not tell (macOS) is taken for a single
    workstation.
    """
    kind = file_system_type(folder)
    return kind is None or kind in _LOCAL
