"""A process beside the bench that does what it is told, one command after the other.

A command and its answer are a line of JSON each, on standard input and output. The process says
``null`` once it is ready and ends with its standard input.
"""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

ROOT = Path(__file__).resolve().parent.parent
LINE_BYTES_MAX = 64 * 1_048_576
END_S_MAX = 20.0

Told = TypeVar("Told")


class WorkerError(Exception):
    """A process of the bench ended, or answered what it should not."""


class Worker:
    """The driver's side of such a process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.pid = process.pid

    def tell(self, command: object) -> None:
        """Send a command; its answer is to be heard afterwards."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(msgspec.json.encode(command) + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise WorkerError(f"a process of the bench has ended: {error}") from error

    def hear(self, form: type[Told]) -> Told:
        """Wait for the answer to the oldest command that has none.

        Raises:
            WorkerError: The process ended; what it had to say is on standard error.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError(f"a process of the bench ended with {self._process.wait()}")
        return msgspec.json.decode(line, type=form)

    def ask(self, command: object, form: type[Told]) -> Told:
        """Send a command and wait for its answer.

        Raises:
            WorkerError: The process ended.
        """
        self.tell(command)
        return self.hear(form)


@contextmanager
def start(module: str, *arguments: str, is_modest: bool = False) -> Iterator[Worker]:
    """Run ``python -m module`` and end it afterwards.

    A modest one has the lowest priority (nice 19): what it plays would have a machine of its own,
    and must not take the processor from the hall and from those whom the bench measures.

    Raises:
        WorkerError: It did not become ready.
    """
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(
        ["nice", "-n", "19", *command] if is_modest else command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    ) as process:
        try:
            worker = Worker(process)
            worker.hear(type(None))
            yield worker
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(END_S_MAX)
            except subprocess.TimeoutExpired:
                process.kill()


async def serve(carry_out: Callable[[bytes], Awaitable[Any]]) -> None:
    """Carry out the commands of standard input until it ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LINE_BYTES_MAX)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    _say(None)
    while line := await reader.readline():
        _say(await carry_out(line))


def _say(answer: object) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()
