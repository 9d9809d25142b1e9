"""The tests that every sorter backend must pass: a class per stage of the contract, and one that has them all."""

from sort_assets.testing.conformance.inactivity import InactivityConformance
from sort_assets.testing.conformance.loading import LoadingConformance
from sort_assets.testing.conformance.memory import MemoryConformance
from sort_assets.testing.conformance.sorting import SortingConformance
from sort_assets.testing.conformance.waveforms import WaveformConformance

__all__ = ["SorterBackendConformance"]


class SorterBackendConformance(
    LoadingConformance, SortingConformance, WaveformConformance, MemoryConformance, InactivityConformance
):
    """Tests of one backend. Subclass it, and name the backend.

    Attributes
    ----------
    backend_name : str
        The name under which the backend is registered.
    params : Mapping[str, Any]
        The sorter's parameters in these tests.
    device : str
        "cpu", "cuda" or "auto".
    minimum_accuracy : float
        From which a known unit counts as recovered: true positives over all spikes of both units together.
    minimum_recovered : float
        Share of the known units that must be recovered.
    needs_probe : bool
        Whether the sorter needs channel locations.
    checks_params : bool
        Whether the backend knows which parameters its sorter takes.
    """
