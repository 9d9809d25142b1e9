import subprocess
import sys

import numpy as np
import pytest
from spikeinterface.curation import curation_tools

from sort_assets.metrics.compiled import keep_compiled


def compile_a_loop() -> tuple[int, int]:
    """Use a short loop of SpikeInterface's; how often it was read from disk, and how often compiled.

    The long ones take many seconds to compile.
    """
    assert keep_compiled() == keep_compiled() > 0
    curation_tools.find_duplicated_spikes(np.array([0, 1, 100]), 10, method="keep_first_iterative")
    stats = curation_tools._find_duplicated_spikes_keep_first_iterative.stats
    return sum(stats.cache_hits.values()), sum(stats.cache_misses.values())


@pytest.mark.slow
def test_what_one_process_compiles_the_next_one_only_reads() -> None:
    compile_a_loop()
    script = f"from {__name__} import compile_a_loop; print(*compile_a_loop())"

    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert other.stdout.split() == ["1", "0"]
