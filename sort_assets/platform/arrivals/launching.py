"""Whether somebody is there to start what the sensor `new_recordings` is to start."""

import time

import dagster as dg

from sort_assets.platform.arrivals.sensor import NAME

_DAEMON = "SENSOR"
_SILENT_S = 120.0
"""Dagster's daemon gives a sign of life every 30 s."""


def launching_trouble(instance: dg.DagsterInstance) -> str | None:
    """Why runs that are wanted are not going to start by themselves, in words; None when they are.

    Cheap: two rows of Dagster's databases.
    """
    sign = instance.get_daemon_heartbeats().get(_DAEMON)
    if sign is None or time.time() - sign.timestamp > _SILENT_S:
        return "The Dagster daemon does not run, so no run starts by itself. Start it with `sort-assets up`."
    if any(one.name == NAME and one.status.value == "STOPPED" for one in instance.all_instigator_state()):
        return f"The sensor {NAME} is stopped, so no run starts by itself. Start it in the UI, under Automation."
    return None
