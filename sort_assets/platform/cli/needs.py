"""The command `needs`: what the steps of a recording ask of the engine, and why."""

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from sort_assets.platform.cli.printing import errors_in_words, others_go_on, print_json, print_table, say

if TYPE_CHECKING:
    import dagster as dg

    from sort_assets.platform.execution.step_needs import StepNeeds

_COLUMNS = ("step", "GPUs", "GPU memory", "CPUs", "memory", "time limit", "because")
_WORDS = {"gpus": "GPUs", "cpus": "CPUs", "gpu_memory_gb": "GPU memory", "memory_gb": "memory", "time_limit_h": "limit"}


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="KEY_OR_PATH...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def needs(names: tuple[str, ...], as_json: bool) -> None:
    """Show what the steps of recordings ask of the engine, as rules, sidecars, shape and failures have it now.

    The last line is a whole run that is one job of the engine, as with Slurm. Numbers without a reason are as declared.
    """
    from sort_assets.config.settings import Roots
    from sort_assets.platform.arrivals.resolver import RecordingResolver
    from sort_assets.platform.execution.home import open_instance

    failed: list[str] = []
    found: dict[str, dict[str, StepNeeds]] = {}
    with errors_in_words(), open_instance() as instance:
        resolver = RecordingResolver(instance, Roots.from_environment())
        for name in names:
            with others_go_on(name, failed):
                for key in resolver.find(name).keys:
                    found[key] = _needs(instance, key)
    if as_json:
        print_json({key: {step: asdict(one) for step, one in steps.items()} for key, steps in found.items()})
    else:
        for key, steps in found.items():
            say(key)
            print_table(_COLUMNS, [_row(step, one) for step, one in steps.items()], wrapped={"because"})
    sys.exit(1 if failed else 0)


def _needs(instance: "dg.DagsterInstance", key: str) -> "dict[str, StepNeeds]":
    """By step, as if a run of everything began now."""
    import dagster as dg

    from sort_assets.platform.pipeline.catalog import PIPELINE
    from sort_assets.platform.pipeline.partitions import PARTITION_TAG
    from sort_assets.platform.pipeline.run_requests import RunRequests

    run = dg.DagsterRun(job_name="sort_recording", tags={PARTITION_TAG: key}, step_keys_to_execute=list(PIPELINE))
    requests = RunRequests(instance, run)
    return {**{asset: requests.of_step(asset) for asset in requests.assets}, "whole run": requests.of_run()}


def _row(step: str, needs: "StepNeeds") -> tuple[str, ...]:
    because = "; ".join(f"{_WORDS.get(name, name)}: {why}" for name, why in needs.why.items())
    return (
        step,
        str(needs.gpus or "-"),
        _amount(needs.gpu_memory_gb, "GB"),
        str(needs.cpus),
        _amount(needs.memory_gb, "GB"),
        _amount(needs.time_limit_h, "h"),
        because,
    )


def _amount(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:g} {unit}"
