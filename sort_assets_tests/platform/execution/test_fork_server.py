"""The server that run workers and steps are forked from."""

import subprocess
import sys
from pathlib import Path

_CODE = """
import multiprocessing, os, signal, sys, time
from multiprocessing import forkserver


from sort_assets.platform.execution import fork_server

CONTEXT = multiprocessing.get_context("forkserver")


def step(queue):
    queue.put(("step of", os.getppid()))


def worker(queue):
    fork_server.share_fork_server()
    process = CONTEXT.Process(target=step, args=(queue,))
    process.start()
    process.join()
    queue.put(("exit code", process.exitcode))
    time.sleep(2)
    os._exit(7)


def main():
    fork_server.PRELOADED_MODULES[:] = ["json"]
    fork_server.start_fork_server()
    server = forkserver._forkserver._forkserver_pid
    queue = CONTEXT.Queue()
    process = CONTEXT.Process(target=worker, args=(queue,))
    process.start()
    seen = dict([queue.get(timeout=30), queue.get(timeout=30)])
    print("its server forked the step:", seen == {"step of": server, "exit code": 0})
    os.kill(server, signal.SIGKILL)
    time.sleep(0.2)
    print("it lives without its server:", process.is_alive())
    process.join()
    print("and has ended:", not process.is_alive(), process.exitcode)
    again = CONTEXT.Process(target=print, args=("another server forks",), kwargs={"flush": True})
    again.start()
    again.join()


if __name__ == "__main__":
    main()
"""


def test_a_process_forks_from_its_own_server_and_outlives_it(tmp_path: Path) -> None:
    (tmp_path / "forks.py").write_text(_CODE, encoding="utf-8")

    done = subprocess.run([sys.executable, "forks.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60)

    assert done.stdout.splitlines() == [
        "its server forked the step: True",
        "it lives without its server: True",
        "and has ended: True 255",
        "another server forks",
    ], done.stderr
