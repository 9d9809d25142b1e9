"""The comparison with SpikeLab, whose environment only the whole run makes."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import against_spikelab
from benchmarks.end_to_end import Setting
from benchmarks.process_tree import Used


def test_without_the_long_rows_the_table_says_how_to_get_this_one() -> None:
    (row,) = against_spikelab.rows("small")

    assert (row.figure, row.reached, row.note) == (None, None, "only with BENCH=full")


def test_the_units_that_it_keeps_are_read_with_their_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used = Used(0, 1, 1, 1, 1, 1, 1, 1, 0, 0)
    monkeypatch.setattr(against_spikelab, "measure", lambda *_, **__: used)  # SpikeLab can't be had in a test
    np.savez(tmp_path / "units.npz", times_s=[0.2, 0.1, 0.3], units=[0, 0, 1])

    _, _, sorting = against_spikelab.run_spikelab(tmp_path / "a.nwb", tmp_path, Setting(2, 32))

    assert sorting.get_unit_spike_train(0).tolist() == [3000, 6000]
    assert sorting.get_unit_spike_train(1).tolist() == [9000]
