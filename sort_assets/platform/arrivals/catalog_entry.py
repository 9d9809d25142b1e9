"""What is known of one recording on disk, and of one partition of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sort_assets.errors import SortAssetsError


class State(StrEnum):
    """What became of a file or folder that may be a recording."""

    WAITING = "waiting"
    """Not yet complete, as far as anybody can tell."""
    REGISTERED = "registered"
    """A partition for each of its streams."""
    PROBLEM = "problem"
    """It can't become one; `CatalogEntry.problem` says why."""
    FOREIGN = "foreign"
    """Named like a recording, and none."""
    IGNORED = "ignored"
    """A rule says so."""
    FORGOTTEN = "forgotten"
    """A person said so."""


@dataclass(frozen=True)
class CatalogEntry:
    """What is known of one file or folder.

    Attributes
    ----------
    path : str
        Relative to the recordings root.
    state : State
    stamp : str
        Size and times of its files when last seen.
    since : float
        When this stamp was first seen, in seconds since 1970.
    read_stamp : str or None
        The stamp at which its content was last read, whatever came of it.
    checked_at : float
        When that was.
    settings : str
        Which rules file and sidecar its settings were made from.
    fingerprint : str or None
        Of its content, when last read.
    problem : SortAssetsError or None
        Why it is no partition, or what is wrong with it since.
    changed_at, missing_since : float or None
        Since when it differs from what was registered first; since when it is gone.
    """

    path: str
    state: State
    stamp: str = ""
    since: float = 0.0
    read_stamp: str | None = None
    checked_at: float = 0.0
    settings: str = ""
    fingerprint: str | None = None
    problem: SortAssetsError | None = None
    changed_at: float | None = None
    missing_since: float | None = None


@dataclass(frozen=True)
class CatalogPartition:
    """What is known of one partition.

    Attributes
    ----------
    key : str
        The partition's key.
    path : str
        Its recording, relative to the recordings root.
    versions : Mapping[str, str]
        By asset, the data version that was last observed.
    run_key : str or None
        Names the run that is wanted for it, once for ever; None when none is.
    run_assets : tuple of str or None
        What that run is to materialize; None is everything.
    requested : int or None
        The look at the folder that asked for the run.
    forgotten : bool
        Whether a person forgot this stream of its recording, so that it is no partition any more.
    """

    key: str
    path: str
    versions: Mapping[str, str] = field(default_factory=dict)
    run_key: str | None = None
    run_assets: tuple[str, ...] | None = None
    requested: int | None = None
    forgotten: bool = False


@dataclass(frozen=True)
class Problem:
    """Why something is no partition, or what is wrong with it since.

    Attributes
    ----------
    failure_class, message, remedy : str
        The classified error.
    """

    failure_class: str
    message: str
    remedy: str
