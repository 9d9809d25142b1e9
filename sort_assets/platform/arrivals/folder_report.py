"""The recordings root as an asset: how many recordings are there, and which could not be registered and why."""

import dagster as dg

from sort_assets.config.settings import Roots
from sort_assets.platform.arrivals.catalog import RecordingCatalog
from sort_assets.platform.arrivals.catalog_entry import CatalogEntry, State
from sort_assets.platform.arrivals.observations import DATA_VERSION_TAG
from sort_assets.platform.pipeline.assets.observed import recordings_root
from sort_assets.platform.pipeline.recording_rules import RULES_PROBLEM
from sort_assets.platform.store.content_hash import hash_json

_REPORTED = "reported"
_ROWS = 200
_COLUMNS = ("path", "what", "message", "remedy")


def report_folder(instance: dg.DagsterInstance, roots: Roots, known: RecordingCatalog) -> bool:
    """Observe the recordings root, if there is news; returns whether there was."""
    counts = known.counts()
    with_problems = known.with_problems(_ROWS)
    rules_problem = known.note(RULES_PROBLEM) or ""
    content = {
        "registered": counts.get(State.REGISTERED, 0),
        "troubled": [_row(one) for one in with_problems],
        "rules": rules_problem,
    }
    version = hash_json(content)
    if known.note(_REPORTED) == version:
        return False
    instance.report_runless_asset_event(
        dg.AssetObservation(
            asset_key=recordings_root.key,
            description=f"{content['registered']} recordings are registered; {len(with_problems)} need a look.",
            metadata={
                "path": dg.MetadataValue.path(roots.recordings),
                **{state.value: counts.get(state, 0) for state in State},
                "need_a_look": dg.MetadataValue.table(
                    [dg.TableRecord(_row(one)) for one in with_problems],
                    # Dagster can't tell the columns of a table without rows.
                    schema=dg.TableSchema([dg.TableColumn(column) for column in _COLUMNS]),
                ),
                "rules_file": dg.MetadataValue.text(rules_problem or "valid"),
            },
            tags={DATA_VERSION_TAG: version},
        )
    )
    known.set_note(_REPORTED, version)
    return True


def needs_attention(known: RecordingCatalog, since: float) -> list[tuple[str, str]]:
    """What could not be registered, or is gone, or has changed, since some time: path, and a sentence.

    Parameters
    ----------
    known : RecordingCatalog
    since : float
        In seconds since 1970.
    """
    told = []
    for one in known.with_problems():
        row = _row(one)
        if max(one.since, one.missing_since or 0.0) >= since:
            told.append((one.path, f"{row['message']} {row['remedy']}"))
    return [*told, *((path, "It has changed; what was made of it is stale.") for path in known.changed_since(since))]


def _row(known: CatalogEntry) -> dict[str, str]:
    what = f"{known.state}, gone" if known.missing_since is not None else known.state.value
    if known.problem is None:
        return {
            "path": known.path,
            "what": what,
            "message": "It is no longer there.",
            "remedy": "Its results are kept.",
        }
    return {
        "path": known.path,
        "what": what,
        "message": f"{type(known.problem).__name__}: {known.problem.message}",
        "remedy": known.problem.remedy,
    }
