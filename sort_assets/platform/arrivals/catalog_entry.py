"""What the recording catalogue has of one file or folder, and of one partition."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sort_assets.errors import SortAssetsError


class State(StrEnum):
    """What a file or folder that may be a recording is at present."""

    WAITING = "waiting"
    """Not complete yet, as far as can be told."""
    REGISTERED = "registered"
    """A partition for each of its streams."""
    PROBLEM = "problem"
    """It can't be registered; `CatalogEntry.problem` says why."""
    FOREIGN = "foreign"
    """Named like a recording, but none."""
    IGNORED = "ignored"
    """Ignored by a rule or sidecar."""
    FORGOTTEN = "forgotten"
    """Removed by a person, with `sort-assets forget`."""


@dataclass(frozen=True)
class CatalogEntry:
    """What the catalogue has of one file or folder.

    Attributes
    ----------
    path : str
        Relative to the recordings root.
    state : State
    stamp : str
        Sizes and times of its files when it was last seen.
    since : float
        When this stamp was first seen, in seconds since 1970.
    read_stamp : str or None
        The stamp at which its content was last read, with or without success.
    checked_at : float
        When it was last read or refused, in seconds since 1970.
    settings : str
        Identifies the rules file and sidecar that its settings come from, and the settings.
    fingerprint : str or None
        Of its content, when it was last read.
    problem : SortAssetsError or None
        Why it can't be registered, or what has been wrong with it since it was.
    changed_at : float or None
        When its content was last found to differ from before, in seconds since 1970.
    missing_since : float or None
        Since when it is no longer there, in seconds since 1970.
    stream_problems : Mapping[str, SortAssetsError]
        By name, what is wrong with some of its streams, while others are registered.
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
    stream_problems: Mapping[str, SortAssetsError] = field(default_factory=dict)

    @property
    def problems(self) -> tuple[SortAssetsError, ...]:
        """What is wrong with it, or with some of its streams."""
        return (*([] if self.problem is None else [self.problem]), *self.stream_problems.values())

    def problem_of(self, stream: str | None) -> SortAssetsError | None:
        """What is wrong with one of its streams."""
        return self.problem or self.stream_problems.get(stream or "")


@dataclass(frozen=True)
class CatalogPartition:
    """What the catalogue has of one partition.

    Attributes
    ----------
    key : str
        The partition's key.
    path : str
        Its recording, relative to the recordings root.
    versions : Mapping[str, str]
        By asset, the data version that was last observed.
    run_key : str or None
        Dagster's run key of the run that it waits for, unique for ever; None when it waits for none.
    run_assets : tuple of str or None
        What that run is to materialize; None is everything.
    requested : int or None
        The tick that requested the run.
    forgotten : bool
        Whether a person forgot this stream of the recording, so that it is no longer a partition.
    clock : str or None
        What was wrong with the clock of the recording when it was last read.
    """

    key: str
    path: str
    versions: Mapping[str, str] = field(default_factory=dict)
    run_key: str | None = None
    run_assets: tuple[str, ...] | None = None
    requested: int | None = None
    forgotten: bool = False
    clock: str | None = None


@dataclass(frozen=True)
class Problem:
    """Why something can't be registered, or what has been wrong with it since it was, as plain text.

    Attributes
    ----------
    failure_class, message, remedy : str
        The classified error.
    """

    failure_class: str
    message: str
    remedy: str

    @classmethod
    def from_error(cls, error: SortAssetsError) -> "Problem":
        """Take class, message and remedy of an error."""
        return cls(type(error).__name__, error.message, error.remedy)
