"""`sort-assets doctor`: what is wrong with rules and notifications, without a secret on the screen."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sort_assets.machine import gpus
from sort_assets.platform.cli.doctor_gpus import tell_unusable_gpus
from sort_assets.platform.store.locks import exclusive_lock
from sort_assets_tests.fixtures.fake_driver import A4000, GTX_1080_TI, FakeDriver
from sort_assets_tests.fixtures.home import Finished, Home


def test_mistakes_in_the_rules_and_in_a_notification_url_are_found(home: Home) -> None:
    (home.roots.recordings / "sort_assets.yaml").write_text("rules: [{match: '*', ignroe: true}]")
    home = replace(home, variables={**home.variables, "SORT_ASSETS_NOTIFY": "nonsense://hunter2@nowhere"})

    done = home.invoke("doctor", "--json")

    found = {one["subject"]: one for one in json.loads(done.stdout)}
    assert done.status == 1
    assert "line 1" in found["sort_assets.yaml"]["detail"]
    assert found["notifications"]["level"] == "error"
    assert "hunter2" not in done.output


def shown_of_gpus(done: Finished) -> list[tuple[str, str, str]]:
    rows = json.loads(done.stdout)
    return [(one["level"], one["detail"], one["remedy"]) for one in rows if one["subject"].startswith("gpu")]


def test_a_card_on_which_torch_computes_is_named_with_its_driver(home: Home, driver: FakeDriver) -> None:
    driver.answer(A4000)

    done = home.invoke("doctor", "--json")

    ((level, detail, remedy),) = shown_of_gpus(done)
    assert level == "ok"
    assert "NVIDIA RTX A4000 (driver 580.95.05, compute capability 8.6), 16 GiB, 15 GiB free, GPU-a4000" in detail
    assert "torch computes on it" in detail
    assert "nvidia-smi -pm 1" in remedy
    assert done.status == 0


def test_a_card_on_which_every_sort_would_fail_is_an_error_with_the_cure(home: Home, driver: FakeDriver) -> None:
    driver.answer(f"{A4000};driver=550.54.14;cuda=12040", driver=12040)

    done = home.invoke("doctor", "--json")

    ((level, detail, remedy),) = shown_of_gpus(done)
    assert level == "error"
    assert "torch 2.13.0+cu130 needs CUDA 13.0, and the driver knows CUDA 12.4 only" in detail
    assert "make TORCH_BUILD=cu126" in remedy
    assert done.status == 1


def test_a_card_that_is_full_with_our_own_sort_is_no_error(home: Home, driver: FakeDriver) -> None:
    driver.answer(f"{A4000};mode=0:3", init=46)  # its compute mode is exclusive

    with exclusive_lock(Path(home.variables["SORT_ASSETS_LEASES"]) / "GPU-a4000.lock", make_folder=True):
        ((level, detail, _),) = shown_of_gpus(home.invoke("doctor", "--json"))
    ((level_after, _, _),) = shown_of_gpus(home.invoke("doctor", "--json"))

    assert (level, level_after) == ("ok", "error")
    assert "GPU-a4000: a sort is using it" in detail


def test_up_and_demo_say_of_a_card_or_a_driver_that_can_t_be_used_why(driver: FakeDriver) -> None:
    driver.answer(f"{GTX_1080_TI};{A4000};gpu=lost,GPU-lost,8,0,8.6;handle=2:15", capability="GPU-1080=61")
    said: list[str] = []

    tell_unusable_gpus(said.append)
    driver.answer("init=18")
    tell_unusable_gpus(said.append)

    pascal, lost, mismatch = said
    assert "GTX 1080 Ti" in pascal
    assert "make TORCH_BUILD=cu126" in pascal
    assert "GPU is lost" in lost
    assert "Reboot" in mismatch


def test_of_several_cards_each_is_told_and_one_that_works_is_enough(home: Home, driver: FakeDriver) -> None:
    driver.answer(f"{GTX_1080_TI};{A4000};gpu=lost,GPU-lost,8,0,8.6;handle=2:15", capability="GPU-1080=61")

    done = home.invoke("doctor", "--json")

    pascal, works, lost = shown_of_gpus(done)
    assert (pascal[0], works[0], lost[0]) == ("warning", "ok", "warning")
    assert "has no code for this card" in pascal[1]
    assert "GPU is lost" in lost[1]
    assert done.status == 0


def test_a_driver_that_hangs_is_told_within_seconds(
    home: Home, driver: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.answer("hang=init")
    monkeypatch.setattr(gpus, "_LIMIT_S", 1.0)

    done = home.invoke("doctor", "--json")

    ((level, detail, _),) = shown_of_gpus(done)
    assert (level, done.status) == ("error", 1)
    assert "does not answer" in detail


def test_an_order_of_cards_that_cuda_reads_differently_is_warned_of(
    home: Home, driver: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.answer(f"{GTX_1080_TI};{A4000}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")

    (order, _) = shown_of_gpus(home.invoke("doctor", "--json"))
    assert order[0] == "warning"
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in order[2]

    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    assert len(shown_of_gpus(home.invoke("doctor", "--json"))) == 1


@pytest.mark.slow
def test_a_card_whose_memory_others_hold_is_warned_of_with_their_pids(home: Home, driver: FakeDriver) -> None:
    driver.answer("gpu=NVIDIA A100,GPU-a100,80,77,8.0;proc=4711:77", capability=80)

    # In a process of its own, which loads the driver's library.
    ((level, detail, remedy),) = shown_of_gpus(home.command("sort-assets", "doctor", "--json"))

    assert level == "warning"
    assert "3 GiB free, GPU-a100: torch computes on it; little of its memory is free, pid 4711 holds 77 GiB" in detail
    assert "end it or wait" in remedy


@pytest.mark.parametrize(
    ("vendor", "says"),
    [("0x10de", "its driver is not installed"), ("0x1002", "those of AMD are not used"), ("0x8086", "none found")],
)
def test_without_a_driver_it_is_said_what_card_is_there(
    vendor: str, says: str, home: Home, driver: FakeDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.answer("init=12")
    card = tmp_path / "pci" / "0000:01:00.0"
    card.mkdir(parents=True)
    (card / "vendor").write_text(f"{vendor}\n")
    (card / "class").write_text("0x030000\n")
    monkeypatch.setattr(gpus, "_PCI", card.parent)

    ((level, detail, _),) = shown_of_gpus(home.invoke("doctor", "--json"))

    assert level == "warning"
    assert says in detail


def test_cards_that_are_hidden_are_named(home: Home, driver: FakeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    driver.answer(A4000)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    ((level, detail, _),) = shown_of_gpus(home.invoke("doctor", "--json"))

    assert level == "warning"
    assert "CUDA_VISIBLE_DEVICES hides all (NVIDIA RTX A4000)" in detail
