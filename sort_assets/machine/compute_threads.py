"""How many threads the libraries below a sorter may use."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@contextmanager
def compute_threads(threads: int) -> Iterator[None]:
    """Limit torch, the BLAS libraries and OpenMP to `threads` threads, and put back what was set before.

    Two torch threads beside another busy process can be many times slower than one, so the count is never left to
    chance.
    """
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    # For libraries that are loaded only inside, such as the OpenMP of scikit-learn: they read the environment then.
    environment = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(threads)))
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(limits=threads):
            yield
    finally:
        torch.set_num_threads(before)
        for name, value in environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
