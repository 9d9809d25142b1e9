"""A recording that is not whole, and that a person wants sorted all the same: what is missing is told to the end."""

import os

import pytest
from pynwb import NWBHDF5IO
from spikeinterface.core import BaseRecording, BaseSorting

from sort_assets.platform.automation.status import Filters, recording_statuses, select
from sort_assets.platform.store.handles import StoredDelivery, StoredReport
from sort_assets_tests.fixtures.home import IN_PROCESS, Home
from sort_assets_tests.recordings.writers import write_spikeglx

pytestmark = pytest.mark.slow


@pytest.mark.release
def test_what_is_missing_reaches_status_report_and_delivery(
    home: Home, short: tuple[BaseRecording, BaseSorting]
) -> None:
    recording, _ = short
    run = write_spikeglx(recording.frame_slice(0, 240_000), home.roots.recordings / "run_g0", lf=False)
    (samples,) = run.rglob("*.ap.bin")
    os.truncate(samples, samples.stat().st_size // 2)
    run.with_name("run_g0.sort_assets.yaml").write_text("recording: {accept_incomplete: true}\n", encoding="utf-8")
    key = home.register(run)

    done = home.materialize(key, config={**IN_PROCESS, "recording": {"accept_incomplete": True}})
    after = home.materialize(key, "waveforms", "unit_metrics", "curated_units", "sorting_report", "spike_data")

    assert done.success
    assert after.success
    (check,) = [one for one in done.get_asset_check_evaluations() if one.check_name == "complete"]
    assert not check.passed
    with home.instance() as instance:
        statuses = recording_statuses(instance, home.store)
    (status,) = select(statuses, [], filters=Filters(degraded=True)).recordings
    assert "(degraded: the recording is not whole)" in status.outcome
    assert "is truncated: it has" in StoredReport(home.roots, key).load().read_text(encoding="utf-8")
    files = StoredDelivery(home.roots, key).load()
    (nwb,) = [path for path in files.values() if path.suffix == ".nwb"]
    assert "imec0.ap.bin' is truncated" in (nwb.parent / "README.txt").read_text(encoding="utf-8")
    with NWBHDF5IO(nwb, "r") as opened:
        assert "imec0.ap.bin' is truncated" in opened.read().notes
