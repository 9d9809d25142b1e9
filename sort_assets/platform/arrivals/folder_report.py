"""The recordings root as an asset: how many recordings there are, which need attention, and why."""

from dataclasses import asdict, dataclass

import dagster as dg

from sort_assets.config.settings import Roots
from sort_assets.errors import SortAssetsError
from sort_assets.platform.arrivals.catalog_entry import CatalogEntry, Problem, State
from sort_assets.platform.arrivals.observations import DATA_VERSION_TAG
from sort_assets.platform.arrivals.recording_catalog import RecordingCatalog
from sort_assets.platform.pipeline.assets.observed import recordings_root
from sort_assets.platform.pipeline.recording_rules import RULES_PROBLEM
from sort_assets.platform.store.content_hash import hash_json
from sort_assets.recordings.key import RecordingKey

_REPORTED = "reported"
_MAX_ROWS = 200
_COLUMNS = ("path", "what", "message", "remedy")


@dataclass(frozen=True)
class Notice:
    """A recording, or a stream of one, that needs attention, since it has a problem or is missing.

    Attributes
    ----------
    path : str
        Relative to the recordings root; the key of a stream.
    what : str
        Its state, with ", gone" when it is missing.
    message, remedy : str
    """

    path: str
    what: str
    message: str
    remedy: str

    @classmethod
    def of(cls, entry: CatalogEntry) -> "list[Notice]":
        """What to say about an entry with problems, or a missing one."""
        what = entry.state.value if entry.missing_since is None else f"{entry.state.value}, gone"
        notices = [
            cls._of_problem(str(RecordingKey(entry.path, stream)), State.PROBLEM.value, problem)
            for stream, problem in entry.stream_problems.items()
        ]
        if entry.problem is not None:
            return [cls._of_problem(entry.path, what, entry.problem), *notices]
        if entry.missing_since is not None:
            return [cls(entry.path, what, "It is no longer there.", "Its results are kept."), *notices]
        return notices

    @classmethod
    def _of_problem(cls, path: str, what: str, error: SortAssetsError) -> "Notice":
        problem = Problem.from_error(error)
        return cls(path, what, f"{problem.failure_class}: {problem.message}", problem.remedy)


def report_folder(instance: dg.DagsterInstance, roots: Roots, catalog: RecordingCatalog) -> bool:
    """Observe the recordings root if it differs from the last observation; returns whether it did."""
    counts = catalog.counts()
    rows = [asdict(notice) for entry in catalog.with_problems(_MAX_ROWS) for notice in Notice.of(entry)]
    rules_problem = catalog.note(RULES_PROBLEM) or ""
    num_registered = counts.get(State.REGISTERED, 0)
    version = hash_json({"registered": num_registered, "troubled": rows, "rules": rules_problem})
    if catalog.note(_REPORTED) == version:
        return False
    instance.report_runless_asset_event(
        dg.AssetObservation(
            asset_key=recordings_root.key,
            description=f"{num_registered} recordings are registered; {len(rows)} need a look.",
            metadata={
                "path": dg.MetadataValue.path(roots.recordings),
                **{state.value: counts.get(state, 0) for state in State},
                "need_a_look": dg.MetadataValue.table(
                    [dg.TableRecord(row) for row in rows],
                    # Dagster can't tell the columns of a table without rows.
                    schema=dg.TableSchema([dg.TableColumn(column) for column in _COLUMNS]),
                ),
                "rules_file": dg.MetadataValue.text(rules_problem or "valid"),
            },
            tags={DATA_VERSION_TAG: version},
        )
    )
    catalog.set_note(_REPORTED, version)
    return True


def needs_attention(catalog: RecordingCatalog, since: float) -> list[tuple[str, str]]:
    """What could not be registered, is missing or has changed, since a time: path, and a sentence.

    Parameters
    ----------
    catalog : RecordingCatalog
    since : float
        In seconds since 1970.
    """
    entries = [one for one in catalog.with_problems() if max(one.since, one.missing_since or 0.0) >= since]
    notices = [notice for entry in entries for notice in Notice.of(entry)]
    return [
        *((notice.path, f"{notice.message} {notice.remedy}") for notice in notices),
        *((path, "It has changed; what was made of it is stale.") for path in catalog.changed_since(since)),
    ]
