"""What watches over a sort: checks before it starts, and watchdogs while it runs."""

from sort_assets.guards.active_log import active_log, active_log_path
from sort_assets.guards.activity import Activity, ProcessActivity
from sort_assets.guards.audit import AUDIT_LOG, AuditLog
from sort_assets.guards.ending import (
    EXIT_HUNG,
    HANG_TRACEBACK,
    Ending,
    EndProcessGroup,
    EndThisProcess,
    WatchdogInterrupt,
)
from sort_assets.guards.free_disk import FreeDiskWatchdog
from sort_assets.guards.gpu_memory import GpuMemoryWatchdog
from sort_assets.guards.gpu_temperature import GpuTemperatureWatchdog
from sort_assets.guards.host_memory import HostMemoryWatchdog
from sort_assets.guards.io_stall import IoStallWatchdog
from sort_assets.guards.log_inactivity import LogInactivityWatchdog
from sort_assets.guards.stack import Guards, sort_guards
from sort_assets.guards.uncounted import not_counted
from sort_assets.guards.watchdog import Watchdog

__all__ = [
    "AUDIT_LOG",
    "EXIT_HUNG",
    "HANG_TRACEBACK",
    "Activity",
    "AuditLog",
    "EndProcessGroup",
    "EndThisProcess",
    "Ending",
    "FreeDiskWatchdog",
    "GpuMemoryWatchdog",
    "GpuTemperatureWatchdog",
    "Guards",
    "HostMemoryWatchdog",
    "IoStallWatchdog",
    "LogInactivityWatchdog",
    "ProcessActivity",
    "Watchdog",
    "WatchdogInterrupt",
    "active_log",
    "active_log_path",
    "not_counted",
    "sort_guards",
]
