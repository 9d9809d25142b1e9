"""One analyzer of a ground-truth recording with what the figures of a report need, and tables about its units."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import spikeinterface.core as si

from sort_assets.config import CurationConfig
from sort_assets.curation.criteria import Criterion, criteria_of


@dataclass(frozen=True)
class Curated:
    """Units of a recording with what was decided of them."""

    analyzer: si.SortingAnalyzer
    metrics: pd.DataFrame
    decisions: pd.DataFrame
    criteria: tuple[Criterion, ...]
    duration_s: float = 10.0


@pytest.fixture(scope="session")
def curated(short: tuple[si.BaseRecording, si.BaseSorting]) -> Curated:
    """4 units: two are kept, one has too low an SNR, and one is a duplicate; read it, never change it."""
    import spikeinterface.postprocessing  # noqa: F401 - registers the extensions

    recording, sorting = short
    analyzer = si.create_sorting_analyzer(sorting.select_units(sorting.unit_ids[:4]), recording, sparse=True)
    analyzer.compute(
        {
            "random_spikes": {"seed": 0},
            "templates": {},
            "spike_amplitudes": {},
            "unit_locations": {"method": "center_of_mass"},
            "spike_locations": {"method": "center_of_mass"},
        },
        n_jobs=1,
        progress_bar=False,
    )
    metrics = metrics_of(analyzer)
    criteria = criteria_of(CurationConfig())
    return Curated(analyzer, metrics, decide(metrics, criteria), criteria)


def metrics_of(analyzer: si.SortingAnalyzer) -> pd.DataFrame:
    unit_ids = [str(unit_id) for unit_id in analyzer.unit_ids]
    spikes = analyzer.sorting.count_num_spikes_per_unit(outputs="array")
    locations_um = analyzer.get_extension("unit_locations").get_data()
    return pd.DataFrame(
        {
            "num_spikes": spikes,
            "firing_rate": spikes / 10.0,
            "isi_violations_percent": 0.0,
            "snr": [12.0, 3.0, 9.0, 11.0],
            "waveform_deviation": 0.2,
            "amplitude_uv": 150.0,
            "x_um": locations_um[:, 0],
            "y_um": locations_um[:, 1],
        },
        index=pd.Index(unit_ids, name="unit_id"),
    )


def decide(metrics: pd.DataFrame, criteria: tuple[Criterion, ...]) -> pd.DataFrame:
    low_snr = metrics["snr"] < 5
    decisions = pd.DataFrame(index=metrics.index)
    decisions["label"] = np.where(low_snr, "rejected", "good")
    decisions["kept"] = ~low_snr
    decisions["reason"] = [
        f"SNR {snr:g} (at least 5)." if low else "Meets every criterion."
        for snr, low in zip(metrics["snr"], low_snr, strict=True)
    ]
    decisions["decided_by"] = "thresholds"
    decisions["bombcell_label"] = "good"
    for criterion in criteria:
        decisions[criterion.name] = metrics[criterion.name]
        decisions[f"{criterion.name}_ok"] = pd.array(
            ~low_snr if criterion.name == "snr" else np.ones(len(metrics), dtype=bool), dtype="boolean"
        )
    last = metrics.index[-1]
    decisions.loc[last, ["label", "kept", "reason", "decided_by"]] = [
        "duplicate",
        False,
        "85 % of its spikes are also those of unit 0.",
        "duplicates",
    ]
    return decisions
