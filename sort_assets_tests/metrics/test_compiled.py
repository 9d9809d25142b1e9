import os
import subprocess
import sys
from pathlib import Path

# A short loop of SpikeInterface's; the long ones take many seconds to compile.
SCRIPT = """
import numpy as np
from spikeinterface.curation import curation_tools
from sort_assets.metrics.compiled import keep_compiled
assert keep_compiled() == keep_compiled() > 0
curation_tools.find_duplicated_spikes(np.array([0, 1, 100]), 10, method="keep_first_iterative")
function = curation_tools._find_duplicated_spikes_keep_first_iterative
print(sum(function.stats.cache_hits.values()), sum(function.stats.cache_misses.values()))
"""


def test_what_one_process_compiles_the_next_one_only_reads(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT]
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}

    first, second = (
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout for _ in range(2)
    )

    # Cache hits, and cache misses.
    assert first.split() == ["0", "1"]
    assert second.split() == ["1", "0"]
