"""Functions of Kilosort that do their work in another way while we sort: exchanged here, and nowhere else.

Kilosort has no parameter for what they do. Each `Replacement` says of which function it was written; a function that is
another one in the installed version is left alone, with a warning in the sorter's log: what was right for 4.1.7 may be
wrong there.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

KILOSORT_VERSION = "4.1.7"
"""The version that the replacements were written and measured with."""

Function = Callable[..., Any]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Replacement:
    """What stands in for a function of Kilosort.

    Attributes
    ----------
    module, name : str
        The function's.
    parameters : tuple of str
        Its parameters, in order.
    make : callable
        Given the function, returns what stands in for it.
    source_sha256 : str or None
        The first 16 digits of the digest of its source; None where the replacement calls it, and only its parameters
        and what it returns matter.
    """

    module: str
    name: str
    parameters: tuple[str, ...]
    make: Callable[[Function], Function]
    source_sha256: str | None = None

    def fits(self, function: Function | None) -> bool:
        """Whether a function is the one that the replacement was written for."""
        if function is None or tuple(inspect.signature(function).parameters) != self.parameters:
            return False
        return self.source_sha256 is None or source_digest(function) == self.source_sha256


def source_digest(function: Function) -> str | None:
    """The first 16 hexadecimal digits of the SHA-256 of a function's source; None where its source can't be read."""
    try:
        return hashlib.sha256(inspect.getsource(function).encode()).hexdigest()[:16]
    except OSError:
        return None


@contextmanager
def replaced(*replacements: Replacement, otherwise: str) -> Iterator[bool]:
    """Exchange functions of Kilosort for as long as this lasts: all of them, or none.

    Parameters
    ----------
    *replacements : Replacement
    otherwise : str
        What a sort without them is like, as a sentence for the sorter's log.

    Yields
    ------
    bool
        Whether they are exchanged.
    """
    modules = [importlib.import_module(one.module) for one in replacements]
    originals = [getattr(module, one.name, None) for module, one in zip(modules, replacements, strict=True)]
    unlike = [one.name for one, function in zip(replacements, originals, strict=True) if not one.fits(function)]
    if unlike:
        installed = version("kilosort")
        _log.warning("Kilosort %s differs from %s in %s: %s", installed, KILOSORT_VERSION, ", ".join(unlike), otherwise)
        yield False
        return
    with ExitStack() as restored:
        for module, one, function in zip(modules, replacements, originals, strict=True):
            assert function is not None
            restored.callback(setattr, module, one.name, function)
            setattr(module, one.name, one.make(function))
        yield True
