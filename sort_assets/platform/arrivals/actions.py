"""The actions of a plan: what a scan is to do about one path below the recordings root.

`plan` makes them, `apply` carries them out, and `sort-assets scan --dry-run` prints them. Their `entry` is the
catalogue entry as it will be when the action has been carried out, as far as that can be known before.
"""

from dataclasses import dataclass
from pathlib import Path

from sort_assets.config.rules import RecordingSettings
from sort_assets.errors import SortAssetsError
from sort_assets.platform.arrivals.candidates import Candidate, Position
from sort_assets.platform.arrivals.catalog_entry import CatalogEntry
from sort_assets.platform.arrivals.observations import ObservedStream
from sort_assets.recordings.headers import RecordingHeader


@dataclass(frozen=True)
class Keep:
    """Do nothing: the catalogue is up to date.

    Attributes
    ----------
    entry : CatalogEntry
        What it is; with `missing_since`, it was missing before and still is.
    sidecar : Path or None
        The sidecar that applies to it.
    """

    entry: CatalogEntry
    sidecar: Path | None = None


@dataclass(frozen=True)
class Update:
    """Only remember what was seen: it is what it was before."""

    entry: CatalogEntry


@dataclass(frozen=True)
class Ignore:
    """Remember that a rule or sidecar ignores it.

    Attributes
    ----------
    by : str or None
        The rule or sidecar that says so.
    """

    entry: CatalogEntry
    by: str | None


@dataclass(frozen=True)
class IgnoreFolder:
    """Do nothing: a rule or sidecar ignores a folder and everything in it."""

    path: str
    sidecar: Path | None


@dataclass(frozen=True)
class Wait:
    """Wait until it is complete.

    Attributes
    ----------
    complete_at : float or None
        When it is complete if nothing changes until then, in seconds since 1970; None when it waits for something else
        than quiet.
    why : str
        What else it waits for, as a sentence.
    """

    entry: CatalogEntry
    candidate: Candidate
    settings: RecordingSettings
    complete_at: float | None = None
    why: str = ""


@dataclass(frozen=True)
class Read:
    """Read its header: it is complete, and new or different. `plan_registration` makes the next action of it."""

    entry: CatalogEntry
    candidate: Candidate
    settings: RecordingSettings


@dataclass(frozen=True)
class Register:
    """Make a partition of each of its streams, and report what was observed.

    Attributes
    ----------
    streams : tuple of ObservedStream
        The streams that nobody has forgotten.
    """

    entry: CatalogEntry
    settings: RecordingSettings
    header: RecordingHeader
    streams: tuple[ObservedStream, ...]


@dataclass(frozen=True)
class Refuse:
    """Remember a problem, and warn of it once.

    Attributes
    ----------
    was_read : bool
        Whether its content is the problem, so that reading it again does not help unless it changes.
    """

    entry: CatalogEntry
    problem: SortAssetsError
    was_read: bool = False


@dataclass(frozen=True)
class MarkForeign:
    """Remember that it is named like a recording and is none.

    Attributes
    ----------
    why : str
        A sentence; empty where there is nothing to add.
    """

    entry: CatalogEntry
    why: str = ""


@dataclass(frozen=True)
class Reappear:
    """Say that it was missing and is there again; another action says what is to be done with it."""

    path: str


@dataclass(frozen=True)
class MarkMissing:
    """Remember, report and warn that a registered recording is no longer there."""

    entry: CatalogEntry


@dataclass(frozen=True)
class Exclude:
    """Remember that the walk no longer finds a registered recording that is still there, since a rule excludes it."""

    entry: CatalogEntry


@dataclass(frozen=True)
class Drop:
    """Remove from the catalogue what was never registered and is no longer found."""

    path: str


@dataclass(frozen=True)
class EndWalk:
    """Remember where the next walk continues.

    Attributes
    ----------
    stopped_at : tuple of str or None
        Where time ran out; None at the end of the folder.
    """

    stopped_at: Position | None


ReadResult = Register | Refuse | MarkForeign | Wait
"""What can follow from reading a header."""

Action = (
    Keep
    | Update
    | Ignore
    | IgnoreFolder
    | Wait
    | Read
    | Register
    | Refuse
    | MarkForeign
    | Reappear
    | MarkMissing
    | Exclude
    | Drop
    | EndWalk
)
