"""Where and how runs execute: executor, device leases, the Dagster home, the servers."""
