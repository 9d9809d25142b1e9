"""How the processes of steps share the machine."""

import multiprocessing
import os
from multiprocessing.connection import Connection

from sort_assets.platform.execution.executor import leave_the_processor_to_sorts


def _as_a_step(answers: Connection) -> None:
    leave_the_processor_to_sorts()
    leave_the_processor_to_sorts()
    answers.send(os.nice(0))


def test_the_process_of_a_step_leaves_the_processor_to_sorts_once_and_any_other_keeps_its_priority() -> None:
    here, there = multiprocessing.Pipe()
    step = multiprocessing.get_context("fork").Process(target=_as_a_step, args=(there,))
    step.start()
    before = os.nice(0)
    leave_the_processor_to_sorts()

    assert here.recv() == max(before, 5)
    assert os.nice(0) == before
    step.join()
