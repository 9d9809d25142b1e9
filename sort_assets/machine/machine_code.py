"""Machine code of numba that outlives the process.

It lies beside the source's `.pyc` files, or where that is not allowed in the user's cache folder; `NUMBA_CACHE_DIR`
names another place. Numba compiles again when the source or the processor changes.
"""

from typing import Any


def keep(function: Any) -> bool:
    """Let numba keep what it compiles of a function; False where no folder can be written: every process compiles."""
    try:
        function.enable_caching()
    except RuntimeError:  # "no locator available"
        return False
    return True


def kept(function: Any) -> Any:
    """Decorator of a function that numba compiles: it keeps the machine code."""
    keep(function)
    return function
