"""Benchmarks of what the sorter needs and finds, at their smallest size."""

import pytest

from benchmarks import clear_spikes, clustering_memory


def test_clear_spikes_are_told_from_noise() -> None:
    (row,) = clear_spikes.rows("small")

    assert row.reached, row.note
    assert row.note == "2 recordings of 10 s: tetrode"


@pytest.mark.slow
def test_clustering_in_blocks_holds_less_and_gives_the_same_clusters() -> None:
    memory, differ = clustering_memory.rows("small")

    assert memory.figure is not None
    assert memory.figure > 0
    assert differ.figure == 0
