"""Whether processes have the same numbers here as for the machine's drivers: in a container they do not."""

from pathlib import Path

HOST_PIDS = "pid:[4026531836]"
"""The initial pid namespace of every Linux kernel (PROC_PID_INIT_INO in include/linux/proc_ns.h)."""


def sees_host_pids() -> bool:
    """Whether this process lives in the machine's own pid namespace, and not in a container's."""
    try:
        return str(Path("/proc/self/ns/pid").readlink()) == HOST_PIDS
    except OSError:  # a system without namespaces
        return True
