"""Who holds a GPU's memory, as torch says it when an allocation fails."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from sort_assets.backends.failure_rules import num_bytes
from sort_assets.machine.gpu_share import CONTEXT_BYTES

_SIZE = r"[\d.]+ [KMGT]?i?B|\d+ bytes"
_CAPACITY = re.compile(rf"has a total capaci?ty of (?P<total>{_SIZE}) of which (?P<free>{_SIZE}) is free")
_ASKED = re.compile(rf"(?:Tried to allocate|Requested size:) (?P<size>{_SIZE})")
_OWN = re.compile(rf"this process has (?P<size>{_SIZE}) memory in use")
_OTHER = re.compile(rf"\bProcess (?P<pid>\d+) has (?P<size>{_SIZE}) memory in use")
_TORCH = re.compile(
    rf"Of the allocated memory (?P<allocated>{_SIZE}) is allocated by PyTorch"
    rf"[^\n]{{0,200}}? and (?P<reserved>{_SIZE}) is reserved by PyTorch but unallocated"
)
_LARGE_SHARE = 0.1
"""Of a card's memory: what desktops and idle programs hold is less."""


@dataclass(frozen=True)
class GpuMemoryReport:
    """The memory of a GPU when an allocation failed; in bytes.

    Attributes
    ----------
    total, free : int
        Of the card.
    asked : int
        What was to be allocated; 0 where torch does not say.
    others : int
        What other programs hold.
    holders : dict of int to int
        By pid, what each of them holds; empty where torch could not tell who is who, as in a container.
    """

    total: int
    free: int
    asked: int
    others: int
    holders: dict[int, int] = field(default_factory=dict)

    @property
    def fits_without_others(self) -> bool:
        """Whether the allocation would have worked without the other programs, who hold a good part of the card."""
        return self.others >= _LARGE_SHARE * self.total and self.free + self.others >= self.asked

    @property
    def sentence(self) -> str:
        """Who holds what; empty where nobody else holds anything."""
        if not self.others:
            return ""
        pids = ", ".join(map(str, self.holders))
        who = (
            (f"process {pids}" if len(self.holders) == 1 else f"processes {pids}") if pids else "not of this container"
        )
        return f" Other programs ({who}) hold {self.others / 1024**3:.1f} of the card's {self.total / 1024**3:.1f} GiB."


def read_memory_report(text: str) -> GpuMemoryReport | None:
    """What torch's out-of-memory error says of the card; None where it says nothing (torch 2.1 to 2.13).

    Parameters
    ----------
    text : str
        The error's text, or a traceback that ends with it.
    """
    capacity = _CAPACITY.search(text)
    if capacity is None:
        return None
    total, free = num_bytes(capacity["total"]), num_bytes(capacity["free"])
    asked, own, torch = _ASKED.search(text), _OWN.search(text), _TORCH.search(text)
    # A container has pids of its own, so that NVML's name strangers there, and this process among them.
    holders = {int(one["pid"]): num_bytes(one["size"]) for one in _OTHER.finditer(text)} if own else {}
    if own is not None:
        others = sum(holders.values())
    elif torch is not None:
        ours = num_bytes(torch["allocated"]) + num_bytes(torch["reserved"]) + CONTEXT_BYTES
        others = max(0, total - free - ours)
    else:
        others = 0
    return GpuMemoryReport(total, free, num_bytes(asked["size"]) if asked else 0, others, holders)
