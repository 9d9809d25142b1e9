"""How much of the kept units is usually found again on a rig, from comparisons of other recordings."""

from sort_assets.platform.pipeline.rig_history import NEWEST, alike, first_folder
from sort_assets.platform.store.handles import StoredSorting
from sort_assets.platform.store.store import Store
from sort_assets.platform.store.stored_comparison import ComparisonDetails, StoredComparison


def persisting_shares(store: Store, sorting: StoredSorting, baseline_kind: str) -> list[float]:
    """The share of kept units that was still there in the newest comparisons of other recordings of the same rig.

    The same rig: the same number of channels, in the same first folder below the recordings root.

    Parameters
    ----------
    store : Store
    sorting : StoredSorting
        Of the recording that is compared, which is left out.
    baseline_kind : str
        With what it is compared (`ComparisonDetails.baseline_kind`); the others are those with the same.
    """
    recording = sorting.recording
    folder = first_folder(recording)
    compared = [
        key
        for key in store.recordings()
        if key != recording and first_folder(key) == folder and StoredComparison.asset in store.assets(key)
    ]
    if not compared:
        return []
    channels = sorting.binary_dat.preprocessed_recording.details.channels
    if channels is None:
        return []
    shares = []
    for key, _ in alike(store, compared, channels):
        summary = store.summary(key, StoredComparison.asset)
        details = None if summary is None else ComparisonDetails.parse(summary.get("details"))
        if details is not None and details.baseline_kind == baseline_kind and details.share is not None:
            shares.append(details.share)
    return shares[:NEWEST]
