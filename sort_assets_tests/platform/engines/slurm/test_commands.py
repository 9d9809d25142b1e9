"""Slurm's commands against a real Slurm, and against programs that stand for one that is broken."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sort_assets.errors import EngineError, EngineUnavailableError
from sort_assets.platform.engines.slurm.commands import SlurmCommands
from sort_assets_tests.fixtures.slurm_cluster import SlurmCluster

SCRIPT = "#!/bin/bash\n#SBATCH --output=/dev/null\nsleep 30\n"


@pytest.fixture
def in_cluster(slurm: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmCluster]:
    """This process reaches the cluster, which has no jobs at the end."""
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)
    yield slurm
    for job in slurm.unfinished():
        slurm.run("scancel", job)
    slurm.wait_for(lambda: not slurm.unfinished(), "the end of all jobs")


def _broken(folder: Path, command: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program in place of one of Slurm's commands."""
    program = folder / command
    program.write_text(f"#!/bin/bash\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@pytest.mark.slow
@pytest.mark.xdist_group("slurm")
def test_a_job_is_submitted_seen_and_cancelled(in_cluster: SlurmCluster) -> None:
    commands = SlurmCommands()

    job = commands.submit(SCRIPT, name="one", options={"cpus-per-task": "1", "partition": "main"})

    in_cluster.wait_for(lambda: commands.jobs()[job].state == "RUNNING", "the job's start")
    found = commands.find("one")
    assert found is not None
    assert (found.job, found.node in ("n1", "n2")) == (job, True)
    assert commands.details(job)["JobState"] == "RUNNING"
    commands.cancel(job)
    in_cluster.wait_for(lambda: commands.jobs()[job].state == "CANCELLED", "the job's end")
    commands.cancel(job)
    commands.cancel("999999")
    assert commands.details("999999") == {}


@pytest.mark.slow
@pytest.mark.xdist_group("slurm")
def test_with_a_prefix_commands_go_through_a_shell_elsewhere(in_cluster: SlurmCluster, tmp_path: Path) -> None:
    login = tmp_path / "ssh"
    # As ssh does it: the words are joined, another shell splits them again, and the environment stays behind.
    login.write_text(
        "#!/bin/bash\necho Welcome to the login host\nshift\n"
        f'exec env -i HOME=/root SLURM_CONF={in_cluster.environment["SLURM_CONF"]} bash -c "$*"\n'
    )
    login.chmod(0o755)
    commands = SlurmCommands(prefix=(str(login), "login"))

    job = commands.submit(SCRIPT, name="through it's prefix", options={"comment": "a|b $HOME;"})

    assert in_cluster.run("squeue", "--noheader", "--format=%j|%k").strip() == "through it's prefix|a|b $HOME;"
    assert commands.jobs()[job].name == "through it's prefix"
    commands.cancel(job)


@pytest.mark.slow
@pytest.mark.xdist_group("slurm")
@pytest.mark.parametrize(
    ("options", "said", "remedy"),
    [
        ({"partition": "mian"}, "invalid partition", "sinfo"),
        ({"partition": "lab", "account": "typo"}, "account", "account"),
        ({"partition": "lab", "account": "neuro", "time": "9-0"}, "time limit", "less time"),
        ({"cpus-per-task": "64"}, "more processors", "No node of the partition"),
        ({"gres": "gpu:4"}, "configuration is not available", "No node of the partition"),
        ({"no-such-option": "1"}, "no-such-option", "same command in a terminal"),
    ],
)
def test_what_slurm_refuses_is_told_with_a_remedy(
    in_cluster: SlurmCluster, options: dict[str, str], said: str, remedy: str
) -> None:
    with pytest.raises(EngineError) as refused:
        SlurmCommands().submit(SCRIPT, name="refused", options=options)

    assert not isinstance(refused.value, EngineUnavailableError)
    assert said.lower() in refused.value.message.lower()
    assert remedy in refused.value.remedy


@pytest.mark.release
@pytest.mark.xdist_group("slurm")
def test_a_controller_that_is_down_is_unavailable_and_nothing_else(
    in_cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = SlurmCommands().submit(SCRIPT, name="survivor")
    in_cluster.stop_controller()
    try:
        with pytest.raises(EngineUnavailableError, match="Unable to contact"):
            SlurmCommands().jobs()
    finally:
        in_cluster.start_controller()

    assert job in SlurmCommands().jobs()


def test_a_command_that_hangs_is_ended_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _broken(tmp_path, "squeue", "sleep 60 & sleep 60", monkeypatch)
    began = time.monotonic()

    with pytest.raises(EngineUnavailableError, match=r"did not answer within 0\.5 s"):
        SlurmCommands(timeout_s=0.5).jobs()

    assert time.monotonic() - began < 10


def test_what_a_command_that_hangs_has_left_behind_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _broken(tmp_path, "squeue", "setsid sleep 30 &\nsleep 30", monkeypatch)
    began = time.monotonic()

    with pytest.raises(EngineUnavailableError, match="did not answer"):
        SlurmCommands(timeout_s=0.5).jobs()

    assert time.monotonic() - began < 20


def test_a_host_without_slurm_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(EngineError, match="`sbatch` is not found on this host") as missing:
        SlurmCommands().submit(SCRIPT, name="one")

    assert "SORT_ASSETS_SLURM_PREFIX" in missing.value.remedy


def test_a_login_host_that_is_away_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _broken(tmp_path, "ssh", "echo 'Permission denied (publickey).' >&2; exit 255", monkeypatch)

    with pytest.raises(EngineUnavailableError, match="Permission denied") as away:
        SlurmCommands(prefix=("ssh", "login")).jobs()

    assert "`ssh login squeue --me`" in away.value.remedy


def test_a_submission_without_a_job_id_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _broken(tmp_path, "sbatch", "cat > /dev/null; echo all is well", monkeypatch)

    with pytest.raises(EngineError, match="all is well"):
        SlurmCommands().submit(SCRIPT, name="one")
