"""How long this process waits for a database that can't be reached.

Runs, their steps and the daemon wait for minutes, so that nothing is lost while it is restarted. Somebody who looks
at a terminal or a page does not.
"""

from sort_assets.config.settings import read_environment

_SHORT_S = 10.0
_interactive = False


def wait_shortly_for_database() -> None:
    """Somebody waits for this process."""
    global _interactive
    _interactive = True


def database_wait_s() -> float:
    """How long this process waits, in seconds."""
    asked = float(read_environment().database_wait_s)
    return min(asked, _SHORT_S) if _interactive else asked
