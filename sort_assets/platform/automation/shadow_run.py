"""Runs steps of one recording in the instance and the store that the environment names.

It is started as `python -m sort_assets.platform.automation.shadow_run CODE_LOCATION KEY ASSET…`. It ends soon
after the writer of its standard input has.
"""

import sys
from importlib import import_module

import dagster as dg

from sort_assets.platform.execution.executor import end_after
from sort_assets.platform.execution.home import load_environment, open_instance, prepare_home, size_gpu_pool
from sort_assets.platform.pipeline.jobs import sort_recording
from sort_assets.platform.pipeline.partitions import RECORDINGS_PARTITIONS


def main(code_location: str, recording: str, *assets: str) -> int:
    """Returns the exit status: 0 when all steps succeeded."""
    end_after(sys.stdin.fileno())
    load_environment()
    prepare_home()
    with open_instance() as instance:
        size_gpu_pool(instance)
        instance.add_dynamic_partitions(RECORDINGS_PARTITIONS, [recording])
        definitions: dg.Definitions = import_module(code_location).defs
        result = definitions.resolve_job_def(sort_recording.name).execute_in_process(
            instance=instance,
            partition_key=recording,
            asset_selection=[dg.AssetKey(asset) for asset in assets],
            raise_on_error=False,
        )
    return 0 if result.success else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
