"""Recording keys.

A recording key is the name under which a recording is a partition, a folder in the store, and a word people type.

A key is the path of a recording relative to the recordings root, plus the stream for files that hold several
independent ones. The mapping is reversible and needs no table:

========================  =======  ==========================================
in the path               in a key example
========================  =======  ==========================================
``/``                     ``~``    ``mouse1/day2.nwb`` -> ``mouse1~day2.nwb``
stream                    ``@``    ``plate.h5``, ``well003`` -> ``plate.h5@well003``
any other byte            ``=XX``  ``two words.nwb`` -> ``two=20words.nwb``
========================  =======  ==========================================

Letters, digits, ``.``, ``_`` and ``-`` stand for themselves, except a leading ``-`` (an option on the command line),
a leading ``.`` (a hidden folder) and the third of three dots (Dagster's sign for a range).
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sort_assets.errors import OutsideRecordingsRootError, RecordingKeyError

SEPARATOR = "~"
STREAM_MARK = "@"
MAX_KEY_LENGTH = 200
"""File systems take 255 bytes in a name; the rest is left for suffixes of staging folders and locks."""

_PLAIN = re.compile(rb"[A-Za-z0-9._-]")
_KEY = re.compile(r"[A-Za-z0-9._=~-]+(@[A-Za-z0-9._=~-]+)?")
_ESCAPED = re.compile(rb"=([0-9A-F]{2})")


@dataclass(frozen=True)
class RecordingKey:
    """A recording below the recordings root, and which of its streams.

    Parameters
    ----------
    path : str
        Relative to the recordings root, with ``/``.
    stream : str or None
        The stream, for a file with several sortable ones.

    Raises
    ------
    OutsideRecordingsRootError
        When the path is absolute or has a part ``..``.
    RecordingKeyError
        When the path is empty, not in its plain form, or too long to be a key.
    """

    path: str
    stream: str | None = None

    def __post_init__(self) -> None:
        pure = PurePosixPath(self.path)
        if pure.is_absolute() or ".." in pure.parts:
            raise OutsideRecordingsRootError(
                f"The path '{self.path}' leads outside the recordings root.",
                remedy="Name a recording below the recordings root, by its path relative to it.",
            )
        if not pure.parts or str(pure) != self.path or "\0" in self.path or self.stream == "":
            raise RecordingKeyError(
                f"The path '{self.path}' is not a plain relative path.",
                remedy="Write it without empty parts, '.' or a slash at the end.",
            )
        if len(str(self)) > MAX_KEY_LENGTH:
            raise RecordingKeyError(
                f"The path '{self.path}' makes a key of {len(str(self))} characters; at most {MAX_KEY_LENGTH} fit into "
                "a file name.",
                remedy="Shorten the names of the file and its folders; characters other than letters, digits, '.', "
                "'_' and '-' count three times.",
            )

    def __str__(self) -> str:
        text = SEPARATOR.join(_encode(part) for part in self.path.split("/"))
        return text if self.stream is None else f"{text}{STREAM_MARK}{_encode_stream(self.stream)}"

    @classmethod
    def parse(cls, text: str) -> "RecordingKey":
        """Read a key.

        Raises
        ------
        RecordingKeyError
            When the text is not exactly what some recording's key reads like.
        """
        key = None
        if _KEY.fullmatch(text):
            path, mark, stream = text.partition(STREAM_MARK)
            parts = [_decode(part) for part in path.split(SEPARATOR)]
            if not any("/" in part for part in parts):
                key = cls("/".join(parts), _decode(stream.replace(SEPARATOR, "/")) if mark else None)
        if key is None or str(key) != text:
            raise RecordingKeyError(
                f"'{text}' is not a recording key.",
                remedy="Use a key that `sort-assets register` or `sort-assets status` prints.",
            )
        return key

    @classmethod
    def from_path(cls, path: Path, root: Path, stream: str | None = None) -> "RecordingKey":
        """The key of a file or folder, given as an absolute path or one relative to the working directory.

        Raises
        ------
        OutsideRecordingsRootError
            When the path, or what a symbolic link on it points to, is not below `root`.
        """
        absolute = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow the links that name it
        root_absolute = Path(os.path.abspath(root))  # noqa: PTH100
        for candidate, base in ((absolute, root_absolute), (absolute, root.resolve())):
            if candidate.is_relative_to(base) and candidate != base:
                key = cls(candidate.relative_to(base).as_posix(), stream)
                key.locate(root)
                return key
        raise OutsideRecordingsRootError(
            f"'{path}' is not below the recordings root '{root}'.",
            remedy="Move the recording below the root, or set SORT_ASSETS_RECORDINGS to a folder that contains it.",
        )

    def locate(self, root: Path) -> Path:
        """The path of the recording below `root`; it need not exist.

        Raises
        ------
        OutsideRecordingsRootError
            When a symbolic link leads outside the root.
        """
        location = root / self.path
        if not location.resolve().is_relative_to(root.resolve()):
            raise OutsideRecordingsRootError(
                f"'{location}' leads, by a symbolic link, outside the recordings root '{root}'.",
                remedy="Put the recording itself below the root, or make the root the folder that the link points to.",
            )
        return location


def _encode(part: str) -> str:
    encoded = bytearray()
    for position, byte in enumerate(os.fsencode(part)):
        character = bytes([byte])
        hidden_or_option = position == 0 and character in b".-"
        third_dot = character == b"." and encoded.endswith(b"..")
        plain = _PLAIN.match(character) and not hidden_or_option and not third_dot
        encoded += character if plain else b"=%02X" % byte
    return encoded.decode("ascii")


def _encode_stream(stream: str) -> str:
    return SEPARATOR.join(_encode(part) for part in stream.split("/"))


def _decode(part: str) -> str:
    return os.fsdecode(_ESCAPED.sub(lambda match: bytes([int(match[1], 16)]), part.encode("ascii")))
