"""The program as the plays start it is the program as people start it."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.plays.program import PROGRAM, WarmProcess, environment, run, start


@pytest.mark.parametrize(
    "words",
    [
        ("--version",),
        ("--help",),
        ("board", "--help"),
        ("no-such-command",),
        ("server", "list", "--json"),
        ("whoami",),
        ("serve", "--no-such-flag"),
        ("login", "ada", "--password-stdin"),
    ],
    ids=" ".join,
)
def test_a_fork_does_what_a_program_of_its_own_does(words: tuple[str, ...], tmp_path: Path) -> None:
    env = environment(MOOTHALL_CONFIG_DIR=str(tmp_path / "wallet"))
    told = run(words, env, stdin="a password\n", timeout=60)
    own = subprocess.run(
        [*PROGRAM, *words],
        input="a password\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=env,
    )
    assert (told.returncode, told.stdout, told.stderr) == (own.returncode, own.stdout, own.stderr)


def test_what_begins_python_otherwise_gets_a_program_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('begun otherwise')")
    told = run(["--version"], environment(PYTHONPATH=str(tmp_path)), timeout=60)
    assert told.stdout.startswith("begun otherwise\nmoothall ")


def test_a_fork_that_is_killed_says_so(tmp_path: Path) -> None:
    if not hasattr(os, "pidfd_open"):
        pytest.skip("there are no forks on this system")
    reader, writer = os.pipe()  # it waits for a password that never comes
    try:
        with (tmp_path / "told").open("wb") as told:
            streams = (reader, told.fileno(), told.fileno())
            process = start(["login", "ada", "--password-stdin"], streams, environment())
        assert isinstance(process, WarmProcess)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.0)
        process.kill()
        assert process.wait(30) == -signal.SIGKILL
        assert (process.poll(), process.returncode) == (-signal.SIGKILL, -signal.SIGKILL)
        process.send_signal(signal.SIGTERM)  # nobody else may have got it
    finally:
        os.close(reader)
        os.close(writer)
