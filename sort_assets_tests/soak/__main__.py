"""`python -m sort_assets_tests.soak`: a soak from the command line; exit status 1 where something does not hold."""

import os
import signal
import tempfile
from pathlib import Path

import click

from sort_assets_tests.soak.storm import Options, Soak
from sort_assets_tests.soak.table import first_lines

_RECORDINGS_PER_MINUTE = 200 / 60


@click.command(help=__doc__)
@click.option("--minutes", type=float, default=60.0, show_default=True, help="How long the storm lasts.")
@click.option("--recordings", type=int, help="How many recordings arrive; by default 200 in an hour.")
@click.option("--seed", type=int, default=lambda: int.from_bytes(os.urandom(2)), help="By default another each time.")
@click.option("--engine", type=click.Choice(["local", "slurm"]), default="local", show_default=True)
@click.option("--database", type=click.Choice(["sqlite", "postgres"]), default="sqlite", show_default=True)
@click.option(
    "--every", "every_s", type=float, default=15.0, show_default=True, help="Seconds between faults, on average."
)
@click.option(
    "--folder", type=click.Path(path_type=Path), help="For its home, logs and table; by default a temporary one."
)
def main(
    minutes: float,
    recordings: int | None,
    seed: int,
    engine: str,
    database: str,
    every_s: float,
    folder: Path | None,
) -> None:
    folder = folder or Path(tempfile.mkdtemp(prefix="sort_assets-soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    count = recordings if recordings is not None else round(minutes * _RECORDINGS_PER_MINUTE)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # both end it with its table
    results = Soak(Options(minutes, count, seed, engine, database, every_s), folder).run()
    click.echo(first_lines(results.lines()))
    click.echo(f"Everything is in {folder}")
    raise SystemExit(1 if results.wrong else 0)


if __name__ == "__main__":
    main()
