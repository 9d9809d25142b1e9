"""Who holds a lock: a line of JSON in the lock file, for people and for those who clean up after its death."""

import os
import socket
from pathlib import Path

from pydantic import BaseModel, ConfigDict


class Owner(BaseModel):
    """The holder of a lock.

    Attributes
    ----------
    host : str
    pid : int
        Its process on that host.
    run_id : str
        Its Dagster run.
    attempt : int
        Which attempt of its step it is; the first is 1.
    """

    model_config = ConfigDict(frozen=True)

    host: str
    pid: int
    run_id: str
    attempt: int = 1

    @classmethod
    def this_process(cls, run_id: str, attempt: int = 1) -> "Owner":
        """This process, working for a run."""
        return cls(host=socket.gethostname(), pid=os.getpid(), run_id=run_id, attempt=attempt)

    def sign(self, descriptor: int) -> None:
        """Write the owner into a lock file that is held, in place of an earlier one."""
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, self.model_dump_json().encode(), 0)


def read_owner(lock: Path) -> Owner | None:
    """The last holder of a lock; None when it died before it could sign, or the file is gone."""
    try:
        return Owner.model_validate_json(lock.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
