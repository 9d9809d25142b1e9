"""The store on disk: every name in it. It outlives the code, so that these names don't change.

::

    <store>/
      @all/units_across_recordings/   the summary over all recordings, versioned like any asset
      @compute_logs/                  what steps print, when an engine runs them on other hosts than the home's
      @lessons/                       memory profiles, one JSON file for each shape of a recording
      @node_checks/                   files by which `doctor --cluster` tries the store; removed at its end
      @recordings.sqlite              the recording catalogue of earlier versions, which is in the Dagster home now
      @rules/                         the last rules file without mistakes
      @what_if/<time>/                a store of its own, with sorts of a sample under rules that are not in force
      <recording's key>/
        <asset>/
          current                     a link to the newest version
          <version>/                  its name begins with the time at which it was begun, in UTC
            manifest.json             written last: without it the folder is no version
            removed.json              the manifest in its place, once retention removed the rest
            figures/                  stays when the rest is removed
            …                         what the asset wrote
          .staging-<version>/         being written
          .staging-<version>.lock     held by whoever writes; the kernel releases it when that process dies
          failed/<version>/
            failure.json              the record of a failed attempt
            logs/                     copies of its logs
            work/                     its working folder, where `execution.keep_failed_work` asks for it
        sorting/.sorting.lock         held by whoever sorts the recording

No recording's key begins with ``@`` or ``.``.
"""

from typing import Final

ALL_RECORDINGS: Final = "@all"
"""In place of a recording's key, for what is made of all recordings."""
LESSONS: Final = "@lessons"
COMPUTE_LOGS: Final = "@compute_logs"
NODE_CHECKS: Final = "@node_checks"
RULES_FOLDER: Final = "@rules"
WHAT_IF: Final = "@what_if"

CURRENT: Final = "current"
MANIFEST_NAME: Final = "manifest.json"
REMOVED_NAME: Final = "removed.json"
FIGURES: Final = "figures"

STAGING: Final = ".staging-"
LOCK_SUFFIX: Final = ".lock"
FRESH_LINK: Final = ".current-"
"""Beginning of the name of a link that is about to replace `CURRENT`."""
SORT_LOCK: Final = ".sorting.lock"

FAILED: Final = "failed"
FAILURE_NAME: Final = "failure.json"
LOGS: Final = "logs"
WORK: Final = "work"

SORTING_FOLDER: Final = "sorting"
"""In `sorting` and `curated_units`: the spike trains, in SpikeInterface's format."""
ANALYZER_FOLDER: Final = "analyzer"
"""In `waveforms`: SpikeInterface's `SortingAnalyzer`."""
METRICS_FILE: Final = "unit_metrics.parquet"
DECISIONS_FILE: Final = "decisions.parquet"
HISTORY_FILE: Final = "history.json"
SUGGESTED_MERGES_FILE: Final = "suggested_merges.json"
"""In `curated_units`: merges that nobody has decided on, in SpikeInterface's curation format."""
MANUAL_FILE: Final = "manual_curation.json"
REPORT_FILE: Final = "report.html"
