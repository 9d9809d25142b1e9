"""Which host a process runs on: names of hosts are shown to people, but two hosts may have the same one.

A host is told from others by its machine id, by the addresses of its network cards (a cloned virtual machine has the
machine id of the first, but may not have its addresses in the same network), and by the id that the kernel draws anew
at each boot, which all containers of a machine share.
"""

import os
import socket
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sort_assets.machine.pid_namespace import HOST_PIDS

_MACHINE_ID = Path("/etc/machine-id")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PID_NAMESPACE = Path("/proc/self/ns/pid")
_NETWORK_CARDS = Path("/sys/class/net")
_ENDED = ("Z", "X")


class HostIdentity(BaseModel):
    """A host, since one of its boots, as a process of one of its containers sees it.

    What a system does not tell is empty: a container has no network cards of its own, and often no machine id.

    Attributes
    ----------
    name : str
        Shown to people.
    machine_id : str
        Stays for the life of an installation; clones have the same one.
    network_cards : str
        The addresses of the cards in the machine, without those that are plugged in from outside.
    boot_id : str
        Since when the kernel runs.
    pid_namespace : str
        Processes of the same namespace, of the same kernel, see each other.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    machine_id: str = ""
    network_cards: str = ""
    boot_id: str = ""
    pid_namespace: str = ""

    @classmethod
    def here(cls) -> "HostIdentity":
        """Of this process."""
        return cls(
            name=socket.gethostname(),
            machine_id=_text(_MACHINE_ID),
            network_cards=_network_cards(),
            boot_id=_text(_BOOT_ID),
            pid_namespace=_link(_PID_NAMESPACE),
        )

    def has_kernel_of(self, other: "HostIdentity") -> bool:
        """Whether both run under one kernel, perhaps in several containers: a lock of a local disk holds for both."""
        return bool(self.boot_id) and self.boot_id == other.boot_id

    def sees_processes_of(self, other: "HostIdentity") -> bool:
        """Whether a process number of `other` means the same process here."""
        return self.has_kernel_of(other) and self.pid_namespace == other.pid_namespace

    def was_rebooted_since(self, other: "HostIdentity") -> bool:
        """Whether this certainly is the machine of `other` after another boot, so that its processes are dead.

        Of containers that can't be known: images are copied to many machines, together with their machine id.
        """
        told = self.machine_id, self.network_cards, self.pid_namespace
        return (
            all((*told, self.boot_id, other.boot_id))
            and self.boot_id != other.boot_id
            and self.pid_namespace == HOST_PIDS
            and told == (other.machine_id, other.network_cards, other.pid_namespace)
        )

    def may_be(self, other: "HostIdentity") -> bool:
        """Whether nothing says that these are two machines: the same name and machine id, and no other network card."""
        cards = {self.network_cards, other.network_cards} - {""}
        return (self.name, self.machine_id) == (other.name, other.machine_id) and len(cards) <= 1


def process_start(pid: int) -> int | None:
    """When a process of this host began, in the kernel's clock ticks since its boot; None where there is no such one.

    One that has ended, and that its parent has not waited for yet, holds nothing any more, and counts as none.

    Together with the process number it names one process: numbers are used again.
    """
    try:
        # Behind the program's name, which may hold spaces and brackets: the state, and as the 20th the time (proc(5)).
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return None if fields[0] in _ENDED else int(fields[19])
    except (OSError, ValueError, IndexError):
        return None


def _network_cards() -> str:
    try:
        interfaces = sorted(_NETWORK_CARDS.iterdir())
    except OSError:
        return ""
    # Bridges and containers' ends of a pair have no device, and draw their addresses.
    cards = [path for path in interfaces if (path / "device").exists() and "/usb" not in os.path.realpath(path)]
    return " ".join(sorted(filter(None, (_text(card / "address") for card in cards))))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""
