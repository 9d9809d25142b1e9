"""Each recording has its own verdicts, and those of another recording do not replace them."""

from pathlib import Path

import dagster as dg
import pytest
from spikeinterface.core import BaseRecording, BaseSorting

from sort_assets.definitions import defs
from sort_assets.platform.pipeline.assets import pipeline_assets
from sort_assets.platform.pipeline.partitions import PARTITION_TAG, recordings
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.fixtures.home import IN_PROCESS, Home
from sort_assets_tests.fixtures.servers import up
from sort_assets_tests.recordings.files import recording_of

NOISE = dg.AssetCheckKey(dg.AssetKey("preprocessed_recording"), "noise_level")
LOUD = 30
"""With this factor the noise is beyond what any amplifier makes."""
ALL_CHANNELS = {**IN_PROCESS, "recording": {"bad_channels": "none"}}

_STATUSES = """
query Statuses($asset: AssetKeyInput!, $check: String!) {
  assetNodeOrError(assetKey: $asset) {
    ... on AssetNode {
      assetCheckOrError(checkName: $check) {
        ... on AssetCheck {
          partitionStatuses {
            ... on AssetCheckDefaultPartitionStatuses { succeededPartitions failedPartitions inProgressPartitions }
          }
        }
      }
    }
  }
}
"""


@pytest.fixture(scope="module")
def judged(module_home: Home, short: tuple[BaseRecording, BaseSorting], short_file: Path) -> tuple[Home, str, str]:
    """A home in which the first recording failed the check of its noise, and then the second one passed it."""
    recording, _ = short
    loud = recording_of(recording.get_traces(), recording, gain_to_uv=LOUD * recording.get_channel_gains()[0])
    first = module_home.register(write_nwb(loud, module_home.roots.recordings / "loud.nwb"))
    second = module_home.register(module_home.link(short_file, "usual.nwb"))
    for key in (first, second):
        assert module_home.materialize(key, "preprocessed_recording", config=ALL_CHANNELS).success
    return module_home, first, second


def verdicts(home: Home, check: dg.AssetCheckKey = NOISE) -> dict[str, set[str]]:
    """By status, the recordings of which Dagster says that of a check."""
    with home.instance() as instance, dg.partition_loading_context(dynamic_partitions_store=instance):
        state = instance.event_log_storage.get_asset_check_state([(check, recordings)])[check]
        subsets = {status: subset.subset_value for status, subset in state.subsets.items()}
        return {
            status.value: set(subset.get_partition_keys())  # type: ignore[union-attr]
            for status, subset in subsets.items()
            if not subset.is_empty  # type: ignore[union-attr]
        }


def test_every_check_of_a_recording_is_partitioned_by_recording() -> None:
    specs = [spec for asset in pipeline_assets() for spec in asset.check_specs]

    assert len(specs) >= 19
    assert {spec.name for spec in specs if spec.partitions_def != recordings} == set()


def test_the_verdict_of_one_recording_stands_when_the_next_one_passes(judged: tuple[Home, str, str]) -> None:
    home, first, second = judged

    assert verdicts(home) == {"FAILED": {first}, "SUCCEEDED": {second}}


def test_while_one_recording_runs_the_verdicts_of_others_are_shown(judged: tuple[Home, str, str]) -> None:
    home, first, second = judged
    third = home.add_partition("third.nwb")
    with home.instance() as instance:
        run = instance.create_run_for_job(
            defs.resolve_job_def("sort_recording"),
            status=dg.DagsterRunStatus.STARTED,
            tags={PARTITION_TAG: third},
        )
        try:
            now = verdicts(home)
        finally:
            instance.report_run_canceled(run)

    assert now == {"FAILED": {first}, "SUCCEEDED": {second}, "IN_PROGRESS": {third}}


def test_a_verdict_from_before_checks_were_partitioned_is_no_recordings_verdict(
    judged: tuple[Home, str, str],
) -> None:
    home, first, second = judged
    with home.instance() as instance:
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(asset_key=NOISE.asset_key, check_name=NOISE.name, passed=False, metadata={})
        )

    now = verdicts(home)
    assert (now["FAILED"], now["SUCCEEDED"]) == ({first}, {second})


@pytest.mark.release
def test_the_ui_shows_each_recordings_verdict(judged: tuple[Home, str, str], tmp_path: Path) -> None:
    home, first, second = judged
    with up(home, tmp_path / "up.log") as (server, _):
        answer = server.ask(_STATUSES, asset={"path": NOISE.asset_key.path}, check=NOISE.name)

    statuses = answer["assetNodeOrError"]["assetCheckOrError"]["partitionStatuses"]
    assert statuses == {"succeededPartitions": [second], "failedPartitions": [first], "inProgressPartitions": []}
