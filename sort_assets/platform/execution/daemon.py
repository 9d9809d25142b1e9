"""Dagster's daemon, which looks after its code server less often (`code_server`)."""

from dagster._daemon.cli import main

from sort_assets.platform.execution.code_server import look_less_often

if __name__ == "__main__":
    look_less_often()
    main()
