"""Which past runs count: those on the same device and with the same sorter."""

import numpy as np
import pytest

from sort_assets.forecasts.history import CostHistory, PastStep, StepKind
from sort_assets.forecasts.totals import AtATime, PlannedRecording, PlannedStep, forecast, forecast_step

SEEDS = 300
OLD_GPU, NEW_GPU = "RTX A4000", "NVIDIA H200"
SIZE = 1e9


def past(
    number: int,
    *,
    device: str = NEW_GPU,
    step: str = "sorting",
    settings: str = "a",
    sorter: str = "kilosort4",
    **costs: float,
) -> PastStep:
    return PastStep(
        step=step,
        made_at=float(number),
        size=SIZE,
        device=device,
        on_gpu=device in (OLD_GPU, NEW_GPU),
        sorter=sorter,
        settings=settings,
        costs={"wall_s": 100.0, "cpu_s": 50.0, "gpu_s": 90.0, "peak_memory_bytes": 1e9, "disk_bytes": 1e6, **costs},
    )


def kind(step: str = "sorting", settings: str = "a", **more: bool | str) -> StepKind:
    return StepKind(step=step, sorter="kilosort4", settings=settings, **more)  # type: ignore[arg-type]


def test_the_80_percent_interval_covers_80_percent_after_a_change_of_device() -> None:
    covered = 0
    for seed in range(SEEDS):
        generator = np.random.default_rng(seed)
        sizes = np.exp(generator.uniform(np.log(1e8), np.log(1e10), 43))
        factor = np.where(np.arange(43) < 30, 5.0, 1.0)  # the new GPU takes a fifth
        costs = factor * (60 + 3e-7 * sizes) * np.exp(generator.normal(0, 0.3, 43))
        history = CostHistory(
            PastStep(
                step="sorting",
                made_at=float(number),
                size=float(sizes[number]),
                device=OLD_GPU if number < 30 else NEW_GPU,
                on_gpu=True,
                sorter="kilosort4",
                settings="a",
                costs={"wall_s": float(costs[number])},
            )
            for number in range(42)
        )

        found = forecast_step(PlannedStep(history.basis(kind())), float(sizes[42]))["wall_s"]

        covered += found.p10 <= costs[42] <= found.p90
    assert 0.7 <= covered / SEEDS <= 0.9


def test_a_change_of_device_starts_a_new_history() -> None:
    history = CostHistory([past(number, device=OLD_GPU) for number in range(20)] + [past(30 + n) for n in range(4)])

    basis = history.basis(kind())

    assert basis.device == NEW_GPU
    assert not basis.models
    assert basis.words == "no history: 4 runs on NVIDIA H200 of at least 5 (with kilosort4)"


def test_who_names_the_device_gets_its_history() -> None:
    history = CostHistory([past(number, device=OLD_GPU) for number in range(20)] + [past(30 + n) for n in range(4)])

    assert history.basis(kind(device=OLD_GPU)).words == "20 runs on RTX A4000"


def test_a_sort_on_the_cpu_is_not_forecast_from_sorts_on_a_gpu() -> None:
    history = CostHistory([past(number) for number in range(20)] + [past(-1, device="AMD EPYC")])

    assert history.basis(kind(on_gpu=False)).words == "no history: 1 run on AMD EPYC of at least 5 (with kilosort4)"


def test_the_same_settings_count_once_there_are_enough_such_runs() -> None:
    others = [past(number, settings="b", wall_s=1000.0) for number in range(20)]
    few, enough = ([past(30 + number) for number in range(count)] for count in (4, 5))

    mixed, same = CostHistory(others + few).basis(kind()), CostHistory(others + enough).basis(kind())

    assert mixed.words == "24 runs on NVIDIA H200, with other settings"
    assert same.words == "5 runs on NVIDIA H200"
    assert forecast_step(PlannedStep(same), SIZE)["wall_s"].p50 == pytest.approx(100, rel=0.05)


def test_without_any_run_there_is_no_history() -> None:
    assert CostHistory([]).basis(kind()).words == "no history: 0 runs of at least 5 (with kilosort4)"


def test_steps_that_read_the_same_result_run_side_by_side() -> None:
    history = CostHistory(past(number, step=step) for number in range(20) for step in ("sorting", "report", "delivery"))
    sorting, *others = (
        PlannedStep(history.basis(kind(step)), after="sorting") for step in ("sorting", "report", "delivery")
    )

    found = forecast([PlannedRecording("a", SIZE, (sorting, *others))])

    assert found.costs["wall_s"].p50 == pytest.approx(200, rel=0.05)
    assert found.costs["cpu_s"].p50 == pytest.approx(150, rel=0.05)
    assert found.costs["peak_memory_bytes"].p50 == pytest.approx(1e9, rel=0.1)


def test_a_backlog_is_shared_among_the_gpus() -> None:
    basis = CostHistory(past(number) for number in range(20)).basis(kind())
    ten = [PlannedRecording(str(number), SIZE, (PlannedStep(basis, takes_pool=True),)) for number in range(10)]

    one_by_one, on_two = forecast(ten, AtATime(runs=5)), forecast(ten, AtATime(runs=5, sorts=2))

    assert one_by_one.costs["wall_s"].p50 == pytest.approx(1000, rel=0.05)
    assert on_two.costs["wall_s"].p50 == pytest.approx(500, rel=0.05)
    assert on_two.costs["disk_bytes"].p50 == pytest.approx(1e7, rel=0.05)


def test_a_sum_is_more_certain_than_its_parts() -> None:
    generator = np.random.default_rng(0)
    basis = CostHistory(past(n, wall_s=float(100 * np.exp(generator.normal(0, 0.5)))) for n in range(50)).basis(kind())

    def width(number: int) -> float:
        planned = [PlannedRecording(str(one), SIZE, (PlannedStep(basis),)) for one in range(number)]
        found = forecast(planned).costs["wall_s"]
        return (found.p90 - found.p10) / found.p50

    assert width(100) < width(1) / 2


def test_what_can_not_be_forecast_is_left_out_and_says_why() -> None:
    history = CostHistory(past(number) for number in range(20))
    step, new = PlannedStep(history.basis(kind())), PlannedStep(history.basis(kind("waveforms")))

    found = forecast(
        [
            PlannedRecording("a", SIZE, (step,)),
            PlannedRecording("b", None, (step,)),
            PlannedRecording("c", SIZE, (new,)),
        ]
    )

    assert found.recordings == 1
    assert found.without_forecast == {
        "b": ("its channels and length are not known yet",),
        "c": ("waveforms: no history: 0 runs of at least 5 (with kilosort4)",),
    }
    assert forecast([]).costs == {}


def test_the_same_question_gets_the_same_answer() -> None:
    basis = CostHistory(past(number, wall_s=100.0 + number) for number in range(20)).basis(kind())
    planned = [PlannedRecording("a", SIZE, (PlannedStep(basis),))]

    assert forecast(planned) == forecast(planned)


def test_thousands_of_recordings_take_little_memory() -> None:
    basis = CostHistory(past(number) for number in range(20)).basis(kind())

    found = forecast([PlannedRecording(str(one), SIZE, (PlannedStep(basis),)) for one in range(5000)])

    assert found.costs["gpu_s"].p50 == pytest.approx(5000 * 90, rel=0.05)
