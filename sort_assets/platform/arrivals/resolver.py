"""Finding the recording that a person means by a key or a path."""

import difflib
import os
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from sort_assets.config.presets import DEFAULT_PRESET
from sort_assets.config.rules import find_sidecar
from sort_assets.config.settings import Roots
from sort_assets.errors import MissingRecordingError, RecordingKeyError, SortAssetsError
from sort_assets.platform.arrivals.catalog_entry import CatalogEntry
from sort_assets.platform.arrivals.recording_catalog import RecordingCatalog
from sort_assets.platform.pipeline.partitions import RECORDINGS_PARTITIONS
from sort_assets.platform.pipeline.recording_rules import RecordingRules
from sort_assets.platform.store.store import Store
from sort_assets.recordings.key import STREAM_MARK, RecordingKey


@dataclass(frozen=True)
class RecordingMatch:
    """The recording, or the stream of one, that a word names.

    Attributes
    ----------
    path : str or None
        Relative to the recordings root; None for a key that can't be a recording's.
    keys : tuple of str
        Its partitions and its folders in the store; empty where there are none yet.
    whole : bool
        Whether the recording is meant with all its streams.
    entry : CatalogEntry or None
        The recording's entry in the catalogue.
    """

    path: str | None
    keys: tuple[str, ...]
    whole: bool
    entry: CatalogEntry | None


class RecordingResolver:
    """Finds recordings by key, by path from the working directory, or by path from the recordings root.

    Parameters
    ----------
    instance : DagsterInstance
    roots : Roots
    """

    def __init__(self, instance: dg.DagsterInstance, roots: Roots) -> None:
        self._roots = roots
        self._catalog = RecordingCatalog(roots.store, read_only=True)
        partitions = instance.get_dynamic_partitions(RECORDINGS_PARTITIONS)
        self._all_keys = {*partitions, *Store(roots.store).recordings()}

    def find(self, word: str) -> RecordingMatch:
        """The recording that a word names.

        Raises
        ------
        MissingRecordingError
            When nothing has this name; the message suggests similar names.
        """
        return self._by_key(word) or self._by_path(word) or self._on_disk(word) or self._refuse(word)

    def _by_key(self, word: str) -> RecordingMatch | None:
        try:
            key = RecordingKey.parse(word)
        except RecordingKeyError:
            return RecordingMatch(None, (word,), True, None) if word in self._all_keys else None
        if key.stream is not None and word in self._all_keys | self._remembered(key.path):
            return RecordingMatch(key.path, (word,), False, self._catalog.get(key.path))
        return self._whole(key.path) if key.stream is None else None

    def _by_path(self, word: str) -> RecordingMatch | None:
        return next(filter(None, map(self._whole, [*self._relative(word), word])), None)

    def _on_disk(self, word: str) -> RecordingMatch | None:
        """A recording that no scan has found yet."""
        for path in self._relative(word):
            located = self._roots.recordings / path
            if located.exists() and self._is_recording(path, located):
                return RecordingMatch(path, (), True, None)
        return None

    def _is_recording(self, path: str, located: Path) -> bool:
        from sort_assets.recordings.formats.table import find_format

        try:
            settings = RecordingRules(self._roots).settings_of(path, find_sidecar(located, self._roots.recordings))
            config = settings.resolve(DEFAULT_PRESET).config.recording
            return settings.concatenate or find_format(located, config) is not None
        except SortAssetsError:
            return True  # a recording with a problem

    def _whole(self, path: str) -> RecordingMatch | None:
        entry = self._catalog.get(path)
        try:
            base = str(RecordingKey(path))
        except RecordingKeyError:  # too long, for example, so that it never became a partition
            return RecordingMatch(path, (), True, entry) if entry else None
        streams = {key for key in self._all_keys if key.startswith(f"{base}{STREAM_MARK}")}
        keys = streams | self._remembered(path) | ({base} & self._all_keys)
        return RecordingMatch(path, tuple(sorted(keys)), True, entry) if keys or entry else None

    def _relative(self, word: str) -> list[str]:
        """The paths relative to the root that a word may mean, from the working directory first."""
        found = []
        for path in (Path(word), self._roots.recordings / word):
            try:
                found.append(RecordingKey.from_path(path, self._roots.recordings).path)
            except RecordingKeyError:
                continue
        return found

    def _remembered(self, path: str) -> set[str]:
        return {partition.key for partition in self._catalog.partitions([path])}

    def _refuse(self, word: str) -> RecordingMatch:
        names = sorted(self._all_keys | set(self._catalog.all()))
        nearest = difflib.get_close_matches(word, names, n=3)
        if not nearest:
            name = os.path.basename(word)  # noqa: PTH119 - of a word that need not be a path
            nearest = [one for one in names if name and name in one][:3]
        hint = f"Did you mean {', '.join(nearest)}? " if nearest else ""
        raise MissingRecordingError(
            f"There is no recording '{word}', neither by its key nor by its path.",
            remedy=f"{hint}`sort-assets status` shows all. To leave a whole folder alone, write a rule with `ignore: "
            "true` into sort_assets.yaml.",
        )
