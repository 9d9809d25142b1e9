"""Whatever CUDA says has one right answer; and who holds the memory that gave out."""

import inspect

import pynvml
import pytest

from sort_assets.backends.failure_classification import classify
from sort_assets.backends.failure_rules import Evidence
from sort_assets.backends.gpu_memory_report import read_memory_report
from sort_assets.backends.kilosort4 import stages
from sort_assets.backends.kilosort4.failures import FAILURE_RULES
from sort_assets.errors import DeviceOutOfMemoryError, GpuDriverError, SortAssetsError, TransientGpuError
from sort_assets_tests.backends.cuda_texts import MEMORY, RUNTIME, TAKEN, Answer, classified, retried, texts

GIB = 1024**3


@pytest.mark.parametrize(("text", "answer"), [pytest.param(*one, id=one[0].splitlines()[0][:90]) for one in texts()])
def test_each_text_has_its_class_its_retry_and_its_remedy(text: str, answer: Answer) -> None:
    failure = classified(text)

    assert (type(failure), retried(failure)) == (answer.kind, answer.retry)
    assert answer.remedy in failure.remedy


def test_all_of_them_are_known() -> None:
    assert len(list(texts())) >= 200
    assert sum(map(len, RUNTIME.values())) == 132  # all of CUDA 13.0 but "no error"


def test_no_remedy_sends_a_card_without_code_to_a_newer_driver() -> None:
    failure = classified("torch.AcceleratorError: CUDA error: no kernel image is available for execution on the device")

    assert "river" not in failure.remedy


def test_every_error_of_nvml_is_of_the_driver_or_passes() -> None:
    kinds = [kind for name, kind in inspect.getmembers(pynvml) if name.startswith("NVMLError_")]

    failures = [classified(f"pynvml.{kind.__name__}: {kind()}") for kind in kinds]

    assert len(kinds) > 25
    assert {type(failure) for failure in failures} == {GpuDriverError, TransientGpuError}


def of_kilosort(text: str, stage: str | None) -> SortAssetsError:
    return classify(Evidence(text, stage=stage, device="cuda"), sorter="kilosort4", rules=FAILURE_RULES)


def test_who_holds_the_memory_is_told() -> None:
    text = next(text for text, answer in texts() if answer is TAKEN)

    failure = of_kilosort(text, stages.FINAL_CLUSTERING)

    assert failure.message == (
        "Kilosort4 ran out of the GPU's memory in final clustering: 6.25 GiB more were asked for. Other programs "
        "(process 4711) hold 17.9 of the card's 23.6 GiB. Without them, there would have been enough."
    )
    assert "`ps -fp 4711`" in failure.remedy
    assert failure.diagnostics["bytes_asked"] == int(6.25 * GIB)
    assert failure.diagnostics["gpu_bytes_of_others"] == int(17.9 * GIB)
    assert failure.diagnostics["gpu_pids_of_others"] == "4711"


def test_a_desktop_is_not_blamed() -> None:
    text = next(text for text, answer in texts() if answer is MEMORY and "Process 911" in text)

    failure = of_kilosort(text, stages.DETECTION)

    assert type(failure) is DeviceOutOfMemoryError
    assert "Other programs (process 911) hold 0.4 of the card's 23.6 GiB." in failure.message
    assert "Lower sorter.params.batch_size" in failure.remedy


def test_in_a_container_no_pid_is_named() -> None:
    # NVML lists this process under a pid that it does not know for its own.
    text = [text for text, answer in texts() if answer is TAKEN][-1]

    report = read_memory_report(text)

    assert report is not None
    assert report.holders == {}
    assert report.others == pytest.approx((23.64 - 1.02 - 3.1 - 1.2 - 1.0) * GIB, rel=0.01)


@pytest.mark.parametrize("text", ["", "CUDA out of memory. Tried to allocate 2.00 GiB", "KeyError: 'Process 12'"])
def test_where_torch_does_not_say_who_holds_the_memory_nobody_is_blamed(text: str) -> None:
    assert read_memory_report(text) is None


def test_the_size_of_an_allocation_that_was_never_tried_is_read() -> None:
    text = next(text for text, _ in texts() if "preemptively" in text)

    assert classified(text).diagnostics["bytes_asked"] == int(6.25 * GIB)


def test_more_spikes_than_a_batch_has_room_for_ask_for_smaller_batches() -> None:
    text = next(text for text, _ in texts() if "run_matching" in text)

    failure = of_kilosort(text, stages.MATCHING)

    assert failure.stage == stages.MATCHING
    assert "100000 spikes" in failure.message
    assert "batch_size" in failure.remedy
