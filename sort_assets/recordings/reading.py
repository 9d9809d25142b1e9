"""Recordings that disappear while they are read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sort_assets.errors import MissingRecordingError


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say of a recording that is gone that it is gone, whatever its reader says.

    Parameters
    ----------
    path : Path
        The recording's file or folder.

    Raises
    ------
    MissingRecordingError
        When something fails in the block, and the recording is no longer there.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, MissingRecordingError) or path.exists():
            raise
        raise MissingRecordingError(
            f"'{path}' was removed or renamed while it was read, or its disk or share is no longer mounted.",
            remedy="Put it back or mount the disk or share, then sort it again.",
        ) from error
