"""A failure is classified at once, however much the sorter wrote and however long its lines are."""

import signal
from time import process_time

import pytest

from sort_assets.backends.any_sorter_failures import COMMON_FAILURES
from sort_assets.backends.failure_classification import classify
from sort_assets.backends.failure_rules import Evidence
from sort_assets.backends.kilosort4.failures import FAILURE_RULES
from sort_assets.backends.spikeinterface_sorters import SortingComponentsBackend
from sort_assets.errors import HostOutOfMemoryError, SorterCrashedError, SorterFailedError
from sort_assets_tests.backends.test_failure_classification import REPLAYED, spikeinterface_error

ALL_RULES = (*FAILURE_RULES, *SortingComponentsBackend.failure_rules, *COMMON_FAILURES)
BAR = "{percent:3d}%|####      | {done}/9999 [00:03<00:04,  2.50it/s]"


def bars(num_bytes: int) -> str:
    """What tqdm writes in hours: one line."""
    count = num_bytes // 45
    return "\r".join(BAR.format(percent=100 * done // count, done=done) for done in range(count))


@pytest.mark.parametrize("exit_status", [None, -signal.SIGSEGV])
@pytest.mark.parametrize("text", ["", spikeinterface_error("KeyError: 'unit'")], ids=["no words", "unknown words"])
def test_hours_of_progress_bars_are_classified_at_once(text: str, exit_status: int | None) -> None:
    evidence = Evidence(text, log=bars(4_000_000), exit_status=exit_status)
    began = process_time()

    failure = classify(evidence, sorter="sorter", rules=ALL_RULES)

    assert process_time() - began < 1
    assert type(failure) is (SorterFailedError if exit_status is None else SorterCrashedError)
    assert "%|" not in failure.message + failure.log_excerpt


def test_megabytes_of_details_are_classified_within_seconds() -> None:
    detail = "2026-11-24 13:42:02,146 kilosort.clustering_qr DEBUG    Center: 12, spikes: 20317, clusters: 14\n"
    evidence = Evidence("", log=100_000 * detail, exit_status=-signal.SIGSEGV)  # 10 MB
    began = process_time()

    classify(evidence, sorter="sorter", rules=ALL_RULES)

    assert process_time() - began < 4


def test_words_right_after_a_progress_bar_are_heard() -> None:
    log = f"{bars(2000)}terminate called after throwing an instance of 'std::bad_alloc'"

    failure = classify(Evidence("", log=log, exit_status=-signal.SIGABRT), sorter="sorter")

    assert type(failure) is HostOutOfMemoryError
    assert failure.log_excerpt == "terminate called after throwing an instance of 'std::bad_alloc'"


def test_the_end_of_a_large_log_is_heard() -> None:
    failure = classify(Evidence("", log="starting\n" * 2_000_000 + "std::bad_alloc\n"), sorter="sorter")

    assert type(failure) is HostOutOfMemoryError


HOSTILE_CHARACTERS = ["a", " ", "1", "\n", "a ", " 1", "1,", "-", "(", "'", "1%|", "a\n ", ": ", "/a"]


@pytest.mark.slow
@pytest.mark.parametrize("hostile", HOSTILE_CHARACTERS, ids=repr)
def test_no_rule_is_slow_on_a_line_of_any_length(hostile: str) -> None:
    text = hostile * (1_000_000 // len(hostile))
    slow = []

    for rule in ALL_RULES:
        began = process_time()
        rule.pattern.search(text)
        if process_time() - began > 0.5:
            slow.append(rule.pattern.pattern)

    assert slow == []


@pytest.mark.release
@pytest.mark.slow
@pytest.mark.parametrize("separator", ["", " ", "\n"], ids=repr)
def test_no_text_that_nearly_matches_is_slow(separator: str) -> None:
    slow = []

    for exception, _ in REPLAYED:
        for end in range(10, len(exception), 40):
            nearly = (exception[:end] + separator) * (50_000 // end)
            began = process_time()
            classify(Evidence(nearly), sorter="sorter", rules=ALL_RULES)
            if process_time() - began > 0.5:
                slow.append(exception[:end])

    assert slow == []
