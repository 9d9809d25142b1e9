"""Every failure that sort_assets classifies, in one hierarchy.

A class says what kind of thing went wrong; its message says what happened and where; its remedy says what a
person can do about it. The classes also derive from the matching built-in exception, so that plain Python code
can catch them without knowing this module.
"""


class SortAssetsError(Exception):
    """Base of all classified failures.

    Parameters
    ----------
    message : str
        What happened, and to which file, field or recording.
    remedy : str
        What to do about it, as an instruction.
    """

    def __init__(self, message: str, *, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} Remedy: {self.remedy}"


class ConfigError(SortAssetsError, ValueError):
    """A configuration value, field or preset that can't be used."""


class InstanceError(SortAssetsError, RuntimeError):
    """The Dagster instance can't hold the results safely (temporary, or not set up)."""


class RecordingError(SortAssetsError):
    """The recording itself is the problem; trying again does not help."""


class RecordingKeyError(RecordingError, ValueError):
    """A recording key, or a path that can't become one."""


class OutsideRecordingsRootError(RecordingKeyError, PermissionError):
    """A key, path or symbolic link leads outside the recordings root."""


class MissingRecordingError(RecordingError, FileNotFoundError):
    """The recording's file or folder is not there."""


class UnknownFormatError(RecordingError, ValueError):
    """No known format recognises the file or folder."""


class UnreadableRecordingError(RecordingError, OSError):
    """The file has the right format but can't be read: truncated, empty, damaged, or a plugin is missing."""


class StreamError(RecordingError, LookupError):
    """The named stream does not exist, or none was named where there are several."""


class MissingProbeError(RecordingError, ValueError):
    """The recording has no channel locations, and the sorter needs them."""


class BadChannelsError(RecordingError, ValueError):
    """Channels named as bad do not exist, or no good channel is left."""


class IncompatibleFilesError(RecordingError, ValueError):
    """Files that should be concatenated differ in channels, rate, gain or format."""


class SorterEnvironmentError(SortAssetsError, RuntimeError):
    """A package, plugin or driver that a sorter needs is missing or has the wrong version."""


class UnknownSorterError(SorterEnvironmentError, LookupError):
    """No backend is registered under the name."""


class SorterNotInstalledError(SorterEnvironmentError, ImportError):
    """The backend exists, but the sorter's own packages are not installed."""


class SorterFailedError(SortAssetsError, RuntimeError):
    """The sorter stopped with an error of its own.

    Parameters
    ----------
    message, remedy : str
        As in `SortAssetsError`.
    log_excerpt : str
        The last lines of what the sorter wrote.
    """

    def __init__(self, message: str, *, remedy: str, log_excerpt: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.log_excerpt = log_excerpt


class StoreError(SortAssetsError, RuntimeError):
    """The store can't do what was asked."""


class MissingArtefactError(StoreError, FileNotFoundError):
    """An artefact, or the version of it that was named, is not in the store."""


class DamagedArtefactError(StoreError, ValueError):
    """A published artefact does not match its manifest, or holds what we refuse to load."""
