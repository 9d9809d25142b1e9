"""How long each stage of the sorts took, the gap between two sorts, and how busy the GPU was."""

import datetime as dt
import json
import os
import re
from itertools import pairwise
from pathlib import Path

import dagster as dg

from sort_assets.backends.kilosort4.stages import STAGES

OUT, STORE = Path(os.environ["OUT"]), Path(os.environ["SORT_ASSETS_STORE"])
PARTITION = "dagster/partition"
SHOWN = ("STEP_WORKER_STARTING", "STEP_START", "STEP_SUCCESS", "STEP_FAILURE")
_STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ")
Span = tuple[float, float]


def _when(line: str) -> float:
    return dt.datetime.strptime(line[:23], "%Y-%m-%d %H:%M:%S,%f").timestamp()


def stages() -> dict[str, Span]:
    """Print the seconds of each stage; returns the first and the last moment of each sort by its recording."""
    spans = {}
    for folder in sorted(STORE.glob("np~*/sorting/current")):
        log = folder / "sorter/spikeinterface/sorter_output/kilosort4.log"
        lines = [line for line in log.read_text(errors="replace").splitlines() if _STAMP.match(line)]
        began = sorted((_when(line), stage.name) for stage in STAGES for line in lines if stage.marker in line)
        moments = [*began, (_when(lines[-1]), "end")]
        details = json.loads((folder / "manifest.json").read_text())["details"]
        name = folder.parents[1].name
        spans[name] = (moments[0][0], moments[-1][0])
        took = [f"{stage} {after - at:.1f} s" for (at, stage), (after, _) in pairwise(moments)]
        found = f"{details['num_units']} units, {details['num_spikes']} spikes on {details['device']}"
        print(f"{name}: {found}; {', '.join(took)}")
    return spans


def runs() -> None:
    """Print the seconds of each step, and when sorting was waited for and begun."""
    with dg.DagsterInstance.get() as instance:
        for run in instance.get_runs():
            partition = run.tags.get(PARTITION, "")
            if not partition.startswith("np~"):
                continue
            steps = {
                step.step_key: round(step.end_time - step.start_time, 1)
                for step in instance.get_run_step_stats(run.run_id)
                if step.start_time and step.end_time and step.end_time - step.start_time > 0.5
            }
            print(partition, run.status.value, steps)
            for record in instance.all_logs(run.run_id):
                event = record.dagster_event.event_type_value if record.dagster_event else None
                message = record.user_message or ""
                said = event is None and ("Sorting np" in message or "Waiting" in message)
                if record.step_key == "sorting" and (event in SHOWN or said):
                    at = dt.datetime.fromtimestamp(record.timestamp)
                    print(f"    {at:%H:%M:%S} {(event or message)[:90]}")


def busy(spans: dict[str, Span]) -> None:
    """Print the gap between the sorts, and the GPU's utilisation within and across them."""
    ordered = sorted(spans.values())
    if len(ordered) == 2:
        gap_s = ordered[1][0] - ordered[0][1]
        print(f"between the last line of the first sort and the first of the second: {gap_s:.1f} s")
    table = OUT / "utilisation.csv"
    if not table.is_file():
        return
    rows = []
    for line in table.read_text().splitlines():
        if line.count(", ") == 2:
            at, share, memory = line.split(", ")
            moment = dt.datetime.strptime(at[:23], "%Y/%m/%d %H:%M:%S.%f").timestamp()
            rows.append((moment, float(share), float(memory)))
    across = {"both sorts": (ordered[0][0], ordered[-1][1])} if len(ordered) == 2 else {}
    for name, (start, end) in (spans | across).items():
        within = [row for row in rows if start <= row[0] <= end] or [(0.0, 0.0, 0.0)]
        shares = [share for _, share, _ in within]
        idle = 100 * sum(share == 0 for share in shares) / len(shares)
        most = max(memory for *_, memory in within)
        print(f"GPU in {name}: mean {sum(shares) / len(shares):.0f} %, idle {idle:.0f} %, most memory {most:.0f} MiB")


def main() -> None:
    """Print all of it."""
    spans = stages()
    runs()
    busy(spans)


if __name__ == "__main__":
    main()
