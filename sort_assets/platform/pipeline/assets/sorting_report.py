"""The report of a recording: one page that says what came out, and what needs somebody's attention."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from sort_assets.config import SorterConfig
from sort_assets.curation.criteria import criteria_of
from sort_assets.platform.pipeline.catalog import lineage, step_tags
from sort_assets.platform.pipeline.config_resolver import RecordingConfigResolver
from sort_assets.platform.pipeline.materialization import GROUP, OWNERS, StagedAsset, staged
from sort_assets.platform.pipeline.partitions import recordings
from sort_assets.platform.pipeline.retries import CRASH_RETRIES
from sort_assets.platform.store.content_hash import hash_json
from sort_assets.platform.store.details import AssetDetails, ReportDetails
from sort_assets.platform.store.handles import StoredCuration, StoredSorting
from sort_assets.platform.store.layout import REPORT_FILE
from sort_assets.platform.store.store import Store
from sort_assets.recordings.key import RecordingKey

if TYPE_CHECKING:
    import pandas as pd
    from spikeinterface.core import SortingAnalyzer

    from sort_assets.reports import AttentionPoint, LineageStep, NoUnits, ReportContent, ReportFigure, SummaryNumber
    from sort_assets.reports.content import Level, ReportTable

_IN_THE_PAGE = ("kept_fraction_bar", "raster", "unit_positions", "drift")
"""Figures that the page of the asset shows; all are in the report."""


@dg.asset(
    partitions_def=recordings,
    group_name=GROUP,
    owners=OWNERS,
    code_version="1",
    op_tags=step_tags("sorting_report"),
    retry_policy=CRASH_RETRIES,
    kinds={"python", "html"},
    description=(
        "One HTML page per recording that needs nothing else: what went wrong, what is kept and why, all figures, all "
        "units, parameters and who chose them, and where it came from."
    ),
)
def sorting_report(
    context: dg.AssetExecutionContext, curated_units: StoredCuration, backend: dg.ResourceParam[RecordingConfigResolver]
) -> dg.MaterializeResult:
    with staged(context, backend, curated_units=curated_units) as asset:
        from sort_assets.reports import draw_unit_figures, write_report

        sorting = curated_units.sorting
        analyzer = curated_units.load_analyzer(job_kwargs=asset.job_kwargs)
        decisions, metrics = curated_units.decisions(), curated_units.metrics()
        figures, left_out = draw_unit_figures(
            asset.staging.figures,
            analyzer=analyzer,
            sorting=analyzer.sorting,
            metrics=metrics,
            decisions=decisions,
            criteria=criteria_of(curated_units.config),
            duration_s=sorting.details.duration_s,
        )
        for title, reason in left_out.items():
            context.log.info(f"The figure '{title}' is left out: {reason}")
        content = _content(asset, curated_units, metrics, decisions, figures, left_out)
        tables = (
            *_comparison_tables(asset, sorting),
            *_accuracy_tables(asset, curated_units, metrics),
            *_clock_tables(curated_units, analyzer),
        )
        content = replace(content, tables=tables)
        write_report(asset.staging.figures / REPORT_FILE, content)
        for figure in figures:
            if figure.name in _IN_THE_PAGE:
                asset.figures[figure.name] = figure.path
        address = asset.address(REPORT_FILE)
        return asset.publish(
            data_version=hash_json(
                {
                    "curated_units": curated_units.manifest.data_version,
                    "attention": [[point.level, point.message] for point in content.attention],
                }
            ),
            details=ReportDetails(attention=len(content.attention), figures_left_out=left_out),
            first={
                "report": dg.MetadataValue.md(f"[**Open the report**]({address})"),
                "result": content.headline,
                "needs_attention": dg.MetadataValue.md(
                    "\n".join(f"- **{point.level}**: {point.message} {point.remedy}" for point in content.attention)
                    or "Nothing."
                ),
            },
            metadata={},
        )


def _content(
    asset: StagedAsset,
    curated_units: StoredCuration,
    metrics: "pd.DataFrame",
    decisions: "pd.DataFrame",
    figures: "list[ReportFigure]",
    left_out: dict[str, str],
) -> "ReportContent":
    from sort_assets.reports import ReportContent, make_unit_table, parameters_in_force, with_shape_choices

    key = asset.staging.recording
    manifest = curated_units.manifest
    no_units = _no_units(curated_units)
    return ReportContent(
        title=RecordingKey.parse(key).path,
        recording_key=key,
        written_at=datetime.now(UTC),
        headline=_headline(curated_units),
        attention=tuple(_once(_attention(curated_units))),
        summary=tuple(_summary(curated_units)),
        loading=_loading(key),
        figures=tuple(figures),
        figures_left_out=left_out,
        units=None if no_units else make_unit_table(metrics, decisions, criteria_of(curated_units.config)),
        no_units=no_units,
        history=tuple(step.title for step in curated_units.history.steps),
        parameters=with_shape_choices(
            parameters_in_force(manifest.config, manifest.config_sources), curated_units.sorting.details.chosen_by_shape
        ),
        versions=manifest.packages,
        lineage=tuple(_lineage(curated_units)),
    )


def _loading(key: str) -> str:
    return (
        "import sort_assets\n\n"
        f'units = sort_assets.load("{key}", "curated_units")     # a SpikeInterface sorting: the kept units\n'
        f'metrics = sort_assets.load("{key}", "unit_metrics")    # a pandas DataFrame, all units\n'
        f'analyzer = sort_assets.load("{key}", "waveforms")      # a SpikeInterface SortingAnalyzer\n'
        f'files = sort_assets.load("{key}", "spike_data")        # what was delivered: NWB, npz, …'
    )


def _headline(curated_units: StoredCuration) -> str:
    details = curated_units.details
    if not details.num_units:
        return "There are no units."
    by = f", decided by {details.person}" if details.person else ""
    missed = ", ".join(curated_units.sorting.details.missed_groups)
    without = f" The spikes on the channels of {missed} were missed." if missed else ""
    return f"{details.num_kept} of {details.num_units} units are kept{by}.{without}"


def _no_units(curated_units: StoredCuration) -> "NoUnits | None":
    from sort_assets.reports import NoUnits

    if curated_units.details.num_units:
        return None
    reason = curated_units.sorting.details.unsortable
    return NoUnits(
        reason=reason or "The sorter found no units.",
        remedy="Look at the traces and the noise of preprocessed_recording: was the probe in tissue, and connected? "
        "Where there are spikes to be seen, lower the sorter's thresholds.",
    )


def _once(points: "Iterator[AttentionPoint]") -> "list[AttentionPoint]":
    """What several checks found is said once."""
    return list({point.message: point for point in reversed(list(points))}.values())[::-1]


def _attention(curated_units: StoredCuration) -> "Iterator[AttentionPoint]":
    """What went wrong or needs somebody, from all that the units were made from."""
    from sort_assets.reports import AttentionPoint

    details, sorting = curated_units.details, curated_units.sorting
    for step in lineage(curated_units):
        for check in step.manifest.details_as(AssetDetails).checks:
            if not check.passed:
                level: Level = "error" if check.severity == "ERROR" else "warning"
                message = check.description or f"The check {check.name} does not pass."
                yield AttentionPoint(level, message, source=f"{step.asset}, {check.name}")
    for group, reason in sorting.details.unsortable_groups.items():
        if group and not sorting.details.unsortable:
            words = f"Nothing could be sorted on the channels of {group}: {reason}"
            yield AttentionPoint("warning", words, source="sorting")
    for name, reason in curated_units.unit_metrics.waveforms.details.failed_extensions.items():
        yield AttentionPoint("note", f"{name} could not be computed: {reason}", source="waveforms")
    for note in details.notes:
        yield AttentionPoint("note", note, source="curated_units")
    for suggestion in details.suggestions:
        remedy = "Look at them in Phy, or set curation.apply_merges: true."
        yield AttentionPoint("note", suggestion, remedy, "curated_units")


def _summary(curated_units: StoredCuration) -> "Iterator[SummaryNumber]":
    from sort_assets.reports import SummaryNumber

    details, sorting = curated_units.details, curated_units.sorting
    medians = curated_units.unit_metrics.details.medians
    recording = sorting.binary_dat.preprocessed_recording.details
    config = sorting.manifest.config
    yield SummaryNumber("Units kept", f"{details.num_kept} of {details.num_units}")
    yield SummaryNumber("Spikes", f"{sorting.details.num_spikes:,}", "of all units")
    yield SummaryNumber("Duration", _duration(sorting.details.duration_s))
    if recording.channels is not None and recording.median_noise_uv is not None:
        yield SummaryNumber("Channels", str(recording.channels), f"noise {recording.median_noise_uv:.3g} µV")
    yield SummaryNumber("Sorter", config["sorter"]["name"], f"on {sorting.details.device}")
    if (snr := medians.get("snr")) is not None:
        yield SummaryNumber("Signal to noise", f"{snr:.3g}", "median of all units")


def _comparison_tables(asset: StagedAsset, sorting: StoredSorting) -> "tuple[ReportTable, ...]":
    """What became of the units of the sorting before, where there is one; a failure is logged, and fails no report."""
    from sort_assets.platform.pipeline.compared_sortings import compare_stored, sorting_before
    from sort_assets.reports.comparison_report import comparison_table

    before = sorting_before(Store(asset.roots.store), sorting.recording, sorting.manifest.version)
    if before is None:
        return ()
    try:
        compared = compare_stored(sorting, before)
    except Exception:
        asset.context.log.warning("The units could not be compared with those of the sorting before.", exc_info=True)
        return ()
    words = f"{compared.found.headline} Before: {compared.old.name}. The job compare_sortings gives all units."
    return (comparison_table(compared.found.pairs, "Compared with the sorting before", words),)


def _clock_tables(curated_units: StoredCuration, analyzer: "SortingAnalyzer") -> "tuple[ReportTable, ...]":
    from sort_assets.recordings import boundaries
    from sort_assets.reports.clock_table import clock_table

    clock = curated_units.sorting.clock
    files = boundaries(analyzer.recording) if analyzer.has_recording() else []
    doubts = curated_units.sorting.binary_dat.preprocessed_recording.details.clock_doubts
    return () if clock is None else (clock_table(clock, files, doubts),)


def _accuracy_tables(
    asset: StagedAsset, curated_units: StoredCuration, metrics: "pd.DataFrame"
) -> "tuple[ReportTable, ...]":
    """How well units like these are found, where that was measured on the rig with the settings of this sort."""
    from sort_assets.platform.pipeline.accuracy_history import measurements_sorted_alike
    from sort_assets.reports.accuracy_tables import like_these_units

    alike = measurements_sorted_alike(
        Store(asset.roots.store),
        asset.staging.recording,
        channels=curated_units.unit_metrics.details.channels,
        sorter=SorterConfig.model_validate(curated_units.sorting.manifest.config["sorter"]),
    )
    if not alike or "snr" not in metrics:
        return ()
    snrs = {str(unit): float(snr) for unit, snr in metrics["snr"].astype(float).items()}
    return (like_these_units([unit for one in alike for unit in one.units], snrs, recordings=len(alike)),)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, hours = seconds / 60, seconds / 3600
    return f"{minutes:.1f} min" if hours < 2 else f"{hours:.2f} h"


def _lineage(curated_units: StoredCuration) -> "Iterator[LineageStep]":
    """From the raw recording on."""
    from sort_assets.reports import LineageStep

    for step in lineage(curated_units):
        made = step.manifest.created
        yield LineageStep(step.asset, step.manifest.version, step.manifest.data_version, f"{made:%Y-%m-%d %H:%M} UTC")
