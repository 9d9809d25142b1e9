"""The `sort-assets` command."""

import click

from sort_assets.platform.cli.compare import compare
from sort_assets.platform.cli.curation import carry_curation, export_phy, import_curation
from sort_assets.platform.cli.forecast import forecast
from sort_assets.platform.cli.instance import demo, doctor, init, up
from sort_assets.platform.cli.needs import needs
from sort_assets.platform.cli.recordings import forget, purge, register, retry_failed, scan
from sort_assets.platform.cli.results import digest, gc, lessons, status
from sort_assets.platform.cli.variants import variants
from sort_assets.platform.cli.what_if import what_if


@click.group()
@click.version_option(package_name="sort-assets")
def main() -> None:
    """Spike sorting as a Dagster asset platform."""
    from sort_assets.platform.execution.home import load_environment

    load_environment()


for _command in (
    *(init, demo, up, doctor),
    *(register, scan, forget, purge, retry_failed),
    *(status, compare, needs, forecast, what_if, digest, gc, lessons),
    *(variants, export_phy, import_curation, carry_curation),
):
    main.add_command(_command)
