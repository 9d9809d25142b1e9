"""Reading the audit log."""

import json
from typing import Any

from sort_assets.running.audit import AuditLog


def events(audit: AuditLog) -> list[dict[str, Any]]:
    if not audit.path.exists():
        return []
    return [json.loads(line) for line in audit.path.read_text(encoding="utf-8").splitlines()]


def names(audit: AuditLog) -> list[str]:
    """Watchdog and event of every line."""
    return [f"{entry['watchdog']}: {entry['event']}" for entry in events(audit)]
