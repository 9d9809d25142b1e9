"""Principal components of the waveforms, for as long as metrics need them."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sort_assets.metrics.extensions import FAILURES_OF_THE_MACHINE, format_error, why_missing

if TYPE_CHECKING:
    from spikeinterface.core import SortingAnalyzer

_EXTENSION = "principal_components"


@contextmanager
def principal_components(analyzer: SortingAnalyzer, job_kwargs: Mapping[str, Any]) -> Iterator[str | None]:
    """Let the analyzer have principal components meanwhile, in memory; yields why it has none, if so.

    Parameters
    ----------
    analyzer : SortingAnalyzer
        With waveforms.
    job_kwargs : Mapping[str, Any]
        `n_jobs` is how many threads the arithmetic may use, also what is done with the components meanwhile.
    """
    if importlib.util.find_spec("sklearn") is None:
        yield "scikit-learn is not installed."
        return
    if not analyzer.has_extension("waveforms"):
        yield why_missing(analyzer, "waveforms")
        return
    # Loaded before its threads are limited, or the limit would not reach it.
    import sklearn.decomposition
    import sklearn.neighbors  # noqa: F401
    from threadpoolctl import threadpool_limits

    unavailable_reason = None
    # Without a limit, two threads beside another busy process are several times slower than one.
    with threadpool_limits(limits=job_kwargs.get("n_jobs", 1)):
        try:
            # More workers would be processes of its own pool, which can hang (SpikeInterface/spikeinterface#2689).
            analyzer.compute(_EXTENSION, save=False, **{**job_kwargs, "n_jobs": 1})
        except FAILURES_OF_THE_MACHINE:
            raise
        except Exception as error:
            unavailable_reason = format_error(error)
        try:
            yield unavailable_reason
        finally:
            analyzer.extensions.pop(_EXTENSION, None)
