"""The catalogue is the one list of assets: what derives from it, and that a new asset needs nothing else."""

import json
import shutil
from pathlib import Path

import pytest

from sort_assets.platform.pipeline.assets import pipeline_assets
from sort_assets.platform.pipeline.catalog import (
    CATALOG,
    PIPELINE,
    from_asset,
    pipeline_asset,
    sections_decided_upstream,
    upstream_assets,
)
from sort_assets_tests.fixtures.home import CHECKOUT, Home
from sort_assets_tests.platform.store.writers import publish

ANCHOR = ')\n"""Every result, each after the one that it is made from."""\n'
RECORD = """\
    PipelineAsset(
        handle=SpikeCounts,
        made_from=StoredMetrics,
        needs=StepNeeds(cpus=1, memory_gb=2),
        versions_kept=2,
        summarized=True,
    ),
"""
HANDLE = '''\
class SpikeCounts(Handle):
    """How many spikes there are."""

    asset = "spike_counts"

    def load(self) -> int:
        """All spikes together."""
        return int((self.path / "count.txt").read_text())


CATALOG: '''
ASSET = '''\
"""How many spikes there are."""

import dagster as dg

from sort_assets.platform.pipeline.config_resolver import RecordingConfigResolver
from sort_assets.platform.pipeline.materialization import staged
from sort_assets.platform.pipeline.partitions import recordings
from sort_assets.platform.store.details import AssetDetails
from sort_assets.platform.store.handles import StoredMetrics


@dg.asset(partitions_def=recordings, code_version="7")
def spike_counts(
    context: dg.AssetExecutionContext, unit_metrics: StoredMetrics, backend: dg.ResourceParam[RecordingConfigResolver]
) -> dg.MaterializeResult:
    with staged(context, backend, unit_metrics=unit_metrics) as asset:
        (asset.staging.path / "count.txt").write_text("42")
        return asset.publish(data_version="42", details=AssetDetails(), metadata={"spikes": 42})
'''
SCRIPT = """\
import json, sys

import dagster as dg

import sort_assets
from sort_assets.definitions import defs
from sort_assets.platform.automation.stale_results.sensor import stale_recordings
from sort_assets.platform.automation.stale_results.staleness import StalenessReader
from sort_assets.platform.automation.summary import SUMMARIZED
from sort_assets.platform.execution.home import open_instance
from sort_assets.platform.pipeline.catalog import sections_decided_upstream
from sort_assets.platform.pipeline.retention import versions_kept

KEY = "day.nwb"
jobs = {name: {str(key.path[-1]) for key in defs.resolve_job_def(name).asset_layer.selected_asset_keys}
        for name in ("sort_recording", "sort_again", "curate_again")}
with open_instance() as instance:
    instance.add_dynamic_partitions("recordings", [KEY])
    result = defs.resolve_job_def("sort_recording").execute_in_process(
        instance=instance, partition_key=KEY, asset_selection=[dg.AssetKey("spike_counts")], raise_on_error=True)
    reader = StalenessReader()
    (metadata,) = [event.materialization.metadata for event in result.get_asset_materialization_events()]
print(json.dumps({
    "package": sort_assets.__file__,
    "success": result.success,
    "in_jobs": sorted(name for name, assets in jobs.items() if "spike_counts" in assets),
    "loaded": sort_assets.load(KEY, "spike_counts"),
    "kept": versions_kept()["spike_counts"],
    "chosen": versions_kept(["spike_counts=5"])["spike_counts"],
    "summarized": "spike_counts" in SUMMARIZED,
    "read_for_staleness": reader._results["spike_counts"].code_version,
    "sections": list(sections_decided_upstream("spike_counts")),
    "made_with": sort_assets.open_result(KEY, "spike_counts").manifest.config["waveform"]["ms_before"],
}))
"""


def test_the_catalogue_says_what_the_assets_read() -> None:
    deps = {
        asset.key.to_user_string(): [dep.asset_key.to_user_string() for spec in asset.specs for dep in spec.deps]
        for asset in pipeline_assets()
    }

    assert {name: [dep for dep in names if dep in PIPELINE] for name, names in deps.items()} == {
        asset.name: [] if asset.made_from is None else [asset.made_from.asset] for asset in CATALOG
    }


def test_every_asset_stands_behind_what_it_is_made_from() -> None:
    for asset in CATALOG:
        assert all(PIPELINE.index(other.name) < PIPELINE.index(asset.name) for other in upstream_assets(asset.name))


@pytest.mark.parametrize(
    ("asset", "sections"),
    [
        ("preprocessed_recording", ()),
        ("binary_dat", ("recording",)),
        ("sorting", ("recording",)),
        ("waveforms", ("recording", "sorter")),
        ("unit_metrics", ("recording", "sorter", "waveform")),
        ("curated_units", ("recording", "sorter", "waveform", "metrics")),
        ("sorting_report", ("recording", "sorter", "waveform", "metrics", "curation")),
        ("spike_data", ("recording", "sorter", "waveform", "metrics", "curation")),
    ],
)
def test_what_an_asset_reads_was_made_by_the_sections_of_all_before_it(asset: str, sections: tuple[str, ...]) -> None:
    assert sections_decided_upstream(asset) == sections


def test_the_names_behind_an_asset_begin_with_it() -> None:
    assert from_asset("unit_metrics") == ("unit_metrics", "curated_units", "sorting_report", "spike_data")
    with pytest.raises(KeyError):
        pipeline_asset("raw_recording")


@pytest.mark.slow
def test_a_new_asset_needs_its_record_and_its_module_and_nothing_else(home: Home, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    shutil.copytree(CHECKOUT / "sort_assets", checkout / "sort_assets", ignore=shutil.ignore_patterns("__pycache__"))
    catalog = checkout / "sort_assets/platform/pipeline/catalog.py"
    source = catalog.read_text()
    assert source.count(ANCHOR) == 1
    assert source.count("\nCATALOG: ") == 1
    catalog.write_text(source.replace("\nCATALOG: ", f"\n{HANDLE}").replace(ANCHOR, RECORD + ANCHOR))
    (checkout / "sort_assets/platform/pipeline/assets/spike_counts.py").write_text(ASSET)
    (home.folder / "question.py").write_text(SCRIPT)
    publish(home.store, "unit_metrics", recording="day.nwb", config={"waveform": {"ms_before": 3.0}})

    asked = home.command("python", "question.py", python_path=checkout)
    status = home.command(
        *("python", "-c", "from sort_assets.platform.cli import main; main()", "status", "--json"), python_path=checkout
    )

    assert asked.status == 0, asked.output
    assert json.loads(asked.stdout.splitlines()[-1]) == {
        "package": str(checkout / "sort_assets/__init__.py"),
        "success": True,
        "in_jobs": ["curate_again", "sort_again", "sort_recording"],
        "loaded": 42,
        "kept": 2,
        "chosen": 5,
        "summarized": True,
        "read_for_staleness": "7",
        "sections": ["recording", "sorter", "waveform", "metrics"],
        "made_with": 3.0,
    }
    (recording,) = json.loads(status.stdout)
    assert recording["assets"]["spike_counts"] is True
