import os
import subprocess
import sys

from sort_assets.machine.threads import threads_within


def test_threads_share_a_quarter_of_the_available_memory() -> None:
    chunk_bytes = 384 * 30_000 * 4

    assert threads_within(256 * 2**30, 16, chunk_bytes) == 16
    assert threads_within(8 * 2**30, 16, chunk_bytes) == 7  # of 276 MB each, from 2147 MB
    assert threads_within(2**20, 16, chunk_bytes) == 1
    assert threads_within(2**30, 16, 0) == 16


def test_torch_takes_the_number_of_threads_also_when_it_is_loaded_inside_and_is_not_loaded_for_that() -> None:
    # Torch takes at most as many threads as there are cores, so one thread is asked for.
    code = (
        "import sys\n"
        "from sort_assets.machine.threads import compute_threads\n"
        "with compute_threads(1):\n"
        "    assert 'torch' not in sys.modules\n"
        "    import torch\n"
        "    assert torch.get_num_threads() == 1\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)

    assert done.returncode == 0, done.stderr
