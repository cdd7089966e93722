"""How plays start the program: in a process of its own, whose modules are loaded already.

The plays start it more than a thousand times, and most of what a start costs is loading the
same modules. So one process loads them once, and each program is a fork of it, with streams,
environment and working folder of its own; from `main` on it is as one that was started anew.
Loading itself is shown by the plays that start `PROGRAM`, and by `test_wheel.py`.

Whoever edits it: nothing that is loaded here may start a thread.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

PROGRAM = (sys.executable, "-c", "from moothall.app.main import main; main()")

_WARM = """
import sys
from tests.plays.program import serve
serve(int(sys.argv[1]))
from moothall.app.main import main
main()
"""
_REQUEST_SIZE_BYTES_MAX = 131_072
_NUMBER_SIZE_BYTES_MAX = 16
_STREAMS = 3
_FORMATIVE = ("PYTHON", "LANG", "LC_", "LD_", "TZ")
"""Variables that act while Python starts; a fork cannot obey another value."""
_LOADED_LATE = ("anyio._backends._asyncio", "encodings.idna", "httpcore", "uvloop", "zxcvbn")
"""What the program loads when it is needed first, and what the modules that it has load then."""
_GONE = "the process that all others are forks of has ended"

Streams = tuple[int, int, int]
"""File descriptors of standard input, output and error."""


def environment(**extra: str) -> dict[str, str]:
    """Return the environment of a child: without settings of whoever runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MOOTHALL_")}
    # No play may write into the keyring of whoever runs it.
    kept["MOOTHALL_SECRETS"] = "file"
    return {**kept, "PYTHONUNBUFFERED": "1", "COLUMNS": "120", **extra}


class WarmProcess:
    """A program that was started by :func:`start`; used like ``subprocess.Popen``."""

    def __init__(self, pid: int, words: Sequence[str], status: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._words = words
        self._status = status

    def poll(self) -> int | None:
        """Return the exit status if it has ended, below 0 for the signal that ended it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, ``timeout`` seconds at most, and return its exit status.

        Raises:
            TimeoutExpired: It still runs.
        """
        if self.returncode is None:
            watch = select.poll()  # `select` takes no descriptor above 1,023
            watch.register(self._status, select.POLLIN)
            if not watch.poll(None if timeout is None else timeout * 1_000):
                raise subprocess.TimeoutExpired(list(self._words), timeout or 0.0)
            told = self._status.recv(_NUMBER_SIZE_BYTES_MAX)
            self._status.close()
            # Nobody is there to tell when the warm process has ended, which takes all along.
            self.returncode = int(told) if told else -signal.SIGKILL
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended just now
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it without a word."""
        self.send_signal(signal.SIGKILL)


Process = WarmProcess | subprocess.Popen[bytes]


def start(words: Sequence[str], streams: Streams, env: Mapping[str, str]) -> Process:
    """Start the program in the working folder of whoever asks.

    Args:
        words: Its arguments.
        streams: What becomes its standard input, output and error.
        env: Its environment.
    """
    warm = _warm() if hasattr(os, "pidfd_open") else None
    if warm is None or _formative(env) != _formative(warm.env):
        given, out, error = streams
        return subprocess.Popen([*PROGRAM, *words], stdin=given, stdout=out, stderr=error, env=env)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    request = json.dumps([list(words), dict(env), str(Path.cwd())]).encode()
    with theirs:
        socket.send_fds(warm.control, [request], [*streams, theirs.fileno()])
    pid = ours.recv(_NUMBER_SIZE_BYTES_MAX)
    assert pid, _GONE
    return WarmProcess(int(pid), words, ours)


def run(
    words: Sequence[str], env: Mapping[str, str], *, stdin: str = "", timeout: float
) -> "subprocess.CompletedProcess[str]":
    """Run the program to its end and return what it wrote.

    Raises:
        TimeoutExpired: It took longer than ``timeout`` seconds, and was killed.
    """
    with contextlib.ExitStack() as opened:
        given, out, error = (opened.enter_context(tempfile.TemporaryFile()) for _ in range(3))
        given.write(stdin.encode())
        given.seek(0)
        process = start(words, (given.fileno(), out.fileno(), error.fileno()), env)
        try:
            status = process.wait(timeout)
        finally:
            process.kill()
        out.seek(0)
        error.seek(0)
        return subprocess.CompletedProcess(
            list(words), status, out.read().decode(), error.read().decode()
        )


# --- The process that all others are forks of -----------------------------------------------------


class _Warm:
    """It, as the tests see it."""

    def __init__(self) -> None:
        self.env = environment()
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _WARM, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                cwd=Path(__file__).parents[2],
                env=self.env,
            )

    def end(self) -> None:
        """Let it end, which it does when nobody can ask any more."""
        self.control.close()
        self._process.wait()


@cache
def _warm() -> _Warm:
    """Return the one of this process."""
    warm = _Warm()
    atexit.register(warm.end)
    return warm


def _formative(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(_FORMATIVE)}


# --- Inside it ------------------------------------------------------------------------------------


def serve(control_fd: int) -> None:
    """Load the program, and fork until nobody can ask; returns in the forks alone."""
    _load()
    # Ctrl-C in a terminal comes here too; the tests end by it, and end this then.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=control_fd)
    watched = select.poll()
    watched.register(control, select.POLLIN)
    running: dict[int, tuple[int, int]] = {}
    while True:
        for ready, _ in watched.poll():
            if ready != control_fd:
                pid, status = running.pop(ready)
                watched.unregister(ready)
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                with contextlib.suppress(OSError):  # nobody may wait for it any more
                    os.write(status, str(code).encode())
                os.close(ready)
                os.close(status)
                continue
            request, fds, _, _ = socket.recv_fds(control, _REQUEST_SIZE_BYTES_MAX, _STREAMS + 1)
            if not request:  # nobody is there any more who would end what runs
                for pid, _ in running.values():
                    os.kill(pid, signal.SIGKILL)
                os._exit(0)
            pid = os.fork()
            if pid == 0:
                return _become(request, fds)
            *streams, status = fds
            for fd in streams:
                os.close(fd)
            with contextlib.suppress(OSError):  # who asked has gone already
                os.write(status, str(pid).encode())
            watch = os.pidfd_open(pid)
            running[watch] = (pid, status)
            watched.register(watch, select.POLLIN)


def _load() -> None:
    """Load what the program may need, as it does itself: the log comes first."""
    import moothall.app.main  # noqa: PLC0415 - the tests themselves need none of this

    # isort: split
    import moothall.app.log  # noqa: PLC0415

    names = [one.name for one in pkgutil.walk_packages(moothall.__path__, "moothall.")]
    program = [name for name in names if not name.startswith("moothall.testing")]
    for name in (*program, *_LOADED_LATE):
        importlib.import_module(name)
    assert threading.active_count() == 1, "a fork would lack the threads that were started"
    gc.collect()
    gc.freeze()


def _become(request: bytes, fds: Sequence[int]) -> None:
    """Make a fork the process that was asked for, all but its work."""
    words, env, folder = json.loads(request)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in range(_STREAMS):
        os.dup2(fds[number], number)
    os.closerange(_STREAMS, os.sysconf("SC_OPEN_MAX"))
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    sys.argv[1:] = words
