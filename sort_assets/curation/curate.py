"""Deciding which units of a sorting are kept, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from sort_assets.config import CurationConfig, MetricsConfig, SortingPipelineConfig
from sort_assets.curation.bombcell import bombcell_labels, bombcell_thresholds
from sort_assets.curation.criteria import apply_criteria, criteria_of
from sort_assets.curation.decisions import DUPLICATE, UnitDecision, decide, decisions_table
from sort_assets.curation.duplicates import Duplicate, find_duplicates
from sort_assets.curation.history import (
    COINCIDENCE_MS,
    CurationHistory,
    HistoryStep,
    UnitId,
    curation_of,
    hash_spikes,
    new_unit_ids,
    plain_ids,
    restructure,
    with_verdicts,
)
from sort_assets.curation.manual import ManualCuration, manual_decisions
from sort_assets.curation.merging import MergeSuggestion, suggest_merges
from sort_assets.errors import CurationError
from sort_assets.metrics.compiled import keep_compiled
from sort_assets.metrics.extensions import FAILURES_OF_THE_MACHINE, format_error
from sort_assets.metrics.metric_names import check_metric_names

if TYPE_CHECKING:
    import pandas as pd
    from spikeinterface.core import BaseSorting, SortingAnalyzer

    from sort_assets.metrics.unit_metrics import UnitMetrics

Result = TypeVar("Result")
Measure = Callable[["SortingAnalyzer"], "UnitMetrics"]


@dataclass(frozen=True)
class CuratedUnits:
    """The units after curation.

    Attributes
    ----------
    table : pd.DataFrame
        The decision on every unit after merges and splits, kept or not; columns as `decision_columns` declares.
    metrics : UnitMetrics
        The metrics of the same units.
    history : CurationHistory
        How they came about; `history.replay` does it again.
    sorting : BaseSorting
        All units after merges and splits, with the properties `label` and `kept`.
    suggestions : tuple of MergeSuggestion
        Units that may be one, applied or not.
    notes : tuple of str
        Sentences on what could not be decided.
    """

    table: pd.DataFrame
    metrics: UnitMetrics
    history: CurationHistory
    sorting: BaseSorting
    suggestions: tuple[MergeSuggestion, ...]
    notes: tuple[str, ...]


def check_unit_settings(config: SortingPipelineConfig) -> None:
    """Check that all configured metrics, columns and thresholds exist, before hours are spent on a sort.

    Raises
    ------
    ConfigError
        With the nearest name.
    """
    check_metric_names(config.metrics)
    criteria_of(config.curation)
    bombcell_thresholds(config.curation)


def curate(
    analyzer: SortingAnalyzer,
    metrics: UnitMetrics,
    config: CurationConfig,
    *,
    manual: ManualCuration | None = None,
    measure: Measure | None = None,
    job_kwargs: Mapping[str, Any] | None = None,
) -> CuratedUnits:
    """Decide which units are kept.

    First thresholds and Bombcell reject. Of what is left, duplicates are dropped and merges are suggested, so that
    a bad unit neither displaces a good one nor is merged into it. What a person decided goes on top and wins: labels
    overrule, and where a person curated, nothing else is merged automatically.

    Parameters
    ----------
    analyzer : SortingAnalyzer
        Of the units that the sorter found, complete. It is not changed.
    metrics : UnitMetrics
        On which is decided; of the same units, of the whole recording or of an epoch.
    config : CurationConfig
    manual : ManualCuration or None
        What a person decided, about the units of `analyzer` (see `ManualCuration.after`).
    measure : callable or None
        Computes the metrics of an analyzer after merges and splits, which has units that `metrics` does not know;
        None computes the default ones of the whole recording.
    job_kwargs : mapping or None
        SpikeInterface's job arguments.

    Returns
    -------
    CuratedUnits

    Raises
    ------
    ConfigError
        When the configuration names unknown metrics.
    CurationError
        When `metrics` or `manual` is about other units.
    """
    keep_compiled()
    return _Curator(analyzer, metrics, config, manual, measure, dict(job_kwargs or {})).curate()


class _Curator:
    """One call of `curate`: keeps the steps and the notes while they are made."""

    def __init__(
        self,
        analyzer: SortingAnalyzer,
        metrics: UnitMetrics,
        config: CurationConfig,
        manual: ManualCuration | None,
        measure: Measure | None,
        job_kwargs: dict[str, Any],
    ) -> None:
        self.analyzer, self.metrics, self.config, self.manual = analyzer, metrics, config, manual
        self.job_kwargs = job_kwargs
        self.measure = measure or self._measure_all
        self.criteria = criteria_of(config)
        self.ids = plain_ids(analyzer.sorting)
        self.steps: list[HistoryStep] = []
        self.notes: list[str] = [] if manual is None else list(manual.notes)
        self._check_inputs()

    def _check_inputs(self) -> None:
        if list(self.metrics.table.index) != [str(unit_id) for unit_id in self.ids]:
            raise CurationError(
                "The metrics are not of the units that are to be curated.",
                remedy="Compute unit_metrics of this sorting, and curate again.",
            )
        if self.manual is not None and not self.manual.is_about(self.analyzer.sorting):
            raise CurationError(
                f"What {self.manual.user} decided in '{self.manual.path}' is about other units than these.",
                remedy="Import a curation of these units, or go back to the automatic one; what was decided stays.",
                curated=len(self.manual.unit_ids),
                units=len(self.ids),
            )

    def curate(self) -> CuratedUnits:
        decisions = self._automatic_decisions()
        suggestions = self._suggestions([unit_id for unit_id in self.ids if decisions[unit_id].kept])
        applied = self.config.apply_merges and self.manual is None
        made_by_merge = self._merge(suggestions) if applied else {}
        if applied:
            suggestions = [replace(each, applied=True) for each in suggestions]
        elif self.config.apply_merges and suggestions:
            self.notes.append("No suggested merge was applied, because a person curated these units.")
        self.steps += self.manual.steps if self.manual is not None else []

        sorting = self.analyzer.sorting
        for step in self.steps:
            parts, sorting = sorting, restructure(sorting, step.curation, censor_ms=step.censor_ms)
            self._note_shared_spikes(step, parts, sorting)
        ids = plain_ids(sorting)
        metrics = self._metrics_of(ids)
        table = self._final_decisions(ids, metrics, decisions, made_by_merge)
        kept = {unit_id for unit_id, keep in zip(ids, table["kept"], strict=True) if keep}
        labels = dict(zip(ids, table["label"], strict=True))
        self.steps.append(
            HistoryStep(
                title="Decision on every unit",
                made_by={"rule": "units that are not kept are removed"},
                curation=curation_of(ids, labels=labels, removed=[each for each in ids if each not in kept]),
                reasons=table["reason"].to_dict(),
            )
        )
        return CuratedUnits(
            table=table,
            metrics=metrics,
            history=CurationHistory(unit_ids=self.ids, spikes=hash_spikes(self.analyzer.sorting), steps=self.steps),
            sorting=with_verdicts(sorting, labels, kept),
            suggestions=tuple(suggestions),
            notes=tuple(dict.fromkeys(self.notes)),
        )

    def _automatic_decisions(self) -> dict[UnitId, UnitDecision]:
        """What criteria, Bombcell and duplicates decide of the units of the sorter."""
        decisions = self._decide(self.ids, self.metrics)[0]
        self._note_labels("Thresholds and Bombcell", decisions, self._rules())
        if self.config.remove_duplicates:
            passing = [unit_id for unit_id in self.ids if decisions[unit_id].kept]
            none: list[Duplicate] = []
            duplicates = self._try(
                "Duplicates were not looked for",
                lambda: find_duplicates(self.analyzer, passing, self.config.duplicate_overlap),
                none,
            )
            dropped = {each.unit_id: UnitDecision(DUPLICATE, False, each.reason, "duplicates") for each in duplicates}
            rule = {"duplicate_overlap": self.config.duplicate_overlap, "coincidence_ms": COINCIDENCE_MS}
            self._note_labels("Duplicates", dropped, {"spikeinterface.remove_redundant_units": rule})
            decisions |= dropped
        return decisions

    def _decide(
        self, ids: list[UnitId], metrics: UnitMetrics
    ) -> tuple[dict[UnitId, UnitDecision], Callable[[dict[UnitId, UnitDecision]], pd.DataFrame]]:
        """What criteria and Bombcell decide, and what makes the table of decisions."""
        results = apply_criteria(metrics.table, self.criteria, metrics.failed)
        labels, notes = bombcell_labels(metrics.table, self.config, metrics.failed)
        self.notes += [*results.notes, *notes]
        decisions = {unit_id: decide(str(unit_id), results, str(labels[str(unit_id)]), self.config) for unit_id in ids}
        return decisions, lambda final: decisions_table(ids, final, results, labels, self.config)

    def _rules(self) -> dict[str, Any]:
        return {
            "thresholds": {each.name: each.threshold for each in self.criteria},
            "bombcell": bombcell_thresholds(self.config),
            "reject_bombcell": list(self.config.reject_bombcell),
        }

    def _suggestions(self, unit_ids: list[UnitId]) -> list[MergeSuggestion]:
        preset = self.config.merge_preset
        if preset is None:
            return []
        none: tuple[list[MergeSuggestion], tuple[str, ...]] = ([], ())
        suggestions, notes = self._try(
            "Merges were not suggested", lambda: suggest_merges(self.analyzer, unit_ids, preset), none
        )
        self.notes += notes
        return suggestions

    def _merge(self, suggestions: list[MergeSuggestion]) -> dict[UnitId, str]:
        """Record the merges as a step; returns a sentence for each new unit on how it was made."""
        if not suggestions:
            return {}
        new = new_unit_ids(self.ids, len(suggestions), "merge")
        merges = {name: list(each.unit_ids) for name, each in zip(new, suggestions, strict=True)}
        words = {
            name: replace(each, applied=True).words.rstrip(".") for name, each in zip(new, suggestions, strict=True)
        }
        self.steps.append(
            HistoryStep(
                title="Merges",
                made_by={"spikeinterface.compute_merge_unit_groups": {"preset": self.config.merge_preset}},
                curation=curation_of(self.ids, merges=merges),
                censor_ms=COINCIDENCE_MS,
                reasons={str(name): f"{each}." for name, each in words.items()},
            )
        )
        return words

    def _metrics_of(self, ids: list[UnitId]) -> UnitMetrics:
        """The given metrics, and those of the units that a merge or split made."""
        if ids == self.ids:
            return self.metrics
        import pandas as pd

        made = [str(unit_id) for unit_id in ids if unit_id not in set(self.ids)]

        measured = self._try("Units that were merged or split have no metrics", self._measure_made, None)
        order = [str(unit_id) for unit_id in ids]
        table = self.metrics.table.reindex(order)
        if measured is None:
            return replace(self.metrics, table=table)
        rows = [self.metrics.table.loc[self.metrics.table.index.isin(order)], measured.table.loc[made]]
        table = pd.concat(rows).reindex(order).astype(self.metrics.table.dtypes.to_dict())
        table.index.name = self.metrics.table.index.name
        return replace(self.metrics, table=table, failed={**self.metrics.failed, **measured.failed})

    def _measure_made(self) -> UnitMetrics | None:
        analyzer = self.analyzer
        try:
            for step in self.steps:
                analyzer = restructure(analyzer, step.curation, censor_ms=step.censor_ms, job_kwargs=self.job_kwargs)
        except CurationError as error:
            self.notes.append(f"Units that were merged or split have no metrics: {error.message}")
            return None
        return self.measure(analyzer)

    def _final_decisions(
        self,
        ids: list[UnitId],
        metrics: UnitMetrics,
        decisions: dict[UnitId, UnitDecision],
        made_by_merge: dict[UnitId, str],
    ) -> pd.DataFrame:
        """The table: what was decided before of units that are still there, and of new ones by the same rules."""
        by_rules, make_table = self._decide(ids, metrics)
        by_person = manual_decisions(self.manual) if self.manual is not None else {}
        final = {}
        for unit_id in ids:
            decision = decisions.get(unit_id, by_rules[unit_id])
            manual = by_person.get(unit_id)
            if unit_id in made_by_merge:
                decision = decision.made(made_by_merge[unit_id], "merge")
            elif manual is not None and manual.made:
                decision = decision.made(manual.made, "person" if manual.by_person else "merge")
            final[unit_id] = decision.overruled(manual) if manual is not None else decision
        return make_table(final)

    def _note_shared_spikes(self, step: HistoryStep, parts: BaseSorting, merged: BaseSorting) -> None:
        """Note how many spikes of merged units count once because several of the units had found them."""
        if not step.curation["merges"]:
            return
        before, once = parts.count_num_spikes_per_unit(), merged.count_num_spikes_per_unit()
        if step.censor_ms is None:
            once = restructure(parts, step.curation, censor_ms=COINCIDENCE_MS).count_num_spikes_per_unit()
        for merge in step.curation["merges"]:
            ids, new = merge["unit_ids"], merge["new_unit_id"]
            together = sum(int(before[unit_id]) for unit_id in ids)
            shared = together - int(once[new])
            what = f"{new} was merged of {', '.join(map(str, ids))}; {shared:,} of {together:,} spikes were found twice"
            if shared and step.censor_ms is None:
                self.notes.append(f"{what}. They count twice: import that curation again to have each once.")
            elif shared:
                self.notes.append(f"{what}, less than {step.censor_ms:g} ms apart: they count once.")

    def _note_labels(self, title: str, decisions: Mapping[UnitId, UnitDecision], made_by: dict[str, Any]) -> None:
        labels = {unit_id: each.label for unit_id, each in decisions.items()}
        reasons = {str(unit_id): each.reason for unit_id, each in decisions.items()}
        self.steps.append(
            HistoryStep(title=title, made_by=made_by, curation=curation_of(self.ids, labels=labels), reasons=reasons)
        )

    def _try(self, what: str, compute: Callable[[], Result], otherwise: Result) -> Result:
        """The result of one part, or `otherwise` when it fails; the reason becomes a note and the other parts go on."""
        try:
            return compute()
        except FAILURES_OF_THE_MACHINE:
            raise
        except Exception as error:
            self.notes.append(f"{what}: {format_error(error).rstrip('.')}.")
            return otherwise

    def _measure_all(self, analyzer: SortingAnalyzer) -> UnitMetrics:
        from sort_assets.metrics.unit_metrics import compute_unit_metrics

        return compute_unit_metrics(analyzer, MetricsConfig(), job_kwargs=self.job_kwargs)
