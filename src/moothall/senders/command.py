"""Sending through a program of the operator's.

Address and text go by standard input: an argument list can be read by everybody on the
machine, and an address that begins with a hyphen would be an option.
"""

import asyncio
import contextlib
import json
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence

from moothall.ports.sender import SenderUnavailableError

RUNNING_MAX = 16
"""Programs that may run at a time; one more is refused."""


class CommandSender:
    """Starts the program once for each message. Implements the port Sender."""

    def __init__(self, command: Sequence[str], timeout_ms: int) -> None:
        """Start ``command`` (program and arguments), and give it ``timeout_ms``."""
        self._command = tuple(command)
        self._timeout_s = timeout_ms / 1_000
        self._running = 0

    async def send(self, address: str, subject: str, text: str) -> None:
        """Hand one message over.

        Raises:
            SenderUnavailableError: The program cannot be started, exits with another code
                than 0, or takes too long (it is killed then).
        """
        if self._running >= RUNNING_MAX:
            msg = f"{RUNNING_MAX} of {self._command[0]} run already"
            raise SenderUnavailableError(msg)
        self._running += 1
        try:
            await self._run({"address": address, "subject": subject, "text": text})
        finally:
            self._running -= 1

    async def _run(self, message: dict[str, str]) -> None:
        program = self._command[0]
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command, stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL, start_new_session=True
            )
        except OSError as error:
            msg = f"{program} cannot be started: {error.strerror}"
            raise SenderUnavailableError(msg) from None
        try:
            async with asyncio.timeout(self._timeout_s):
                await _tell(process, json.dumps(message).encode() + b"\n")
        except TimeoutError:
            msg = f"{program} took longer than {self._timeout_s:g} s"
            raise SenderUnavailableError(msg) from None
        finally:
            await _end(process)
        if process.returncode != 0:
            msg = f"{program} exited with code {process.returncode}"
            raise SenderUnavailableError(msg)


async def _tell(process: Process, line: bytes) -> None:
    """Give the program its line and wait for its end; one that does not read it may end well."""
    try:
        await process.communicate(line)
    except RuntimeError:  # uvloop's word for a pipe that the program has closed
        await process.wait()


async def _end(process: Process) -> None:
    """Kill the program and what it started, if it still runs, and wait for its end."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
